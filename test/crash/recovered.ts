/** What must hold for a store that is opened after a crash. */

import { Prng } from '../../src/base/prng.ts';
import type { Engine } from '../../src/engine/engine.ts';
import type { MemoryFileSystem } from '../../src/fs/memory-file-system.ts';
import { auditDisk, type Row, strayFiles } from './audit.ts';
import { openOn, type StoreShape } from './machine.ts';
import { type History, hexKey, valueName } from './recorder.ts';

/** How thorough the check of one state is. */
export interface CheckPlan {
  /** Commits up to this number must be there. */
  readonly floor: number;
  readonly shape: StoreShape;
  readonly seed: number;
  /** Also writes, deletes, closes and opens again. */
  readonly goOn: boolean;
  /** An earlier open may have put files into quarantine/, because a slot of SUPER was torn. */
  readonly mayKeep?: boolean;
}

const sameRow = (a: Row, b: Row): boolean =>
  a.seq === b.seq && a.space === b.space && a.key === b.key && a.record === b.record;

/**
 * Opens `disk` (changed by it) and returns the last committed number found. Throws an Error that says what is
 * wrong: something acknowledged is missing, a transaction is there in part, an earlier one is missing while a
 * later one is there, a value differs, a count is off, a file is left over.
 */
export async function checkRecovered(
  disk: MemoryFileSystem,
  history: History,
  plan: CheckPlan,
): Promise<number> {
  const engine = await openOn(disk, plan.shape, plan.seed);
  const health = engine.health();
  // A slot of SUPER, or in the looser modes a file never synced, may be torn: that is a warning.
  if (health.status === 'degraded') throw new Error(`after recovery: ${JSON.stringify(health)}`);
  const { rows, problems } = await auditDisk(disk);
  if (problems.length > 0) throw new Error(problems.join('; '));
  const last = rows.at(-1)?.seq ?? 0;
  const expected = history.rows.filter(({ seq }) => seq <= last);
  if (rows.length !== expected.length || !rows.every((row, i) => sameRow(row, expected[i]!))) {
    throw new Error(`rows up to ${last} are not what was committed: ${differences(rows, expected)}`);
  }
  const lost = history.rows.filter(({ seq }) => seq > last && seq <= plan.floor);
  if (lost.length > 0) throw new Error(`acknowledged commit ${lost[0]!.seq} is lost (last is ${last})`);
  const state = stateAt(history, last);
  await compareAll(engine, history, state);
  const mayKeep = plan.mayKeep === true || !health.ok;
  await refuseStray(disk, mayKeep);
  if (plan.goOn) await goOn(disk, engine, history, state, plan, mayKeep);
  else await engine.close();
  return last;
}

/** Where something looked damaged, recovery keeps what it does not know in quarantine/. */
async function refuseStray(disk: MemoryFileSystem, mayKeep: boolean): Promise<void> {
  const stray = (await strayFiles(disk)).filter((path) => !mayKeep || !path.startsWith('quarantine/'));
  if (stray.length > 0) throw new Error(`files left over: ${stray.join(', ')}`);
}

function differences(rows: readonly Row[], expected: readonly Row[]): string {
  const missing = expected.filter((row) => !rows.some((other) => sameRow(row, other)));
  const extra = rows.filter((row) => !expected.some((other) => sameRow(row, other)));
  const show = (some: readonly Row[]): string => some.map(({ seq, key }) => `${seq}:${key}`).join(' ');
  return `missing [${show(missing)}], unexpected [${show(extra)}]`;
}

/** Live values by space name and hex key. */
type State = Map<string, Map<string, Uint8Array>>;

function stateAt(history: History, last: number): State {
  const state: State = new Map([['', new Map()]]);
  for (const name of history.spaces.values()) state.set(name, new Map());
  for (const { seq, space, key, isPut } of history.rows) {
    if (seq > last) break;
    const live = state.get(history.spaces.get(space)!)!;
    if (isPut) live.set(key, history.values.get(valueName(seq, key))!);
    else live.delete(key);
  }
  return state;
}

/** Scans, gets and absent keys of every space equal `state`. */
async function compareAll(engine: Engine, history: History, state: State): Promise<void> {
  for (const [name, live] of state) {
    const space = name === '' ? engine : engine.space(name);
    const seen: string[] = [];
    for await (const entry of space.scan()) {
      if (entry.key === undefined) continue;
      const key = hexKey(entry.key);
      const expected = live.get(key);
      if (expected === undefined) throw new Error(`key ${key} of "${name}" should not be there`);
      if (Buffer.compare(entry.value!, expected) !== 0) throw new Error(`key ${key}: other bytes`);
      const direct = space.getSync(entry.key);
      if (direct === undefined || Buffer.compare(direct, expected) !== 0)
        throw new Error(`key ${key}: getSync returns other bytes`);
      seen.push(key);
    }
    if (seen.length !== live.size) throw new Error(`"${name}" has ${seen.length} keys, not ${live.size}`);
    for (const { key } of history.rows) {
      if (live.has(key)) continue;
      if (await space.has(new Uint8Array(Buffer.from(key, 'hex')))) throw new Error(`key ${key} came back`);
    }
  }
}

/** The store works: writes of each kind, a checkpoint, a clean close, the same state after it. */
async function goOn(
  disk: MemoryFileSystem,
  engine: Engine,
  history: History,
  state: State,
  plan: CheckPlan,
  mayKeep: boolean,
): Promise<void> {
  const prng = new Prng(plan.seed);
  const top = Math.max(plan.floor, engine.stats().seq);
  const large = prng.bytes(5000);
  const first = await engine.put('after/large', large);
  if (first.seq <= top) throw new Error(`commit number ${first.seq} was used before (${top})`);
  await Promise.all([engine.put('after/small', 'x'), engine.put('after/again', large)]);
  await engine.delete('after/small');
  const live = state.get('')!;
  const [victim] = live.keys();
  if (victim !== undefined) await engine.delete(new Uint8Array(Buffer.from(victim, 'hex')));
  await engine.flush();
  await engine.put('after/small', 'y');
  await engine.close();
  if (victim !== undefined) live.delete(victim);
  live.set(hexKey('after/large'), large).set(hexKey('after/again'), large);
  live.set(hexKey('after/small'), new Uint8Array([0x79]));
  for (const readOnly of [true, false]) {
    const again = await openOn(disk, plan.shape, plan.seed + 1, { readOnly });
    const health = again.health();
    if (health.status === 'degraded' || (health.damage.length > 0 && !mayKeep))
      throw new Error(`after a clean close: ${JSON.stringify(health)}`);
    await compareAll(again, history, state);
    await again.close();
  }
  const { problems } = await auditDisk(disk);
  if (problems.length > 0) throw new Error(problems.join('; '));
  await refuseStray(disk, mayKeep);
}
