/** Calls whose values follow from the store: updates, counters; and snapshots, indexes, rules, on or off. */
import { toHex } from '../../src/base/bytes.ts';
import { isVarveError } from '../../src/base/errors.ts';
import type { Engine } from '../../src/engine/engine.ts';
import type { RangeRow } from '../../src/format/system-rows.ts';
import type { Row } from './row.ts';
import { covers } from './system-rows.ts';

/** Bytes of the old value that an update puts before its own. */
const carriedBytes = 20;

/**
 * Puts the head of the old value before `value`; what was put, with its number. `decided` is told each value
 * before it is put: the last one is the one that counts.
 */
export async function update(
  engine: Engine,
  key: string,
  value: Uint8Array,
  decided: (made: Uint8Array) => void = () => undefined,
): Promise<{ seq: number; value: Uint8Array }> {
  let made = value;
  const { seq } = (await engine.update(key, (old) => {
    made = new Uint8Array([...(old ?? []).slice(0, carriedBytes), ...value]);
    decided(made);
    return made;
  }))!;
  return { seq, value: made };
}

/**
 * Makes the snapshot or the index where there is none, takes it away where there is one. True when it was
 * made, undefined when another call came first.
 */
export async function toggle(
  engine: Engine,
  kind: 'snapshot' | 'index',
  name: string,
): Promise<boolean | undefined> {
  const list = kind === 'snapshot' ? engine.snapshots.list() : engine.indexes.list();
  const isThere = list.some((one) => one.name === name);
  try {
    if (kind === 'snapshot') await (isThere ? engine.snapshots.delete(name) : engine.snapshots.create(name));
    else await (isThere ? engine.indexes.drop(name) : engine.indexes.define(definitionOf(name)));
    return !isThere;
  } catch (error) {
    // Another call has made it, or taken it away, meanwhile.
    if (!isVarveError(error, 'VARVE_CONFLICT', 'VARVE_NOT_FOUND')) throw error;
    return undefined;
  }
}

/** Sets a quota that nothing meets and a rule of retention, or takes them away; true when they were set. */
export async function toggleRules(engine: Engine): Promise<boolean> {
  const isSet = engine.policy().quotaBytes !== undefined;
  await engine.setPolicy(
    isSet ? { quotaBytes: null, retention: null } : { quotaBytes: 2 ** 30, retention: { last: 2 } },
  );
  return !isSet;
}

export const definitionOf = (name: string) => ({ name, kind: 'range', on: 'tags' }) as const;

/** What the puts of a counter must have put, by their number: one more each time, 0 where it was deleted. */
export function countsOf(
  key: string,
  rows: readonly Row[],
  ranges: readonly RangeRow[],
): Map<number, Uint8Array> {
  const hex = toHex(new TextEncoder().encode(key));
  const counts = new Map<number, Uint8Array>();
  let count = 0;
  for (const one of [...rows, ...ranges].sort((a, b) => a.seq - b.seq)) {
    if (!('key' in one)) {
      if (covers(one, 0, hex)) count = 0;
    } else if (one.key === hex && one.space === 0) {
      count = one.isPut ? count + 1 : 0;
      if (one.isPut) counts.set(one.seq, new TextEncoder().encode(String(count)));
    }
  }
  return counts;
}

/** Throws unless every number that was told was put, each as often as it was told. */
export function checkCounts(told: readonly number[], counts: ReadonlyMap<number, Uint8Array>): void {
  const put = Array.from(counts.values(), (bytes) => Number(Buffer.from(bytes).toString()));
  for (const number of told) {
    const at = put.indexOf(number);
    if (at < 0) throw new Error(`a counter said ${number}, and no commit has it`);
    put.splice(at, 1);
  }
}
