/** Decoder fuzzing: every record decoder in turn, guided by the code it reaches. A run is one input. */
import { Coverage } from '../fuzz/coverage.ts';
import { fileTargets } from '../fuzz/file-targets.ts';
import { Fuzzer } from '../fuzz/fuzzer.ts';
import { recordTargets } from '../fuzz/record-targets.ts';
import type { Target } from '../fuzz/target.ts';
import { vaultTargets } from '../fuzz/vault-targets.ts';
import { type Campaign, type CampaignOptions, type CampaignResult, Pace } from './campaign.ts';

const shortCount = 100_000;

/** Scripts whose code guides the fuzzer: the decoders and what they are made of. */
const isDecoder = (url: string): boolean => /\/src\/(codec|format|fs|log|tree)\//.test(url);

export const fuzzTargets: readonly Target[] = [...fileTargets, ...recordTargets, ...vaultTargets];

export const campaign: Campaign = {
  name: 'fuzz',
  run: (options) => fuzz(options, fuzzTargets),
};

/** Fuzzes `targets` batch by batch until the pace ends. */
export async function fuzz(options: CampaignOptions, targets: readonly Target[]): Promise<CampaignResult> {
  const pace = new Pace(options, shortCount);
  const coverage = new Coverage(isDecoder);
  const fuzzers = targets.map((target, i) => new Fuzzer(target, coverage, options.seed * 1000 + i));
  // Every target gets a turn, however short the run is.
  const each = Math.ceil((pace.total ?? Number.POSITIVE_INFINITY) / fuzzers.length);
  let runs = 0;
  for (let turn = 0; pace.goesOn(runs); turn++) {
    const fuzzer = fuzzers[turn % fuzzers.length]!;
    const before = fuzzer.runs;
    fuzzer.batch(Math.min(each, (pace.total ?? Number.POSITIVE_INFINITY) - runs));
    runs += fuzzer.runs - before;
    options.onProgress(runs, pace.total, `${fuzzers.reduce((sum, { failed }) => sum + failed, 0)} failed`);
    // Others get the thread between batches.
    await new Promise((resolve) => setImmediate(resolve));
  }
  const lines = fuzzers.flatMap(({ failures }) =>
    failures.map((text) => `FAILED seed ${options.seed}, ${text}`),
  );
  for (const { target, runs: tried, accepted, corpusSize, failed } of fuzzers) {
    const failures = failed === 0 ? '' : `, FAILED ${failed}`;
    lines.push(`  ${target.name}: ${tried} runs, ${accepted} accepted, ${corpusSize} inputs kept${failures}`);
  }
  lines.push(`${coverage.size} stretches of code reached`);
  return { tried: runs, failed: fuzzers.reduce((sum, { failed }) => sum + failed, 0), lines };
}
