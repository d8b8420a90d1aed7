/** What must hold for a store that is opened after a crash. */

import { Prng } from '../../src/base/prng.ts';
import type { LoadedCatalogs } from '../../src/catalog/catalog-load.ts';
import type { Engine } from '../../src/engine/engine.ts';
import type { MemoryFileSystem } from '../../src/fs/memory-file-system.ts';
import { type Audit, strayFiles } from './audit.ts';
import { AuditCache, type OnRead } from './audit-cache.ts';
import { backUp } from './backed-up.ts';
import { compareAll } from './compare.ts';
import { deletesMergedAway, deletesOfBrief, rowsProblem } from './kept-rows.ts';
import { openOn, type StoreShape } from './machine.ts';
import { type State, stateAt, upTo } from './model.ts';
import { checkPast, compareFeed, type EndsAt, finishIndexes } from './past.ts';
import { beginStep } from './processor-time.ts';
import { type History, hexKey } from './recorder.ts';
import type { VaultObjects } from './vaults.ts';

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
  /** The last commit an earlier open found: neither more nor less may be there now. */
  readonly exactly?: number;
  /** Only the process died: nothing may look damaged. */
  readonly killed?: boolean;
  /** The objects of the run's vault at that moment: a store that goes on is backed up into a copy of it. */
  readonly vault?: VaultObjects | undefined;
  /** Told the files that the check reads without the port, those that the open has read left out. */
  readonly onRead?: OnRead;
}

const audits = new AuditCache();
/** Recovery of these small stores; generous, since machines are shared. */
const openMsMax = 10_000;

async function catalogsOf(disk: MemoryFileSystem): Promise<LoadedCatalogs> {
  const loaded = await audits.load(disk);
  if (loaded === undefined) throw new Error('an open store has no SUPER');
  return loaded;
}

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
  const step = beginStep();
  const before = await audits.load(disk);
  // 0 where there is no store yet.
  const epoch = before?.writerEpoch ?? 0;
  const engine = await openOn(disk, plan.shape, plan.seed, {}, true);
  const took = step.over(openMsMax);
  if (took !== undefined) throw new Error(`recovery took ${took.toFixed()} ms of processor time`);
  const health = engine.health();
  // A slot of SUPER, or in the looser modes a file never synced, may be torn: that is a warning.
  if (health.status === 'degraded' || (plan.killed === true && !health.ok))
    throw new Error(`after recovery: ${JSON.stringify(health)}`);
  const loaded = await catalogsOf(disk);
  const audit = await audits.audit(disk, loaded, plan.onRead);
  if (audit.problems.length > 0) throw new Error(audit.problems.join('; '));
  const { writerEpoch } = loaded;
  if (writerEpoch <= epoch) throw new Error(`writer epoch ${writerEpoch} after ${epoch}`);
  // A merge may have dropped the last rows; what it works on is in tables.
  const { last, committed, state, names } = upTo(
    history,
    plan.exactly ?? Math.max(lastOf(audit), before?.catalog.checkpointSeq ?? 0),
  );
  if (engine.stats().seq < last) throw new Error(`the engine counts ${engine.stats().seq}, not ${last}`);
  const rows = [...committed.rows];
  if (plan.exactly !== undefined) {
    const { brief } = history;
    const tables = { checkpointSeq: loaded.catalog.checkpointSeq, expiring: audit.system.expiring };
    rows.push(...deletesOfBrief(audit.rows, committed, last, brief));
    if (plan.shape.merges === true)
      rows.push(...deletesMergedAway(audit.rows, committed, last, brief, tables));
  }
  const wrong = rowsProblem(audit.rows, { ...committed, rows }, plan.shape);
  if (wrong !== undefined) throw new Error(`rows up to ${last} are not what was committed: ${wrong}`);
  const lost = [...history.rows, ...history.ranges].filter(({ seq }) => seq > last && seq <= plan.floor);
  if (lost.length > 0) throw new Error(`acknowledged commit ${lost[0]!.seq} is lost (last is ${last})`);
  const listed = engine.spaces.list();
  if (listed.join() !== names.join()) throw new Error(`spaces are [${listed}], not [${names}]`);
  await compareAll(engine, history, state);
  const ends = endsAt(history, last, plan);
  await checkPast(engine, history, ends);
  // In full durability nothing is cut off. A merge may have dropped the last rows of what a feed still shows.
  if (plan.shape.durability !== 'full' && plan.shape.merges !== true) await compareFeed(engine, ends);
  const mayKeep = plan.mayKeep === true || !health.ok;
  await refuseStray(disk, loaded, mayKeep);
  // A state that does not go on ends like a killed process: nothing is closed, the disk is dropped.
  if (plan.goOn) await goOn(disk, engine, history, stateAt(history, last), plan, mayKeep);
  return last;
}

/** Commits without rows may be there behind `last`, and are where they were promised. */
function endsAt({ rows, ranges }: History, last: number, { floor }: CheckPlan): EndsAt {
  const later = [...rows, ...ranges].filter(({ seq }) => seq > last).map(({ seq }) => seq);
  return { least: Math.max(last, floor), before: Math.min(Number.MAX_SAFE_INTEGER, ...later) };
}

/** The last commit of a store that its tables show; steps of the reaper do not count. */
function lastOf({ rows, system }: Audit): number {
  return Math.max(rows.at(-1)?.seq ?? 0, ...system.rangeSeqs);
}

/** Where something looked damaged, recovery keeps what it does not know in quarantine/. */
async function refuseStray(disk: MemoryFileSystem, loaded: LoadedCatalogs, mayKeep: boolean): Promise<void> {
  const stray = (await strayFiles(disk, loaded)).filter(
    (path) => !mayKeep || !path.startsWith('quarantine/'),
  );
  if (stray.length > 0) throw new Error(`files left over: ${stray.join(', ')}`);
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
  await finishIndexes(engine);
  await engine.put('after/small', 'y');
  await engine.close();
  if (victim !== undefined) live.delete(victim);
  live.set(hexKey('after/large'), large).set(hexKey('after/again'), large);
  live.set(hexKey('after/small'), new Uint8Array([0x79]));
  for (const readOnly of [true, false]) {
    const again = await openOn(disk, plan.shape, plan.seed + 1, { readOnly });
    // Merges that are due after the open come first.
    if (!readOnly) await again.flush();
    const health = again.health();
    if (health.status === 'degraded' || (health.damage.length > 0 && !mayKeep))
      throw new Error(`after a clean close: ${JSON.stringify(health)}`);
    await compareAll(again, history, state);
    if (!readOnly && plan.vault !== undefined)
      await backUp(again, plan.vault, { history, state, shape: plan.shape });
    await again.close();
  }
  const loaded = await catalogsOf(disk);
  const { problems } = await audits.audit(disk, loaded);
  if (problems.length > 0) throw new Error(problems.join('; '));
  await refuseStray(disk, loaded, mayKeep);
}
