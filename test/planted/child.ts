/**
 * Program: runs one campaign until its first failure, `node child.js <campaign> <count> <seed>`. The last
 * line of stdout is a `Hunted` as JSON. Exit code 1 when something failed, 0 when nothing did, 2 when the
 * campaign could not be started.
 */
import { initChecksum } from '../../src/codec/checksum.ts';
import { setSha256 } from '../../src/kernels/hash/sha256.ts';
import { nodeSha256 } from '../../src/kernels/hash/sha256-node.ts';
import { type Campaign, Pace } from '../campaigns/campaign.ts';

export interface Hunted {
  readonly failed: boolean;
  /** Tries up to and with the first that failed, or all. */
  readonly tries: number;
  /** What the campaign said of the failure. */
  readonly line: string;
}

let tries = 0;

function tell(failed: boolean, line: string): never {
  process.stdout.write(`${JSON.stringify({ failed, tries, line } satisfies Hunted)}\n`);
  process.exit(failed ? 1 : 0);
}

/** Ends every campaign after its first failure. */
function stopAtFirstFailure(): { failed: boolean } {
  const seen = { failed: false };
  const goesOn = Pace.prototype.goesOn;
  Pace.prototype.goesOn = function (this: Pace, done: number): boolean {
    return !seen.failed && goesOn.call(this, done);
  };
  return seen;
}

async function load(name: string, count: number): Promise<Campaign> {
  const loaded = (await import(`../campaigns/${name}.js`)) as { campaign?: Campaign };
  if (loaded.campaign === undefined || !Number.isSafeInteger(count))
    throw new Error(`${name} is no campaign`);
  return loaded.campaign;
}

const [name = '', count = '', seed = ''] = process.argv.slice(2);
let campaign: Campaign | undefined;
try {
  campaign = await load(name, Number(count));
  await initChecksum();
  setSha256(nodeSha256);
} catch (error) {
  process.stderr.write(`${(error as Error).stack}\n`);
  process.exit(2);
}
const seen = stopAtFirstFailure();
const died = (error: unknown): never => {
  tries++;
  return tell(true, `the campaign threw: ${(error as Error).stack ?? error}`);
};
process.on('uncaughtException', died);
process.on('unhandledRejection', died);
try {
  const result = await campaign.run({
    count: Number(count),
    seed: Number(seed),
    onProgress(done, _total, note) {
      if (!seen.failed) tries = done;
      if (/\b[1-9][0-9,_]* (failed|failures?)\b/.test(note)) seen.failed = true;
    },
  });
  // A workload that fails before anything is done to it is a try as well.
  tries = Math.max(1, seen.failed ? tries : result.tried);
  tell(result.failed > 0, result.failed > 0 ? (result.lines[0] ?? '') : '');
} catch (error) {
  died(error);
}
