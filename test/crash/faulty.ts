/**
 * Runs a workload on a disk that refuses one operation, and says what was acknowledged. The model here is the
 * calls themselves, since the order of those that failed is nobody's promise.
 */

import { assert } from '../../src/base/assert.ts';
import { isVarveError } from '../../src/base/errors.ts';
import type { Engine } from '../../src/engine/engine.ts';
import type { BatchOperation } from '../../src/engine/types.ts';
import type { RangeRow } from '../../src/format/system-rows.ts';
import type { MemoryFileSystem } from '../../src/fs/memory-file-system.ts';
import { AuditCache } from './audit-cache.ts';
import { openOn, type StoreShape } from './machine.ts';
import { hexKey } from './recorder.ts';
import type { Row } from './row.ts';
import { covers } from './system-rows.ts';
import { inTransaction } from './transact.ts';
import { type Call, type Change, isPlain, type PlainCall, type Workload } from './workload.ts';

const audits = new AuditCache();

/** A call's changes of one key; `seq` once it was acknowledged. */
interface Attempt {
  readonly changes: ReadonlyMap<string, Uint8Array | undefined>;
  /** Of a range delete: the space, and which keys (hex) it covers. */
  readonly range: { readonly space: string; readonly has: (key: string) => boolean } | undefined;
  seq: number | undefined;
  /** Acknowledged; a delete has no number of its own. */
  acked: boolean;
  /** It was on disk by what the store said while it was open. */
  durable: boolean;
  /** Opens before it: what a later open says of a number need not be said of this commit. */
  readonly life: number;
}

export interface FaultyRun {
  readonly attempts: readonly Attempt[];
  /** What failed: calls, checkpoints, opens and closes, with their codes. */
  readonly failures: readonly string[];
  /** The store refused to write for good, or could not be opened. */
  readonly stopped: boolean;
}

const isRefusal = (error: unknown): boolean =>
  isVarveError(
    error,
    'VARVE_COMMIT_UNKNOWN',
    'VARVE_POISONED',
    'VARVE_NO_SPACE',
    'VARVE_IO',
    'VARVE_READ_ONLY',
    'VARVE_CORRUPT',
  );

/**
 * Runs every step that can still be run; throws when a write is acknowledged after the store had stopped.
 * `begun` gets a look at what was acknowledged so far, at any moment of the run.
 */
export async function runFaulty(
  disk: MemoryFileSystem,
  workload: Workload,
  begun: (look: () => FaultyRun) => void = () => undefined,
): Promise<FaultyRun> {
  const run = new Faulty(disk, workload);
  begun(() => run.look());
  await run.open();
  for (const step of workload.steps) {
    if (run.engine === undefined) break;
    if (step.kind === 'flush') await run.guard('flush', run.engine.flush());
    else if (step.kind === 'calls') await Promise.all(step.calls.map((call) => run.call(call)));
    else if (step.kind === 'merge') {
      for (const call of step.calls)
        await Promise.all([run.guard('flush', run.engine.flush()), run.call(call)]);
    } else {
      await run.close();
      await run.open();
    }
  }
  await run.close();
  return run;
}

class Faulty implements FaultyRun {
  readonly attempts: Attempt[] = [];
  readonly failures: string[] = [];
  stopped = false;
  engine: Engine | undefined;
  readonly #disk: MemoryFileSystem;
  readonly #workload: Workload;
  /** Spaces whose drop was asked for at any time. */
  readonly #dropped = new Set<string>();
  #opens = 0;

  constructor(disk: MemoryFileSystem, workload: Workload) {
    this.#disk = disk;
    this.#workload = workload;
  }

  /** A copy of all that is known now; calls under way may or may not have happened. */
  look(): FaultyRun {
    this.#raise();
    return {
      attempts: this.attempts.map((one) => ({ ...one })),
      failures: this.failures,
      stopped: this.stopped,
    };
  }

  #raise(): void {
    if (this.engine === undefined) return;
    const { seq: visible, durableSeq } = this.engine.stats();
    const floor = this.#workload.shape.durability === 'full' ? visible : durableSeq;
    for (const one of this.attempts) {
      if (one.acked && one.life === this.#opens && one.seq !== undefined && one.seq <= floor)
        one.durable = true;
    }
  }

