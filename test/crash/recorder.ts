/**
 * Runs a workload once and keeps the disk as it stands before every operation that changes it: each is a
 * point at which the power may go. The run itself goes on to its end, so that the order of all commits, also
 * of those in flight at a crash, is known from the rows of the finished store.
 */
import { encodeUtf8, toHex } from '../../src/base/bytes.ts';
import type { Engine } from '../../src/engine/engine.ts';
import type { BatchOperation } from '../../src/engine/types.ts';
import { MemoryFileSystem } from '../../src/fs/memory-file-system.ts';
import type { FsOp } from '../../src/fs/sim-machine.ts';
import type { FsProfile } from '../../src/fs/sim-names.ts';
import { auditDisk, type Row } from './audit.ts';
import { openOn } from './machine.ts';
import type { Call, Workload } from './workload.ts';

/** A moment just before a changing operation. */
export interface CrashPoint {
  readonly disk: MemoryFileSystem;
  readonly op: FsOp | undefined;
  /** Commits up to this number must survive a power cut here. */
  readonly durable: number;
  /** Commits up to this number must survive the death of the process here. */
  readonly acked: number;
}

/** What a finished run knows. */
export interface History {
  /** Every row ever committed, by number. */
  readonly rows: readonly Row[];
  /** Values put, by `valueName`. */
  readonly values: ReadonlyMap<string, Uint8Array>;
  /** Names of spaces by their number. */
  readonly spaces: ReadonlyMap<number, string>;
}

export interface Recording {
  readonly points: readonly CrashPoint[];
  readonly history: History;
}

/** Operations before which a crash makes a difference. */
export const changing: ReadonlySet<string> = new Set([
  'create',
  'write',
  'truncate',
  'sync',
  'dataSync',
  'mkdir',
  'rename',
  'unlink',
  'rmdir',
  'syncDir',
]);

export const valueName = (seq: number, key: string): string => `${seq}/${key}`;
export const hexKey = (key: string): string => toHex(encodeUtf8(key));

class Run {
  durable = 0;
  acked = 0;
  readonly values = new Map<string, Uint8Array>();
  readonly spaceOf = new Map<string, string>();
  deletes = 0;
  engine: Engine | undefined;

  /** Notes how far commits are safe; called whenever something was acknowledged. */
  note(): void {
    const { seq, durableSeq } = this.engine!.stats();
    this.acked = Math.max(this.acked, seq);
    this.durable = Math.max(this.durable, durableSeq);
  }

  noteValue(seq: number, space: string, key: string, value: Uint8Array): void {
    const name = valueName(seq, hexKey(key));
    this.values.set(name, value);
    this.spaceOf.set(name, space);
  }
}

/** Runs `workload` on a new disk of `profile`. */
export async function record(workload: Workload, profile: FsProfile): Promise<Recording> {
  const disk = new MemoryFileSystem({ profile });
  const points: CrashPoint[] = [];
  const run = new Run();
  disk.faults = (op) => {
    if (changing.has(op.kind)) points.push({ disk: disk.fork(), op, durable: run.durable, acked: run.acked });
    return undefined;
  };
  let opens = 0;
  const open = async (): Promise<void> => {
    run.engine = await openOn(disk, workload.shape, workload.seed * 100 + opens++);
    run.note();
  };
  await open();
  for (const step of workload.steps) {
    const engine = run.engine!;
    if (step.kind === 'flush') {
      await engine.flush();
      run.note();
    } else if (step.kind === 'reopen') {
      await engine.close();
      run.durable = run.acked;
      await open();
    } else await Promise.all(step.calls.map((call) => perform(run, call)));
  }
  await run.engine!.close();
  run.durable = run.acked;
  disk.faults = undefined;
  points.push({ disk: disk.fork(), op: undefined, durable: run.durable, acked: run.acked });
  return { points, history: await historyOf(disk, run) };
}

async function perform(run: Run, call: Call): Promise<void> {
  const engine = call.space === '' ? run.engine! : run.engine!.space(call.space);
  if (call.kind === 'delete') {
    if (await engine.delete(call.key)) run.deletes++;
  } else if (call.kind === 'batch') {
    const operations = call.changes.map(
      ({ key, value }): BatchOperation =>
        value === undefined ? { type: 'delete', key } : { type: 'put', key, value },
    );
    const { seq } = await engine.batch(operations);
    for (const { key, value } of call.changes) {
      if (value !== undefined) run.noteValue(seq, call.space, key, value);
    }
  } else {
    const { key, value } = call;
    const { seq } = await engine.put(key, call.kind === 'put' ? value : inPieces(value));
    run.noteValue(seq, call.space, key, value);
  }
  run.note();
}

async function* inPieces(value: Uint8Array): AsyncGenerator<Uint8Array> {
  const step = Math.max(1, Math.floor(value.length / 3));
  for (let from = 0; from < value.length; from += step) yield value.subarray(from, from + step);
}

/** The rows of the finished store, checked against what the calls returned. */
async function historyOf(disk: MemoryFileSystem, run: Run): Promise<History> {
  const { rows, problems } = await auditDisk(disk);
  if (problems.length > 0) throw new Error(`a store closed without a crash: ${problems.join('; ')}`);
  const puts = rows.filter(({ isPut }) => isPut);
  const unknown = puts.filter(({ seq, key }) => !run.values.has(valueName(seq, key)));
  if (unknown.length > 0 || puts.length !== run.values.size) {
    throw new Error(`the store has ${puts.length} versions, ${run.values.size} were acknowledged`);
  }
  if (rows.length - puts.length < run.deletes) throw new Error('an acknowledged delete has no row');
  const spaces = new Map<number, string>();
  for (const { seq, key, space } of puts) spaces.set(space, run.spaceOf.get(valueName(seq, key))!);
  return { rows, values: run.values, spaces };
}
