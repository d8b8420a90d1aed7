/**
 * Writes to a store until its disk is full, and holds it to its promises there and when there is room again.
 */
import { isVarveError } from '../../src/base/errors.ts';
import type { Engine } from '../../src/engine/engine.ts';
import { refuseBadHealth, stateOf } from './check-store.ts';
import { digestOf, LaneModel, type Round, type State } from './lane-model.ts';
import { laneOp, performOp, type Script } from './lane-ops.ts';
import type { Ack } from './worker.ts';

/** A disk that is full, or soon will be. */
export interface FullDisk {
  /** Opens the store; only one not `readOnly` may create it. */
  open(readOnly: boolean): Promise<Engine>;
  makeRoom(): void;
  /** Throws when the files of the store, which must be open or closed in order, are not sound. */
  audit(): Promise<void>;
}

export interface FullPlan {
  readonly script: Script;
  readonly lanes: number;
  readonly calls: number;
  /** The first lane compacts after so many of its calls, and so does who opens the full store again. */
  readonly compactEvery?: number;
}

/**
 * Where the disk was full: 'creating the store', 'writing', 'closing', 'nowhere'. Throws when a promise is
 * broken.
 */
export async function fillDisk(disk: FullDisk, plan: FullPlan): Promise<string> {
  const acks: Ack[] = [];
  const engine = await fullOr(() => disk.open(false));
  let outcome = 'creating the store';
  if (engine !== undefined) {
    outcome = (await writeUntilFull(engine, plan, acks)) ? 'writing' : 'nowhere';
    if (!(await closed(engine)) && outcome === 'nowhere') outcome = 'closing';
  }
  const round: Round = { script: plan.script, lanes: plan.lanes, acks, keepsAcked: true, durable: 0 };
  const model = new LaneModel();
  const check = async (opened: Engine): Promise<State> => {
    refuseBadHealth(opened, false);
    const found = await stateOf(opened);
    model.check(round, found);
    return found;
  };
  // While it is full: reading must be possible, opening for writing may be.
  const before = engine === undefined ? undefined : await readWhileFull(disk, check);
  const reopened = await fullOr(() => disk.open(false));
  if (reopened !== undefined) {
    await check(reopened);
    if (plan.compactEvery !== undefined) {
      await compactOrFull(reopened);
      await check(reopened);
    }
    await closed(reopened);
  }
  if (engine !== undefined) await readWhileFull(disk, check);
  disk.makeRoom();
  const again = await disk.open(false);
  const found = await check(again);
  if (before !== undefined && !sameState(before, found))
    throw new Error('with room again other commits are there');
  await disk.audit();
  if (plan.compactEvery !== undefined && !(await again.compact()).ok)
    throw new Error('with room again not everything could be compacted');
  await again.put('after', new Uint8Array(20_000));
  await again.flush();
  await again.delete('after');
  await again.close();
  const last = await disk.open(false);
  if (!sameState(await check(last), found)) throw new Error('a close and a new open changed what is there');
  await last.close();
  await disk.audit();
  return outcome;
}

/** Undefined when the disk is too full for it; any other refusal is thrown. */
async function fullOr<T>(task: () => Promise<T>): Promise<T | undefined> {
  try {
    return await task();
  } catch (error) {
    if (isVarveError(error, 'VARVE_NO_SPACE')) return undefined;
    throw error;
  }
}

/** False when the disk is too full for it. */
async function compactOrFull(engine: Engine): Promise<boolean> {
  try {
    await engine.compact();
    return true;
  } catch (error) {
    refuseOther(error, 'a compaction');
    return false;
  }
}

/** True when the close found room for what it writes. */
async function closed(engine: Engine): Promise<boolean> {
  try {
    await engine.close();
    return true;
  } catch (error) {
    if (isVarveError(error, 'VARVE_NO_SPACE')) return false;
    if (isVarveError(error, 'VARVE_POISONED') && isVarveError(error.cause, 'VARVE_NO_SPACE')) return false;
    throw error;
  }
}

async function readWhileFull(disk: FullDisk, check: (engine: Engine) => Promise<State>): Promise<State> {
  const reader = await disk.open(true);
  try {
    return await check(reader);
  } finally {
    await reader.close();
  }
}

/** True when the disk was full; everything acknowledged then reads as it was given, and no write is taken. */
async function writeUntilFull(engine: Engine, plan: FullPlan, acks: Ack[]): Promise<boolean> {
  const state: State = new Map();
  let isFull = false;
  const runLane = async (lane: number): Promise<void> => {
    for (let i = 0; i < plan.calls && !isFull; i++) {
      const op = laneOp(plan.script, lane, i);
      try {
        const seq = await performOp(engine, op);
        acks.push({ lane, seq });
      } catch (error) {
        refuseOther(error, 'a write');
        isFull = true;
        return;
      }
      if (lane === 0 && (i + 1) % (plan.compactEvery ?? Number.POSITIVE_INFINITY) === 0) {
        // What the compaction is refused is no failure of the store, unless it says so.
        if (!(await compactOrFull(engine)) && engine.health().readOnly) isFull = true;
      }
      for (const { key, value } of op.changes) {
        if (value === undefined) state.delete(key);
        else state.set(key, digestOf(value));
      }
    }
  };
  await Promise.all(Array.from({ length: plan.lanes }, (_, lane) => runLane(lane)));
  if (!isFull) return false;
  const found = await stateOf(engine);
  if (!sameState(state, found)) throw new Error('while full, what is read is not what was acknowledged');
  if (engine.health().status === 'degraded') await refuseAck(engine);
  return true;
}

/** The first failure says that the disk is full, later ones that the store has stopped because of it. */
function refuseOther(error: unknown, what: string): void {
  if (isVarveError(error, 'VARVE_NO_SPACE')) return;
  if (isVarveError(error, 'VARVE_POISONED') && isVarveError(error.cause, 'VARVE_NO_SPACE')) return;
  throw new Error(`${what} failed with another error than that the disk is full`, { cause: error });
}

async function refuseAck(engine: Engine): Promise<void> {
  try {
    await engine.put('late', 'late');
  } catch (error) {
    refuseOther(error, 'a late write');
    return;
  }
  throw new Error('a write was acknowledged after the store had stopped');
}

function sameState(a: State, b: State): boolean {
  return a.size === b.size && Array.from(a).every(([key, digest]) => b.get(key) === digest);
}
