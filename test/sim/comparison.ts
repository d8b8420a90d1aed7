/** A store against the oracle, whole. */
import { fromHex } from '../../src/base/bytes.ts';
import type { Engine } from '../../src/engine/engine.ts';
import type { Key } from '../../src/engine/types.ts';
import { spaceOf } from './calls.ts';
import type { Version } from './history.ts';
import { answerOf } from './index-calls.ts';
import type { Oracle } from './oracle.ts';
import type { IndexName } from './plan.ts';
import { policiesOf } from './policy-calls.ts';

/**
 * Compares the list of spaces, every live value of every one, byte for byte, by scan and by getSync, and what
 * indexes answer. A value that expires may be there or not.
 */
export async function compareSpaces(engine: Engine, oracle: Oracle): Promise<void> {
  checkList(engine, oracle);
  for (const name of new Set(['', ...oracle.spaces])) {
    const space = spaceOf(engine, name);
    const expected = new Map(oracle.stateAt(name, Number.MAX_SAFE_INTEGER).map((one) => [one.key, one]));
    let last = '';
    for await (const entry of space.scan<Key>()) {
      const key = Buffer.from(entry.key as string).toString('hex');
      const version = expected.get(key);
      if (version === undefined || key < last) throw new Error(`"${name}" has ${key}, behind ${last}`);
      if (entry.seq !== version.seq) throw new Error(`"${name}" ${key} is at ${entry.seq}`);
      oracle.checkBytes(version, entry.value!, `"${name}" ${key}`);
      const direct = space.getSync(fromHex(key));
      if (version.expires === undefined || direct !== undefined)
        oracle.checkBytes(version, direct ?? new Uint8Array(0), `getSync "${name}" ${key}`);
      expected.delete(key);
      last = key;
    }
    const missing = Array.from(expected.values()).filter(({ expires }) => expires === undefined);
    if (missing.length > 0) throw new Error(`"${name}" lacks ${missing.map(({ key }) => key)}`);
  }
  for (const { name } of engine.indexes.list().filter(({ state }) => state === 'ready')) {
    const query = { index: name as IndexName, bounds: {} };
    if (name !== 'hashed')
      oracle.checkNow({
        kind: 'query',
        view: Number.MAX_SAFE_INTEGER,
        space: '',
        query,
        entries: await answerOf(engine, query),
      });
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

/** What has a name, beside spaces: snapshots with their number, indexes, policies. */
export function marksOf(engine: Engine): Map<string, string> {
  const snapshots = engine.snapshots
    .list()
    .map(({ name, seq }) => [`snapshot ${name}`, String(seq)] as const);
  const indexes = engine.indexes.list().map(({ name }) => [`index ${name}`, name] as const);
  return new Map([...snapshots, ...indexes, ...policiesOf(engine.policy())]);
}

/** Throws where the values of the store's own keys are not counted as what they are. */
export function checkQuota(engine: Engine, oracle: Oracle): void {
  const { usedBytes: used } = engine.policy();
  // What a range delete hides counts until it is carried out.
  if (used === undefined || engine.stats().ranges.pending > 0) return;
  const state = oracle.stateAt('', Number.MAX_SAFE_INTEGER);
  const sum = (some: readonly Version[]): number => some.reduce((n, one) => n + oracle.lengthOf(one), 0);
  const [least, most] = [sum(state.filter(({ expires }) => expires === undefined)), sum(state)];
  if (used < least || used > most)
    throw new Error(`${used} bytes are counted, there are ${least} to ${most}`);
}
