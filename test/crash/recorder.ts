/**
 * Runs a workload once and keeps the disk as it stands before every operation that changes it: each is a
 * point at which the power may go. The run itself goes on to its end, so that the order of all commits, also
 * of those in flight at a crash, is known from the rows of the finished store.
 */
import { MemoryBlobs } from '../../src/backup/memory-blobs.ts';
import type { Vault } from '../../src/backup/vault.ts';
import { encodeUtf8, toHex } from '../../src/base/bytes.ts';
import { isVarveError } from '../../src/base/errors.ts';
import type { Engine } from '../../src/engine/engine.ts';
import type { BatchOperation } from '../../src/engine/types.ts';
import type { RangeRow } from '../../src/format/system-rows.ts';
import { MemoryFileSystem } from '../../src/fs/memory-file-system.ts';
import type { FsOp } from '../../src/fs/sim-machine.ts';
import type { FsProfile } from '../../src/fs/sim-names.ts';
import { auditDisk } from './audit.ts';
import { checkCounts, countsOf, toggle, toggleRules, update } from './features.ts';
import { rowsProblem } from './kept-rows.ts';
import { LogRows, type Mark, type SpaceRow } from './log-rows.ts';
import { envOf, openLife } from './machine.ts';
import { loseNewestSlot, mend, refuseLoss } from './mended.ts';
import { type Row, valueName } from './row.ts';
import { inPieces, inTransaction } from './transact.ts';
import { type VaultObjects, vaultOf } from './vaults.ts';
import { type Call, counterKey, type Step, type Workload } from './workload.ts';

/** A moment just before a changing operation. */
export interface CrashPoint {
  readonly disk: MemoryFileSystem;
  readonly op: FsOp | undefined;
  /**
   * Operations before it that moved something to the disk for good: what is durable is the same between two.
   */
  readonly syncs: number;
  /** Commits up to this number must survive a power cut here. */
  readonly durable: number;
  /** Commits up to this number must survive the death of the process here. */
  readonly acked: number;
  /** What the vault holds by then; undefined before the first backup. */
  readonly vault: VaultObjects | undefined;
  /** Whether a repair of the run has begun by then: quarantine/ may hold files; and is still going on. */
  readonly mended: 'never' | 'going on' | 'done';
}

/** What a finished run knows. */
export interface History {
  /** Every row ever committed, by number; those of the reaper are not among them. */
  readonly rows: readonly Row[];
  /** Values put, by `valueName`. */
  readonly values: ReadonlyMap<string, Uint8Array>;
  /** Names of spaces by their number. */
  readonly spaces: ReadonlyMap<number, string>;
  /** Every range delete, by number. */
  readonly ranges: readonly RangeRow[];
  /** Names given and taken back, by number. */
  readonly spaceRows: readonly SpaceRow[];
  /** Snapshots and indexes made and taken away, by number. */
  readonly marks: readonly Mark[];
  /** Names of the values that soon expired. */
  readonly brief: ReadonlySet<string>;
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
  'link',
  'unlink',
  'rmdir',
  'syncDir',
]);

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

const syncing: ReadonlySet<string> = new Set(['sync', 'dataSync', 'syncDir']);

export const hexKey = (key: string): string => toHex(encodeUtf8(key));

class Run {
  durable: number;
  acked: number;
  readonly values: Map<string, Uint8Array>;
  readonly spaceOf: Map<string, string>;
  readonly rows: LogRows;
  deletes: number;
  readonly brief: Set<string>;
  /** What a counter said. */
  readonly counts: number[];
  /** Range deletes acknowledged with their number. */
  readonly ranges: number[];
  drops: number;
  opens: number;
  mended: CrashPoint['mended'] = 'never';
  engine: Engine | undefined;
  readonly #blobs = new MemoryBlobs();
  #vault: Promise<Vault> | undefined;

  constructor(from?: Base) {
    this.durable = from?.run.durable ?? 0;
    this.acked = from?.run.acked ?? 0;
    this.values = new Map(from?.run.values);
    this.spaceOf = new Map(from?.run.spaceOf);
    this.rows = new LogRows(from?.run.rows);
    this.deletes = from?.run.deletes ?? 0;
    this.brief = new Set(from?.run.brief);
    this.counts = from?.run.counts.slice() ?? [];
    this.ranges = from?.run.ranges.slice() ?? [];
    this.drops = from?.run.drops ?? 0;
    this.opens = from?.run.opens ?? 0;
  }

  /** Notes how far commits are safe; called whenever something was acknowledged. */
  note(): void {
    const { seq, durableSeq } = this.engine!.stats();
    this.acked = Math.max(this.acked, seq);
    this.durable = Math.max(this.durable, durableSeq);
  }

  /** Made at the first backup. */
  get vault(): Promise<Vault> {
    this.#vault ??= vaultOf(this.#blobs, 0);
    return this.#vault;
  }

  get vaultObjects(): VaultObjects | undefined {
    return this.#vault === undefined ? undefined : Array.from(this.#blobs.entries());
  }

