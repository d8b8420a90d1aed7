/**
 * Damage: every small and large way in which the bytes of a closed or killed store can change, each judged on
 * its own copy. Families take turns, each in a seeded order that meets every mutation once; without a bound
 * that stops it earlier the campaign ends when all have been tried. `VARVE_ONLY='killed flip 123'` tries one,
 * `VARVE_PART=1/2` the first half of all.
 */
import { Prng } from '../../src/base/prng.ts';
import { type Judgement, judge, type Verdict } from '../damage/judge.ts';
import { type Knowledge, learn, overlaps, structureAt } from '../damage/knowledge.ts';
import { type Family, familiesOf, sparseFamiliesOf, truncationsOf } from '../damage/mutations.ts';
import {
  type BuiltStore,
  buildLargeStore,
  buildStore,
  type ShapeName,
  shapeNames,
} from '../damage/stores.ts';
import { type Campaign, type CampaignOptions, type CampaignResult, Pace, partOf } from './campaign.ts';

const shortCount = 90;
const wholeEvery = 500;
/** From here on larger stores are damaged too: 256 KiB at every length, 64 MiB at every 997th byte. */
const longCount = 100_000;
const longSeconds = 1800;
const sparseEvery = 997;
const scales: Readonly<Record<ShapeName, number>> = { inline: 5, chunked: 11, killed: 7 };
const failuresShown = 40;
/** Families this small look at the whole store each time. */
const wholeFamilyMax = 1000;
/** Of each structure and kind of damage the first ones, and then every n-th one, get the full look. */
const fullFirst = 16;
const fullEvery = 32;

interface Lane {
  readonly known: Knowledge;
  readonly family: Family;
  /** Mutation n of the lane is number (first + n * step) mod count. */
  readonly first: number;
  readonly step: number;
  done: number;
  /** By name of the structure hit: how often it was. */
  readonly met: Map<string, number>;
}

/** Counts of one family in one shape. */
interface Row {
  readonly name: string;
  tried: number;
  lost: number;
  failed: number;
  readonly verdicts: Map<Verdict, number>;
}

export const campaign: Campaign = {
  name: 'damage',
  run: runDamage,
};

async function runDamage(options: CampaignOptions): Promise<CampaignResult> {
  const only = process.env.VARVE_ONLY;
  if (only !== undefined) return await runOne(only, options.seed);
  // Nearly every mutation makes errors: stacks are for the one that is repeated with VARVE_ONLY.
  const { stackTraceLimit } = Error;
  Error.stackTraceLimit = 0;
  try {
    return await runAll(options);
  } finally {
    Error.stackTraceLimit = stackTraceLimit;
  }
}

async function runAll(options: CampaignOptions): Promise<CampaignResult> {
  const { count = 0, seconds = 0 } = options;
  const isLong = count >= longCount || seconds >= longSeconds;
  const { part, of } = partOf();
  const before = part - 1;
  const lanes = await lanesOf(options.seed, shapeNames, isLong);
  for (const lane of lanes) lane.done = before;
  const all = lanes.reduce(
    (sum, { family }) => sum + Math.max(0, Math.ceil((family.count - before) / of)),
    0,
  );
  const pace = new Pace(options, shortCount);
  const report = new Report(options.seed, options.onFailure);
  let tried = 0;
  for (let open = lanes; open.length > 0; open = open.filter(({ done, family }) => done < family.count)) {
    for (const lane of open) {
      if (!pace.goesOn(tried)) return report.result(tried, all);
      const index = (lane.first + lane.done * lane.step) % lane.family.count;
      lane.done += of;
      const isWhole = tried % wholeEvery === 0 || lane.family.count <= wholeFamilyMax;
      const judged = await judgeAt(lane, index, tried++, isWhole);
      report.add(lane, index, judged);
      options.onProgress(tried, Math.min(pace.total ?? all, all), `${report.failed} failed`);
    }
  }
  return report.result(tried, all);
}

