/** Random workloads: what a program does to a store, as data, so that a seed replays it. */
import { Prng } from '../../src/base/prng.ts';
import type { StoreShape } from './machine.ts';

/**
 * One call; `space` '' is the default space. A swap is a put on the condition that nobody put meanwhile, a
 * brief one a put that expires before anybody looks at the store after a crash. A snapshot or an index is
 * made where there is none of the name, and taken away where there is one; so are rules of retention and a
 * quota of the store's own keys.
 */
export type Call = PlainCall | FeatureCall;

/** Calls whose changes are known before they are made. */
export type PlainCall =
  | { kind: 'put' | 'stream' | 'swap'; space: string; key: string; value: Uint8Array; tags?: string[] }
  | { kind: 'delete'; space: string; key: string }
  | { kind: 'batch'; space: string; changes: readonly Change[] }
  | { kind: 'transaction'; space: string; changes: readonly Change[] }
  | { kind: 'range'; space: string; bounds: Bounds }
  | { kind: 'clear'; space: string }
  | { kind: 'drop'; space: string };

export type FeatureCall =
  | { kind: 'brief'; space: string; key: string; value: Uint8Array }
  | { kind: 'update'; space: string; key: string; value: Uint8Array }
  | { kind: 'count'; space: ''; key: typeof counterKey }
  | { kind: 'snapshot'; space: ''; name: string }
  | { kind: 'index'; space: ''; name: string }
  | { kind: 'rules'; space: '' };

/** The key that is counted up, by nobody put to. */
export const counterKey = 'n';

/** Of a range delete. */
export type Bounds = { readonly prefix: string } | { readonly gte: string; readonly lt: string };

/** A key's new value, or its removal. */
export interface Change {
  readonly key: string;
  readonly value: Uint8Array | undefined;
}

/**
 * Calls made at the same time, a checkpoint, or a new open after a close or the death of the process; a merge
 * is a checkpoint, with the merges that are due, while each of the calls is made, and one more after them; a
 * compact is a full compaction, segments cleaned, while the calls are made, a backup one into the vault of
 * the run, a verify a full check. At a repair the process dies, the newest slot of SUPER is lost, and the
 * store is repaired before it is opened again.
 */
export type Step =
  | { kind: 'calls' | 'merge' | 'compact' | 'backup' | 'verify'; calls: readonly Call[] }
  | { kind: 'flush' }
  | { kind: 'reopen' }
  | { kind: 'kill' }
  | { kind: 'repair' };

export interface Workload {
  readonly seed: number;
  readonly shape: StoreShape;
  readonly steps: readonly Step[];
}

const spaces = ['one', 'two'];
const prefixes = ['', 'a', 'a\u0000', 'c/', 'd', 'x'];
const kinds = ['put', 'put', 'put', 'put', 'stream', 'delete', 'delete', 'batch'] as const;
/** Calls of features that a random workload has all of, or none. */
const featureKinds = ['update', 'count', 'brief', 'snapshot', 'snapshot', 'index', 'transaction'] as const;

const keys = ['', 'a', 'a\u0000', 'ab', 'b', 'c/1', 'c/2', 'd'.repeat(300), 'é'];

/** The workload of a seed: up to 4 calls at once in each step. */
export function workloadOf(seed: number, stepsMin = 3, stepsMax = 14): Workload {
  const prng = new Prng(seed);
  const shape: StoreShape = {
    durability: prng.pick(['full', 'full', 'os', { groupMs: 5 }] as const),
    algorithm: prng.pick(['fastcdc', 'sieve'] as const),
    inlineMax: prng.pick([0, 40, 1024]),
    segmentBytes: prng.pick([2048, 8192, 64 * 1024]),
    ...(prng.chance(0.5) ? { stageBirthsMax: prng.pick([2, 4, 8]) } : {}),
    merges: prng.chance(0.6),
    ...(prng.chance(0.7) ? { reapDeletes: prng.pick([1, 2]) } : {}),
    ...(prng.chance(0.3) ? { historyVersions: prng.pick([1, 3]) } : {}),
    threads: seed % 3 === 0,
  };
  const hasFeatures = prng.chance(0.6);
  const values = new ValueMaker(prng, shape);
  const steps: Step[] = [];
  const count = stepsMin + prng.below(stepsMax - stepsMin + 1);
  const writersMax = prng.pick([1, 2, 4]);
  const pause = prng.pick([0.1, 0.25, 0.4]);
  while (steps.length < count) {
    if (prng.chance(pause)) steps.push({ kind: prng.pick(['flush', 'flush', 'flush', 'reopen', 'kill']) });
    else {
      const calls: Call[] = [];
      for (let n = 1 + prng.below(writersMax); n > 0; n--) {
        calls.push(hasFeatures && prng.chance(0.3) ? featureOf(prng, values) : callOf(prng, values));
      }
      const merge = prng.chance(hasFeatures ? 0.4 : 0) ? 'compact' : 'merge';
      steps.push({ kind: shape.merges && prng.chance(0.1) ? merge : 'calls', calls });
    }
  }
  const mended = seed % repairEvery === 1 ? steps.map(withRepairs) : steps;
  return { seed, shape, steps: hasFeatures && seed % backupEvery === 3 ? mended.map(withBackups) : mended };
}

/** In one random workload in this many a store is repaired where it would have been opened after a kill. */
const repairEvery = 3;

function withRepairs(step: Step): Step {
  return step.kind === 'kill' ? { kind: 'repair' } : step;
}