  noteValue(seq: number, space: string, key: string, value: Uint8Array): void {
    const name = valueName(seq, hexKey(key));
    this.values.set(name, value);
    this.spaceOf.set(name, space);
  }
}

/** A store to begin with: closed, and all that is known of it. */
export interface Base {
  readonly disk: MemoryFileSystem;
  readonly run: Run;
}

/** What is recorded of a run. */
export interface RecordOptions {
  /** The store it begins with; none by default. */
  readonly base?: Base | undefined;
  /**
   * Moments before this step are not kept; by default all are, from -1, the opening before step 0.
   */
  readonly from?: number;
}

/** The machine of a run: its disk goes to another process when one is killed. */
interface Machine {
  disk: MemoryFileSystem;
  /** Sees every operation, before it takes effect. */
  readonly watch: (op: FsOp, disk: MemoryFileSystem) => void;
  /** Calls are under way while others go on, and are answered, before they take effect. */
  readonly schedule: typeof turn | undefined;
}

function attach({ disk, watch, schedule }: Machine): void {
  disk.faults = (op) => {
    watch(op, disk);
    return undefined;
  };
  disk.schedule = schedule;
  disk.answer = schedule;
}

function detach({ disk }: Machine): void {
  disk.faults = undefined;
  disk.schedule = undefined;
  disk.answer = undefined;
}

/** The process is gone, and what it handed to the kernel is not. */
function kill(machine: Machine): void {
  const dead = machine.disk;
  machine.disk = dead.fork();
  dead.faults = () => 'crash';
  attach(machine);
}

/** Runs `workload` on a new disk of `profile`, or on a copy of the base's. */
export async function record(
  workload: Workload,
  profile: FsProfile,
  { base, from = -1 }: RecordOptions = {},
): Promise<Recording> {
  const points: CrashPoint[] = [];
  const run = new Run(base);
  let step = -1;
  let syncs = 0;
  const point = (disk: MemoryFileSystem, op: FsOp | undefined): CrashPoint => ({
    disk: disk.fork(),
    op,
    syncs,
    durable: run.durable,
    acked: run.acked,
    vault: run.vaultObjects,
    mended: run.mended,
  });
  const machine: Machine = {
    disk: base?.disk.fork() ?? new MemoryFileSystem({ profile }),
    watch(op, disk) {
      if (step >= from && changing.has(op.kind)) points.push(point(disk, op));
      if (syncing.has(op.kind)) syncs++;
      if (op.kind === 'unlink') run.rows.removed(disk, op.path);
    },
    schedule: turn,
  };
  await runSteps(workload, machine, run, (n) => {
    step = n;
  });
  points.push(point(machine.disk, undefined));
  return { points, history: await historyOf(machine.disk, run, workload) };
}

/** The store that `workload` leaves on a new disk of `profile`. */
export async function prepare(workload: Workload, profile: FsProfile): Promise<Base> {
  const run = new Run();
  const machine: Machine = {
    disk: new MemoryFileSystem({ profile }),
    watch({ kind, path }, disk) {
      if (kind === 'unlink') run.rows.removed(disk, path);
    },
    schedule: undefined,
  };
  await runSteps(workload, machine, run, () => undefined);
  return { disk: machine.disk, run };
}

async function runSteps(
  workload: Workload,
  machine: Machine,
  run: Run,
  onStep: (n: number) => void,
): Promise<void> {
  const open = async (): Promise<void> => {
    const life = run.opens++;
    run.engine = await openLife(machine.disk, workload.shape, workload.seed * 100 + life, life);
    run.note();
  };
  attach(machine);
  await open();
  for (const [n, step] of workload.steps.entries()) {
    onStep(n);
    if (step.kind === 'reopen') {
      await run.engine!.close();
      run.durable = run.acked;
      await open();
    } else if (step.kind === 'kill' || step.kind === 'repair') {
      kill(machine);
      if (step.kind === 'repair') await repair(machine, run, workload);
      await open();
    } else await runStep(run, step);
  }
  await run.engine!.close();
  detach(machine);
  run.durable = run.acked;
  run.engine = undefined;
}

/** Nothing may be lost with what is damaged. */
async function repair(machine: Machine, run: Run, { shape, seed }: Workload): Promise<void> {
  await loseNewestSlot(machine.disk);
  run.mended = 'going on';
  const life = run.opens++;
  refuseLoss(await mend(envOf(machine.disk, seed * 100 + life, life), shape));
  run.mended = 'done';
}

async function runStep(run: Run, step: Exclude<Step, { kind: 'reopen' | 'kill' | 'repair' }>): Promise<void> {
  const engine = run.engine!;
  if (step.kind === 'flush') {
    await engine.flush();
    run.note();
  } else if (step.kind === 'merge') {
    for (const call of step.calls) await Promise.all([engine.flush(), perform(run, call)]);
    await engine.flush();
    run.note();
  } else {
    const calls = step.calls.map((call) => perform(run, call, dropsOf(step.calls)));
    await Promise.all([...calls, ...beside(run, engine, step.kind)]);
    run.note();
  }
}

