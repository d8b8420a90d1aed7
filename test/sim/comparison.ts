/** A store against the oracle, whole. */
import { fromHex } from '../../src/base/bytes.ts';
import type { Engine } from '../../src/engine/engine.ts';
import { spaceOf } from './calls.ts';
import type { Oracle } from './oracle.ts';

/** Compares every live value of every space, byte for byte, by scan and by getSync. */
export async function compareSpaces(engine: Engine, oracle: Oracle): Promise<void> {
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
