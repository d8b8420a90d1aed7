/**
 * Fault campaigns: `npm run campaign -- <name> [--seconds N | --count N] [--seed S]`. Progress goes to stderr; the
 * last line on stdout says what was tried and what failed; the exit code is 1 when anything failed.
 */
import process from 'node:process';
import { Command, CommanderError, InvalidArgumentError, Option } from 'commander';
import { initChecksum } from '../src/codec/checksum.ts';
import type { Campaign, CampaignOptions } from '../test/campaigns/campaign.ts';

/** Loaded by name, so that one campaign needs nothing of another. */
const campaigns: Readonly<Record<string, () => Promise<{ campaign: Campaign }>>> = {
  kill: () => import('../test/campaigns/kill.ts'),
  power: () => import('../test/campaigns/power.ts'),
  'disk-full': () => import('../test/campaigns/disk-full.ts'),
  locks: () => import('../test/campaigns/locks.ts'),
  syscalls: () => import('../test/campaigns/syscalls.ts'),
};

const wholeNumber = (text: string): number => {
  const value = Number(text);
  if (!Number.isSafeInteger(value) || value < 0) throw new InvalidArgumentError('a whole number is needed');
  return value;
};

async function main(): Promise<number> {
  const program = new Command('npm run campaign --')
    .description('Injects faults for as long as asked and checks that nothing acknowledged is lost.')
    .argument('<name>', `one of ${Object.keys(campaigns).join(', ')}`)
    .addOption(new Option('--count <n>', 'rounds to make').argParser(wholeNumber).conflicts('seconds'))
    .addOption(new Option('--seconds <n>', 'how long to go on').argParser(wholeNumber))
    .addOption(new Option('--seed <n>', 'replays the same choices').argParser(wholeNumber))
    .exitOverride();
  try {
    program.parse();
  } catch (error) {
    if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : 2;
    throw error;
  }
  const name = program.args[0]!;
  const load = Object.hasOwn(campaigns, name) ? campaigns[name] : undefined;
  if (load === undefined) {
    process.stderr.write(`no campaign ${name}; there are ${Object.keys(campaigns).join(', ')}\n`);
    return 2;
  }
  const given = program.opts<{ count?: number; seconds?: number; seed?: number }>();
  const seed = given.seed ?? Date.now() % 1_000_000;
  return await runCampaign((await load()).campaign, { ...given, seed, onProgress: progress(name) });
}

async function runCampaign(campaign: Campaign, options: CampaignOptions): Promise<number> {
  await initChecksum();
  const started = performance.now();
  const { tried, failed, lines, skipped = [] } = await campaign.run(options);
  const seconds = ((performance.now() - started) / 1000).toFixed(1);
  process.stderr.write('\n');
  for (const line of lines) process.stdout.write(`${line}\n`);
  for (const reason of skipped) process.stdout.write(`skipped: ${reason}\n`);
  const counts = `${tried} tried, ${failed} failed, ${skipped.length} skipped`;
  process.stdout.write(`campaign ${campaign.name}: ${counts} in ${seconds} s, seed ${options.seed}\n`);
  return failed > 0 ? 1 : 0;
}

/** At most five lines a second, on one line where stderr is a terminal. */
function progress(name: string): CampaignOptions['onProgress'] {
  const [before, after] = process.stderr.isTTY ? ['\r\u001b[K', ''] : ['', '\n'];
  const pauseMs = process.stderr.isTTY ? 200 : 2000;
  let last = 0;
  return (done, total, note) => {
    if (performance.now() - last < pauseMs) return;
    last = performance.now();
    process.stderr.write(`${before}${name} ${done}${total === undefined ? '' : ` of ${total}`} ${note}${after}`);
  };
}

process.exitCode = await main();