async function lanesOf(seed: number, names: readonly ShapeName[], isLong: boolean): Promise<Lane[]> {
  const prng = new Prng(seed);
  const lanes: Lane[] = [];
  const add = async (store: BuiltStore, families: readonly Family[]): Promise<void> => {
    const known = await learn(store);
    for (const family of families) {
      if (family.count === 0) continue;
      const step = coprimeBelow(family.count, prng);
      lanes.push({ known, family, first: prng.below(family.count), step, done: 0, met: new Map() });
    }
  };
  for (const name of names) {
    const store = await buildStore(name, seed);
    await add(store, familiesOf(store, await buildStore(name, seed + 1)));
    if (!isLong) continue;
    const larger = { ...(await buildStore(name, seed, scales[name])), name: `${name} 256 KiB` };
    await add(larger, truncationsOf(larger));
  }
  if (!isLong) return lanes;
  const large = await buildLargeStore(seed);
  await add(large, sparseFamiliesOf(large, sparseEvery));
  return lanes;
}

/** A step that visits every number below `count` once. */
function coprimeBelow(count: number, prng: Prng): number {
  for (;;) {
    const step = 1 + prng.below(count);
    if (gcd(step, count) === 1) return step;
  }
}

function gcd(a: number, b: number): number {
  return b === 0 ? a : gcd(b, a % b);
}

function judgeAt(
  { known, family, met }: Lane,
  index: number,
  turn: number,
  whole: boolean,
): Promise<Judgement> {
  const mutation = family.at(index);
  const where = structureAt(known, mutation.touched[0]!);
  const times = met.get(where) ?? 0;
  met.set(where, times + 1);
  const full = whole || times < fullFirst || times % fullEvery === 0;
  return judge(known, mutation, { turn, whole, full });
}

async function runOne(only: string, seed: number): Promise<CampaignResult> {
  const [shape, ...words] = only.split(' ');
  const index = Number(words.pop());
  const names = shapeNames.filter((name) => name === shape);
  const lanes = await lanesOf(seed, names, names.length === 0);
  const lane = lanes.find(({ family }) => family.name === words.join(' '));
  if (lane === undefined || !(index < lane.family.count)) throw new Error(`there is no mutation ${only}`);
  const report = new Report(seed);
  for (let turn = 0; turn < 2; turn++) {
    report.add(lane, index, await judgeAt(lane, index, turn, true));
  }
  return report.result(2, lane.family.count);
}

class Report {
  failed = 0;
  readonly #seed: number;
  readonly #onFailure: CampaignOptions['onFailure'];
  readonly #failures: string[] = [];
  readonly #rows = new Map<string, Row>();
  readonly #unseen = new Map<string, number>();

  constructor(seed: number, onFailure?: CampaignOptions['onFailure']) {
    this.#seed = seed;
    this.#onFailure = onFailure;
  }

  add({ known, family }: Lane, index: number, { verdict, lost, faults }: Judgement): void {
    const { store } = known;
    const name = `${store.name} ${family.name}`;
    const row = this.#rows.get(name) ?? { name, tried: 0, lost: 0, failed: 0, verdicts: new Map() };
    this.#rows.set(name, row);
    row.tried++;
    if (lost > 0) row.lost++;
    row.verdicts.set(verdict, (row.verdicts.get(verdict) ?? 0) + 1);
    if (verdict === 'unseen') {
      for (const span of family.at(index).touched) {
        const isRead = known.readsOf.some((reads) => reads.some((read) => overlaps(span, read)));
        const where = `${store.name}: ${structureAt(known, span)}${isRead ? ' that a key reads' : ''}`;
        this.#unseen.set(where, (this.#unseen.get(where) ?? 0) + 1);
      }
    }
    if (faults.length === 0) return;
    row.failed++;
    this.failed++;
    if (this.#failures.length === failuresShown) return;
    const what = `${name} ${index} (${family.at(index).name})`;
    const line = `FAILED seed ${this.#seed}, ${what}: ${faults.join('; ')}`;
    this.#failures.push(line);
    this.#onFailure?.(line);
  }

  result(tried: number, all: number): CampaignResult {
    const lines = [...this.#failures, `${tried} of ${all} mutations tried; verdicts by store and damage:`];
    for (const { name, tried: n, lost, failed, verdicts } of this.#rows.values()) {
      const counts = Array.from(verdicts, ([verdict, times]) => `${verdict} ${times}`).join(', ');
      const losses = lost === 0 ? '' : `, older or no version served while degraded ${lost}`;
      const failures = failed === 0 ? '' : `, FAILED ${failed}`;
      lines.push(`  ${name}: ${n} tried: ${counts}${losses}${failures}`);
    }
    if (this.#unseen.size > 0) lines.push('bytes that nothing asked for read, so nothing listed:');
    for (const [where, times] of this.#unseen) lines.push(`  ${where}: ${times}`);
    return { tried, failed: this.failed, lines };
  }
}