function beside(run: Run, engine: Engine, kind: Step['kind']): Promise<unknown>[] {
  if (kind === 'compact') return [engine.compact()];
  if (kind === 'verify') return [checkEngine(engine)];
  return kind === 'backup' ? [run.vault.then((vault) => engine.backup(vault))] : [];
}

async function checkEngine(engine: Engine): Promise<void> {
  const { ok, damage } = await engine.verify({ level: 'full' });
  if (!ok) throw new Error(`a check of a whole store finds ${JSON.stringify(damage)}`);
}

const dropsOf = (calls: readonly Call[]): ReadonlySet<string> =>
  new Set(calls.filter(({ kind }) => kind === 'drop').map(({ space }) => space));

/** So soon that it has expired before the next call. */
export const briefMs = 5;

/** `dropped`: spaces that other calls drop meanwhile; a write to one may be refused. */
async function perform(run: Run, call: Call, dropped: ReadonlySet<string> = new Set()): Promise<void> {
  try {
    await performCall(run, call);
  } catch (error) {
    if (!dropped.has(call.space) || !isVarveError(error, 'VARVE_CONFLICT')) throw error;
  }
  run.note();
}

async function performCall(run: Run, call: Call): Promise<void> {
  if (call.kind === 'drop') {
    if (await run.engine!.spaces.drop(call.space)) run.drops++;
    return;
  }
  const engine = call.space === '' ? run.engine! : run.engine!.space(call.space);
  if (call.kind === 'delete') {
    if (await engine.delete(call.key)) run.deletes++;
  } else if (call.kind === 'range' || call.kind === 'clear') {
    const { seq } = await (call.kind === 'range' ? engine.deleteRange(call.bounds) : engine.clear());
    run.ranges.push(seq);
  } else if (call.kind === 'transaction') {
    const seq = await inTransaction(engine, call.changes);
    for (const { key, value } of call.changes) {
      if (value !== undefined) run.noteValue(seq, call.space, key, value);
    }
  } else if (call.kind === 'batch') {
    const operations = call.changes.map(
      ({ key, value }): BatchOperation =>
        value === undefined ? { type: 'delete', key } : { type: 'put', key, value },
    );
    const { seq } = await engine.batch(operations);
    for (const { key, value } of call.changes) {
      if (value !== undefined) run.noteValue(seq, call.space, key, value);
    }
  } else if (call.kind === 'snapshot' || call.kind === 'index') await toggle(engine, call.kind, call.name);
  else if (call.kind === 'rules') await toggleRules(engine);
  else if (call.kind === 'count') run.counts.push(await engine.increment(call.key));
  else if (call.kind === 'update') {
    const { seq, value } = await update(engine, call.key, call.value);
    run.noteValue(seq, call.space, call.key, value);
  } else {
    const { key, value } = call;
    const options = {
      ...(call.kind === 'swap' ? { ifSeq: (await engine.stat(key))?.seq ?? 0 } : {}),
      ...(call.kind === 'brief' ? { ttlMs: briefMs } : {}),
      ...('tags' in call ? { tags: call.tags } : {}),
    };
    const { seq } = await engine.put(key, call.kind === 'stream' ? inPieces(value) : value, options);
    run.noteValue(seq, call.space, key, value);
    if (call.kind === 'brief') run.brief.add(valueName(seq, hexKey(key)));
  }
}

/** All rows committed, checked against what the calls returned and what the finished store has. */
async function historyOf(disk: MemoryFileSystem, run: Run, { shape }: Workload): Promise<History> {
  const rows = await run.rows.all(disk);
  const { ranges, spaceRows, marks } = run.rows;
  const audit = await auditDisk(disk);
  const problems = audit.problems.slice();
  const wrong = rowsProblem(audit.rows, { rows, ranges, spaceRows }, shape);
  if (wrong !== undefined) problems.push(wrong);
  if (problems.length > 0) throw new Error(`a store closed without a crash: ${problems.join('; ')}`);
  const counts = countsOf(counterKey, rows, ranges);
  checkCounts(run.counts, counts);
  for (const [seq, value] of counts) run.noteValue(seq, '', counterKey, value);
  const puts = rows.filter(({ isPut }) => isPut);
  const unknown = puts.filter(({ seq, key }) => !run.values.has(valueName(seq, key)));
  if (unknown.length > 0 || puts.length !== run.values.size) {
    throw new Error(`the store has ${puts.length} versions, ${run.values.size} were acknowledged`);
  }
  if (rows.length - puts.length < run.deletes) throw new Error('an acknowledged delete has no row');
  const lost = run.ranges.filter((seq) => !ranges.some((range) => range.seq === seq));
  if (lost.length > 0 || ranges.length !== run.ranges.length + run.drops)
    throw new Error(`${ranges.length} range deletes, not ${run.ranges} and ${run.drops} drops`);
  const spaces = new Map<number, string>();
  for (const { seq, key, space } of puts) spaces.set(space, run.spaceOf.get(valueName(seq, key))!);
  return { rows, values: run.values, spaces, ranges, spaceRows, marks, brief: run.brief };
}