/**
 * One random workload with features in this many also makes backups, beside the calls of every third step,
 * and checks, beside those of another third.
 */
const backupEvery = 4;

function withBackups(step: Step, at: number): Step {
  if (step.kind !== 'calls' || at % 3 === 0) return step;
  return { ...step, kind: at % 3 === 2 ? 'backup' : 'verify' };
}

/**
 * Short calls, one or two at a time, on a store that syncs in the background: most moments lie between a
 * commit and the sync that covers it, and most commits need nothing but the log.
 */
export function groupWorkloadOf(seed: number): Workload {
  const prng = new Prng(seed);
  const shape: StoreShape = {
    durability: { groupMs: prng.pick([1, 5]) },
    algorithm: 'fastcdc',
    inlineMax: 800,
    segmentBytes: prng.pick([4096, 64 * 1024]),
  };
  const callOf = (): PlainCall => {
    const key = prng.pick(['a', 'b', 'c', 'd']);
    const length = prng.chance(0.25) ? 900 + prng.below(3000) : prng.below(800);
    return prng.chance(0.1)
      ? { kind: 'delete', space: '', key }
      : { kind: 'put', space: '', key, value: prng.bytes(length) };
  };
  const steps = Array.from({ length: 6 + prng.below(10) }, (): Step => {
    if (prng.chance(0.06)) return { kind: prng.pick(['reopen', 'kill'] as const) };
    return { kind: 'calls', calls: prng.chance(0.3) ? [callOf(), callOf()] : [callOf()] };
  });
  return { seed, shape, steps };
}

function callOf(prng: Prng, values: ValueMaker): Call {
  const space = prng.chance(0.85) ? '' : prng.pick(spaces);
  if (prng.chance(0.08)) return rangeOf(prng, space);
  const key = prng.pick(keys);
  const kind = prng.pick(kinds);
  if (kind === 'delete') return { kind, space, key };
  if (kind === 'batch') return { kind, space, changes: changesOf(prng, values) };
  const tags = prng.chance(0.3) ? { tags: [prng.pick(['x', 'y']), prng.pick(['y', 'z'])] } : {};
  return { kind, space, key, value: values.next(), ...tags };
}

function featureOf(prng: Prng, values: ValueMaker): Call {
  const kind = prng.pick(featureKinds);
  if (kind === 'count') return { kind, space: '', key: counterKey };
  if (kind === 'snapshot' || kind === 'index') return { kind, space: '', name: prng.pick(['p', 'q']) };
  const space = prng.chance(0.85) ? '' : prng.pick(spaces);
  if (kind === 'transaction') {
    // A put among them: a transaction that commits has a number.
    const [first, ...others] = changesOf(prng, values);
    return { kind, space, changes: [{ key: first!.key, value: values.next() }, ...others] };
  }
  return { kind, space, key: prng.pick(keys), value: values.next() };
}

function changesOf(prng: Prng, values: ValueMaker): Change[] {
  const changes = new Map<string, Change>();
  for (let n = 1 + prng.below(4); n > 0; n--) {
    const one = prng.pick(keys);
    changes.set(one, { key: one, value: prng.chance(0.25) ? undefined : values.next() });
  }
  return Array.from(changes.values());
}

/** A delete of many keys. */
function rangeOf(prng: Prng, space: string): Call {
  const kind = prng.pick(['range', 'range', 'range', 'clear', 'drop'] as const);
  if (kind === 'drop') return { kind, space: space === '' ? prng.pick(spaces) : space };
  if (kind === 'clear') return { kind, space };
  if (prng.chance(0.6)) return { kind, space, bounds: { prefix: prng.pick(prefixes) } };
  const gte = prng.pick(keys);
  return { kind, space, bounds: { gte, lt: `${gte}${prng.pick(['\u0000', 'b', '\u{10ffff}'])}` } };
}

/** Values of every form: inline, one chunk, a list of chunks, a tree; new, repeated, or nearly repeated. */
class ValueMaker {
  readonly #prng: Prng;
  readonly #shape: StoreShape;
  readonly #made: Uint8Array[] = [];

  constructor(prng: Prng, shape: StoreShape) {
    this.#prng = prng;
    this.#shape = shape;
  }

  next(): Uint8Array {
    const prng = this.#prng;
    if (this.#made.length > 0 && prng.chance(0.35)) {
      const old = prng.pick(this.#made);
      return prng.chance(0.5) ? old : this.#keep(edited(prng, old));
    }
    return this.#keep(prng.bytes(this.#length()));
  }

  #length(): number {
    const prng = this.#prng;
    const { inlineMax } = this.#shape;
    const form = prng.below(10);
    if (form === 0) return prng.pick([0, 1, inlineMax, inlineMax + 1]);
    if (form < 5) return prng.below(inlineMax + 1);
    if (form < 7) return inlineMax + 1 + prng.below(600);
    if (form < 9) return 2000 + prng.below(8000);
    return 22_000 + prng.below(8000);
  }

  #keep(value: Uint8Array): Uint8Array {
    this.#made.push(value);
    return value;
  }
}

/** `old` with a few bytes changed, inserted or taken away somewhere. */
function edited(prng: Prng, old: Uint8Array): Uint8Array {
  const at = prng.below(old.length + 1);
  const from = Math.min(old.length, at + prng.below(20));
  const middle = prng.bytes(prng.below(20));
  const out = new Uint8Array(at + middle.length + old.length - from);
  out.set(old.subarray(0, at));
  out.set(middle, at);
  out.set(old.subarray(from), at + middle.length);
  return out;
}
