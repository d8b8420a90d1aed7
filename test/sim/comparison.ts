/** A store against the oracle, whole. */
import { fromHex } from '../../src/base/bytes.ts';
import type { Engine } from '../../src/engine/engine.ts';
import { spaceOf } from './calls.ts';
import type { Oracle } from './oracle.ts';

/** Compares the list of spaces, and every live value of every one, byte for byte, by scan and by getSync. */
export async function compareSpaces(engine: Engine, oracle: Oracle): Promise<void> {
  checkList(engine, oracle);
  for (const name of new Set(['', ...oracle.spaces])) {
    const space = spaceOf(engine, name);
    const expected = oracle.stateAt(name, Number.MAX_SAFE_INTEGER);
    let i = 0;
    for await (const entry of space.scan()) {
      if (entry.key === undefined) continue;
      const version = expected[i++];
      if (version === undefined) throw new Error(`"${name}" has more than ${expected.length} keys`);
      if (entry.seq !== version.seq) throw new Error(`"${name}" ${version.key} is at ${entry.seq}`);
      oracle.checkBytes(version, entry.value!, `"${name}" ${version.key}`);
      const direct = space.getSync(fromHex(version.key));
      oracle.checkBytes(version, direct ?? new Uint8Array(0), `getSync "${name}" ${version.key}`);
    }
    if (i !== expected.length) throw new Error(`"${name}" has ${i} keys, not ${expected.length}`);
  }
}

/** Spaces with durable rows are listed, in order, and none that nobody wrote to, or that was dropped. */
export function checkList(engine: Engine, oracle: Oracle): void {
  const { must, may } = oracle.listed;
  const names = engine.spaces.list();
  const inOrder = [...names].sort();
  const missing = must.filter((name) => !names.includes(name));
  const strange = names.filter((name) => !may.has(name));
  if (names.some((name, i) => name !== inOrder[i]) || missing.length > 0 || strange.length > 0)
    throw new Error(`spaces are [${names}], missing [${missing}], strange [${strange}]`);
}

/** What has a name, beside spaces, by kind and name: the number of a snapshot. */
export function marksOf(engine: Engine): Map<string, string> {
  return new Map(engine.snapshots.list().map(({ name, seq }) => [`snapshot ${name}`, String(seq)]));
}