  async guard<T>(what: string, work: Promise<T>, space?: string): Promise<T | undefined> {
    try {
      return await work;
    } catch (error) {
      // A write to a space that was dropped meanwhile is refused without a fault, too.
      const isDropped = space !== undefined && this.#dropped.has(space);
      if (isDropped && isVarveError(error, 'VARVE_CONFLICT')) return undefined;
      if (!isRefusal(error)) throw error;
      this.failures.push(`${what}: ${String(error)}`);
      return undefined;
    }
  }

  async open(): Promise<void> {
    const { shape, seed } = this.#workload;
    this.engine = await this.guard('open', openOn(this.#disk, shape, seed * 100 + this.#opens++));
    if (this.engine === undefined || !this.engine.health().ok) this.stopped = true;
  }

  async close(): Promise<void> {
    const { engine } = this;
    this.engine = undefined;
    if (engine === undefined) return;
    const isHealthy = engine.health().status !== 'degraded';
    const before = this.failures.length;
    await this.guard('close', engine.close());
    const isClosed = isHealthy && this.failures.length === before;
    for (const one of this.attempts) {
      if (isClosed && one.acked && one.life === this.#opens) one.durable = true;
    }
    if (!isHealthy && this.failures.length === before && this.stopped === false)
      throw new Error('close resolved although writes had failed');
  }

  async call(call: Call): Promise<void> {
    assert(isPlain(call), 'workloads that meet faults are plain');
    const engine = this.engine!;
    const space = call.space === '' ? engine : engine.space(call.space);
    const wasDegraded = engine.health().status === 'degraded';
    const life = this.#opens;
    const attempt: Attempt = {
      changes: changesOf(call),
      range: rangeOf(call),
      seq: undefined,
      acked: false,
      durable: false,
      life,
    };
    this.attempts.push(attempt);
    if (call.kind === 'drop') this.#dropped.add(call.space);
    const seq = await this.guard(call.kind, perform(space, call, engine), call.space);
    if (engine.health().status === 'degraded') this.stopped = true;
    if (seq === undefined) return;
    if (wasDegraded && seq !== noChange) throw new Error('a write was acknowledged after a failed one');
    attempt.acked = true;
    if (seq > 0) attempt.seq = seq;
    this.#raise();
  }
}

const noChange = -1;

/** The commit's number, 0 for a delete, or `noChange`. */
async function perform(space: Engine, call: PlainCall, engine: Engine): Promise<number> {
  if (call.kind === 'drop') return (await engine.spaces.drop(call.space)) ? 0 : noChange;
  if (call.kind === 'range') return (await space.deleteRange(call.bounds)).seq;
  if (call.kind === 'clear') return (await space.clear()).seq;
  if (call.kind === 'delete') return (await space.delete(call.key)) ? 0 : noChange;
  if (call.kind === 'batch') return (await space.batch(call.changes.map(operationOf))).seq;
  if (call.kind === 'transaction') return await inTransaction(space, call.changes);
  const ifSeq = call.kind === 'swap' ? { ifSeq: (await space.stat(call.key))?.seq ?? 0 } : {};
  return (await space.put(call.key, call.value, ifSeq)).seq;
}

function operationOf({ key, value }: Change): BatchOperation {
  return value === undefined ? { type: 'delete', key } : { type: 'put', key, value };
}

function changesOf(call: PlainCall): Map<string, Uint8Array | undefined> {
  if (call.kind === 'delete') return new Map([[hexKey(call.key), undefined]]);
  if (call.kind === 'batch' || call.kind === 'transaction')
    return new Map(call.changes.map(({ key, value }) => [hexKey(key), value]));
  if (call.kind === 'range' || call.kind === 'clear' || call.kind === 'drop') return new Map();
  return new Map([[hexKey(call.key), call.value]]);
}

function rangeOf(call: PlainCall): Attempt['range'] {
  const { space } = call;
  if (call.kind === 'clear' || call.kind === 'drop') return { space, has: () => true };
  if (call.kind !== 'range') return undefined;
  const { bounds } = call;
  // Hex sorts and begins as the bytes do.
  if ('prefix' in bounds) return { space, has: (key) => key.startsWith(hexKey(bounds.prefix)) };
  return { space, has: (key) => key >= hexKey(bounds.gte) && key < hexKey(bounds.lt) };
}

/**
 * Opens `disk` and holds it against the run: acknowledged commits are there, nothing is there that nobody
 * asked for, batches are whole, and the newest version of each key reads as one of the values given for it.
 */
export async function checkAfterFault(
  disk: MemoryFileSystem,
  run: FaultyRun,
  shape: StoreShape,
  seed: number,
): Promise<void> {
  const engine = await openOn(disk, shape, seed);
  if (engine.health().status === 'degraded') throw new Error(JSON.stringify(engine.health()));
  const { rows, system, problems } = await audits.audit(disk, (await audits.load(disk))!);
  if (problems.length > 0) throw new Error(problems.join('; '));
  const bySeq = new Map<number, Row[]>();
  for (const row of rows) {
    if (!row.isLate) bySeq.set(row.seq, [...(bySeq.get(row.seq) ?? []), row]);
    else if (!run.attempts.some(({ range, seq }) => range?.has(row.key) && (seq ?? row.seq) === row.seq))
      throw new Error(`late row of ${row.seq}: nobody deleted a range with ${row.key}`);
  }
  for (const { seq, durable, changes } of run.attempts) {
    if (!durable || seq === undefined) continue;
    const missing = Array.from(changes).filter(
      ([key, value]) => value !== undefined && !bySeq.get(seq)?.some((row) => row.key === key && row.isPut),
    );
    if (missing.length > 0) throw new Error(`acknowledged commit ${seq} lost key ${missing[0]![0]}`);
  }
  for (const [seq, found] of bySeq) {
    if (!run.attempts.some((attempt) => explains(attempt, seq, found)))
      throw new Error(`rows of ${seq} are not those of one call`);
  }
  await compareNewest(engine, rows, system.pending, run);
  await engine.put('after', 'x');
  await engine.close();
}

function explains({ changes, seq }: Attempt, found: number, rows: readonly Row[]): boolean {
  if (seq !== undefined && seq !== found) return false;
  const puts = Array.from(changes.values()).filter((value) => value !== undefined).length;
  const isWhole = rows.filter(({ isPut }) => isPut).length === puts;
  return (
    isWhole && rows.every(({ key, isPut }) => changes.has(key) && isPut === (changes.get(key) !== undefined))
  );
}

async function compareNewest(
  engine: Engine,
  rows: readonly Row[],
  pending: readonly RangeRow[],
  run: FaultyRun,
): Promise<void> {
  const names = ['', ...engine.spaces.list()];
  let live = 0;
  for (const name of names) {
    const space = name === '' ? engine : engine.space(name);
    for await (const { key, value, seq } of space.scan() as AsyncIterable<{
      key: string;
      value: Uint8Array;
      seq: number;
    }>) {
      live++;
      const hex = hexKey(key);
      const given = run.attempts.some(({ changes, seq: own }) => {
        const bytes = changes.get(hex);
        return (
          bytes !== undefined && (own === undefined || own === seq) && Buffer.compare(bytes, value) === 0
        );
      });
      if (!given) throw new Error(`key ${hex} at ${seq} has bytes nobody put`);
      for (const { range, seq: by, durable } of run.attempts) {
        if (durable && by !== undefined && by > seq && range?.space === name && range.has(hex))
          throw new Error(`key ${hex} at ${seq} is there, and range delete ${by} was acknowledged`);
      }
    }
  }
  const newest = new Map(rows.map((row) => [`${row.space} ${row.key}`, row]));
  const isHidden = ({ seq, space, key }: Row): boolean =>
    pending.some((range) => range.seq > seq && covers(range, space, key));
  const expected = Array.from(newest.values()).filter((row) => row.isPut && !isHidden(row)).length;
  if (live !== expected) throw new Error(`${live} keys are served, the rows say ${expected}`);
}
