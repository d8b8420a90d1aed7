/**
 * Runs one fault campaign: `npm run campaign -- <name> [--seconds N | --count N] [--seed S]`. Progress goes
 * to stderr; the last line of stdout says what was tried and what failed. Exit code 1 when something failed,
 * 2 on wrong arguments. Campaigns are the files of test/campaigns/ that export one.
 */
import { readdirSync } from 'node:fs';
import { basename } from 'node:path';
import { parseArgs } from 'node:util';
import { initChecksum } from '../src/codec/checksum.ts';
import { setSha256 } from '../src/kernels/hash/sha256.ts';
import { nodeSha256 } from '../src/kernels/hash/sha256-node.ts';
import type { Campaign, CampaignOptions, CampaignResult } from '../test/campaigns/campaign.ts';

const folder = new URL('../test/campaigns/', import.meta.url);
const progressEveryMs = 2000;

class UsageError extends Error {}

interface Command extends Omit<CampaignOptions, 'onProgress'> {
  readonly name: string;
}

function available(): string[] {
  return readdirSync(folder)
    .filter((file) => /^[a-z][a-z-]*\.(js|ts)$/.test(file) && !/^campaign\./.test(file))
    .map((file) => basename(file).replace(/\.(js|ts)$/, ''))
    .sort();
}

function commandOf(args: readonly string[]): Command {
  const { values, positionals } = parseArgs({
    args: [...args],
    allowPositionals: true,
    options: { seconds: { type: 'string' }, count: { type: 'string' }, seed: { type: 'string' } },
  });
  const [name, ...others] = positionals;
  if (name === undefined || others.length > 0 || !available().includes(name)) {
    throw new UsageError(`give one campaign: ${available().join(', ')}`);
  }
  if (values.seconds !== undefined && values.count !== undefined) {
    throw new UsageError('give --seconds or --count, not both');
  }
  return {
    name,
    seed: whole('seed', values.seed) ?? 1,
    ...(values.seconds === undefined ? {} : { seconds: whole('seconds', values.seconds)! }),
    ...(values.count === undefined ? {} : { count: whole('count', values.count)! }),
  };
}

function whole(name: string, text: string | undefined): number | undefined {
  if (text === undefined) return undefined;
  const value = Number(text.replaceAll('_', ''));
  if (!Number.isSafeInteger(value) || value < 0 || text === '') {
    throw new UsageError(`--${name} takes a whole number`);
  }
  return value;
}

async function load(name: string): Promise<Campaign> {
  const file = readdirSync(folder).find((one) => one === `${name}.js` || one === `${name}.ts`)!;
  const { campaign } = (await import(new URL(file, folder).href)) as { campaign?: Campaign };
  if (campaign === undefined) throw new UsageError(`${name} is no campaign`);
  return campaign;
}

async function run(command: Command): Promise<CampaignResult> {
  const campaign = await load(command.name);
  const begun = performance.now();
  let shown = begun;
  return await campaign.run({
    ...command,
    onProgress(done, total, note) {
      const now = performance.now();
      if (now - shown < progressEveryMs) return;
      shown = now;
      const rate = Math.round((done * 1000) / (now - begun));
      const of = total === undefined ? '' : ` of ${total}`;
      process.stderr.write(`${command.name}: ${done}${of}, ${rate}/s${note === '' ? '' : `, ${note}`}\n`);
    },
    onFailure(line) {
      process.stderr.write(`${command.name} failed: ${line}\n`);
    },
  });
}

const usage = `Runs one fault campaign: npm run campaign -- NAME [options]

  --seconds N   how long, or
  --count N     how many
  --seed S      (1)
  --help        this text

campaigns: ${available().join(', ')}`;

async function main(): Promise<number> {
  if (process.argv.slice(2).includes('--help')) {
    console.log(usage);
    return 0;
  }
  const command = commandOf(process.argv.slice(2));
  await initChecksum();
  setSha256(nodeSha256);
  const begun = performance.now();
  const { tried, failed, lines, skipped = [], summary } = await run(command);
  const seconds = (performance.now() - begun) / 1000;
  for (const line of lines) process.stdout.write(`${line}\n`);
  for (const line of skipped) process.stdout.write(`skipped: ${line}\n`);
  const rate = Math.round(tried / Math.max(seconds, 0.001));
  const more = summary === undefined ? '' : `; ${summary}`;
  const skips = skipped.length === 0 ? '' : `, ${skipped.length} skipped`;
  process.stdout.write(
    `${command.name}: ${tried} tried, ${failed} failed${skips}, ` +
      `${seconds.toFixed(1)} s, ${rate}/s, seed ${command.seed}${more}\n`,
  );
  return failed > 0 ? 1 : 0;
}

try {
  process.exitCode = await main();
} catch (error) {
  const wrongUse =
    error instanceof UsageError || (error as { code?: string }).code?.startsWith('ERR_PARSE_ARGS');
  process.stderr.write(`${wrongUse ? (error as Error).message : (error as Error).stack}\n`);
  process.exitCode = wrongUse ? 2 : 1;
}
