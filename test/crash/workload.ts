/** Random workloads: what a program does to a store, as data, so that a seed replays it. */
import { Prng } from '../../src/base/prng.ts';
import type { StoreShape } from './machine.ts';

/** One call; `space` '' is the default space. A swap is a put on the condition that nobody put meanwhile. */
export type Call =
  | { kind: 'put' | 'stream' | 'swap'; space: string; key: string; value: Uint8Array }
  | { kind: 'delete'; space: string; key: string }
  | { kind: 'batch'; space: string; changes: readonly Change[] }
  | { kind: 'transaction'; space: string; changes: readonly Change[] }
  | { kind: 'range'; space: string; bounds: Bounds }
  | { kind: 'clear'; space: string }
  | { kind: 'drop'; space: string };

/** Of a range delete. */
export type Bounds = { readonly prefix: string } | { readonly gte: string; readonly lt: string };

/** A key's new value, or its removal. */
export interface Change {
  readonly key: string;
  readonly value: Uint8Array | undefined;
}

/**
 * Calls made at the same time, a checkpoint, or a close with a new open; a merge is a checkpoint, with the
 * merges that are due, while each of the calls is made, and one more after them.
 */
export type Step =
  | { kind: 'calls' | 'merge'; calls: readonly Call[] }
  | { kind: 'flush' }
  | { kind: 'reopen' };

export interface Workload {
  readonly seed: number;
  readonly shape: StoreShape;
  readonly steps: readonly Step[];
}

const spaces = ['one', 'two'];
const prefixes = ['', 'a', 'a\u0000', 'c/', 'd', 'x'];
const kinds = ['put', 'put', 'put', 'put', 'stream', 'delete', 'delete', 'batch'] as const;

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
  };
  const values = new ValueMaker(prng, shape);
  const steps: Step[] = [];
  const count = stepsMin + prng.below(stepsMax - stepsMin + 1);
  const writersMax = prng.pick([1, 2, 4]);
  const pause = prng.pick([0.1, 0.25, 0.4]);
  while (steps.length < count) {
    if (prng.chance(pause)) steps.push({ kind: prng.chance(0.6) ? 'flush' : 'reopen' });
    else {
      const calls: Call[] = [];
      for (let n = 1 + prng.below(writersMax); n > 0; n--) calls.push(callOf(prng, values));
      steps.push({ kind: shape.merges && prng.chance(0.1) ? 'merge' : 'calls', calls });
    }
  }
  return { seed, shape, steps };
}

/** The same calls on a store that never merges tables. */
export const withoutMerges = (workload: Workload): Workload => ({
  ...workload,
  shape: { ...workload.shape, merges: false },
});

function callOf(prng: Prng, values: ValueMaker): Call {
  const space = prng.chance(0.85) ? '' : prng.pick(spaces);
  if (prng.chance(0.08)) return rangeOf(prng, space);
  const key = prng.pick(keys);
  const kind = prng.pick(kinds);
  if (kind === 'delete') return { kind, space, key };
  if (kind !== 'batch') return { kind, space, key, value: values.next() };
  const changes = new Map<string, Change>();
  for (let n = 1 + prng.below(4); n > 0; n--) {
    const one = prng.pick(keys);
    changes.set(one, { key: one, value: prng.chance(0.25) ? undefined : values.next() });
  }
  return { kind, space, changes: Array.from(changes.values()) };
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
