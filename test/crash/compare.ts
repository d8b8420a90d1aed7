/** A store held against a state, on every way of reading it. */
import type { Engine } from '../../src/engine/engine.ts';
import type { State } from './model.ts';
import { type History, hexKey } from './recorder.ts';

/** Longer values are compared by a scan alone. */
const directBytesMax = 4096;
/** Equal to no value. */
const nothing = new Uint8Array(directBytesMax + 1);

const keysKnown = new WeakMap<History, ReadonlyMap<string, Uint8Array>>();

/** Every key of a history once: its hex and its bytes. */
function keysOf(history: History): ReadonlyMap<string, Uint8Array> {
  let keys = keysKnown.get(history);
  if (keys === undefined) {
    keys = new Map(history.rows.map(({ key }) => [key, new Uint8Array(Buffer.from(key, 'hex'))]));
    keysKnown.set(history, keys);
  }
  return keys;
}

/** Scans, gets and absent keys of every space equal `state`. */
export async function compareAll(engine: Engine, history: History, state: State): Promise<void> {
  for (const [name, live] of state) {
    const space = name === '' ? engine : engine.space(name);
    const seen: string[] = [];
    for await (const entry of space.scan()) {
      if (entry.key === undefined) continue;
      const key = hexKey(entry.key);
      const expected = live.get(key);
      if (expected === undefined) throw new Error(`key ${key} of "${name}" should not be there`);
      if (Buffer.compare(entry.value!, expected) !== 0) throw new Error(`key ${key}: other bytes`);
      // The scan has read and compared the chunks of long values; what is left to see is the lookup.
      const isRight =
        expected.length > directBytesMax
          ? await space.has(entry.key)
          : Buffer.compare(space.getSync(entry.key) ?? nothing, expected) === 0;
      if (!isRight) throw new Error(`key ${key}: getSync returns other bytes`);
      seen.push(key);
    }
    if (seen.length !== live.size) throw new Error(`"${name}" has ${seen.length} keys, not ${live.size}`);
    for (const [key, bytes] of keysOf(history)) {
      if (!live.has(key) && space.getSync(bytes) !== undefined) throw new Error(`key ${key} came back`);
    }
  }
}
