/**
 * What the writers of a real process do: a few lanes at once, each a sequence of calls on keys of its own,
 * one after another. A call follows from seed, round, lane and number alone, so a parent knows it without
 * being told.
 */
import { Prng } from '../../src/base/prng.ts';
import type { Engine } from '../../src/engine/engine.ts';

export interface Change {
  readonly key: string;
  /** Undefined removes the key. */
  readonly value: Uint8Array | undefined;
}

/** One call of the engine. */
export interface LaneOp {
  readonly kind: 'put' | 'stream' | 'delete' | 'batch';
  readonly changes: readonly Change[];
}

/** Which sequence of calls: one round of one seed. */
export interface Script {
  readonly seed: number;
  readonly round: number;
  /** Scales the sizes of values; 1 by default. */
  readonly scale?: number;
}

/** Lanes a script can have. */
export const lanesMax = 16;
const keysPerLane = 8;
const contents = 40;

/** The `i`th call of a lane in a round. */
export function laneOp(script: Script, lane: number, i: number): LaneOp {
  const prng = new Prng(
    (script.seed % 2 ** 20) * 2 ** 32 + (((script.round % 4096) * lanesMax + lane) * 65536 + i),
  );
  const value = (): Uint8Array => newValue(prng, script.scale ?? 1, `${lane} ${script.round} ${i}`);
  const key = (): string => `${lane}/${prng.below(keysPerLane)}`;
  const form = prng.below(20);
  if (form < 2) return { kind: 'delete', changes: [{ key: key(), value: undefined }] };
  if (form < 5) {
    const changes = new Map<string, Change>();
    for (let n = 2 + prng.below(3); n > 0; n--) {
      const one = key();
      changes.set(one, { key: one, value: prng.chance(0.2) ? undefined : value() });
    }
    return { kind: 'batch', changes: Array.from(changes.values()) };
  }
  // One key in ten is written once and must outlive everything after it.
  const name = prng.chance(0.1) ? `${lane}/kept/${script.round}/${i}` : key();
  return { kind: form < 8 ? 'stream' : 'put', changes: [{ key: name, value: value() }] };
}

/**
 * Bytes of a shared content, so that lanes meet each other's chunks, with an end that is this call's alone.
 */
function newValue(prng: Prng, scale: number, mark: string): Uint8Array {
  const end = Buffer.from(`${mark} ${prng.u32()}`);
  const form = prng.below(20);
  const length =
    form < 10
      ? prng.below(400)
      : form < 16
        ? prng.below(12_000 * scale)
        : form < 19
          ? prng.below(60_000 * scale)
          : prng.below(200_000 * scale);
  const content = new Prng(prng.below(contents)).bytes(Math.floor(length));
  return Buffer.concat([content, end]);
}

/** `value` as a program that streams it would give it. */
async function* inPieces(value: Uint8Array): AsyncGenerator<Uint8Array> {
  const step = Math.max(1, Math.ceil(value.length / 5));
  for (let from = 0; from < value.length; from += step) yield value.subarray(from, from + step);
}

/** Makes the call; its commit number, undefined for a delete. Rejects as the engine does. */
export async function performOp(engine: Engine, { kind, changes }: LaneOp): Promise<number | undefined> {
  const { key, value } = changes[0]!;
  if (kind === 'delete') {
    await engine.delete(key);
    return undefined;
  }
  if (kind !== 'batch') return (await engine.put(key, kind === 'put' ? value! : inPieces(value!))).seq;
  const operations = changes.map((change) =>
    change.value === undefined
      ? { type: 'delete' as const, key: change.key }
      : { type: 'put' as const, key: change.key, value: change.value },
  );
  return (await engine.batch(operations)).seq;
}
