/**
 * Runs a workload on a disk that refuses one operation, and says what was acknowledged. The model here is the
 * calls themselves, since the order of those that failed is nobody's promise.
 */

import { MemoryBlobs } from '../../src/backup/memory-blobs.ts';
import type { Vault } from '../../src/backup/vault.ts';
import { isVarveError } from '../../src/base/errors.ts';
import type { Engine } from '../../src/engine/engine.ts';
import type { BatchOperation } from '../../src/engine/types.ts';
import type { MemoryFileSystem } from '../../src/fs/memory-file-system.ts';
import { toggle, toggleRules, update } from './features.ts';
import { envOf, openOn } from './machine.ts';
import { loseNewestSlot, mend, refuseLoss } from './mended.ts';
import { briefMs, hexKey } from './recorder.ts';
import { inTransaction } from './transact.ts';
import { type VaultObjects, vaultOf } from './vaults.ts';
import { type Call, type Change, counterKey, type PlainCall, type Step, type Workload } from './workload.ts';

/** What one call asked for; `seq` once it was acknowledged. */
export interface Attempt {
  readonly kind: Call['kind'];
  /** Of an update, what it has last decided on; of a counter, anything that counts. */
  changes: ReadonlyMap<string, Uint8Array | undefined>;
  /** A snapshot, an index or the rules: which, and whether it was made, once that is known. */
  readonly mark: { readonly name: string; made: boolean | undefined } | undefined;
  /** What a counter said. */
  told: number | undefined;
  /** Positions among the beginnings and ends of all calls. */
  readonly begin: number;
  end: number;
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
  /** What the vault of the run holds; undefined before the first backup. */
  readonly vault: VaultObjects | undefined;
}

/** Where a run goes on when its process is killed: the same disk, as the kernel has it, for another one. */
export type OnKill = (disk: MemoryFileSystem) => MemoryFileSystem;

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
 * `begun` gets a look at what was acknowledged so far, at any moment of the run. Without `onKill` a store
 * whose process is to die is closed instead.
 */
export async function runFaulty(
  disk: MemoryFileSystem,
  workload: Workload,
  begun: (look: () => FaultyRun) => void = () => undefined,
  onKill?: OnKill,
): Promise<FaultyRun> {
  const run = new Faulty(disk, workload);
  begun(() => run.look());
  await run.open();
  for (const step of workload.steps) {
    if (run.engine === undefined) break;
    if (step.kind === 'flush') await run.guard('flush', run.engine.flush());
    else if (step.kind === 'merge') {
      for (const call of step.calls)
        await Promise.all([run.guard('flush', run.engine.flush()), run.call(call)]);
    } else if ('calls' in step) {
      await Promise.all([...step.calls.map((call) => run.call(call)), run.beside(step.kind)]);
    } else if ((step.kind === 'kill' || step.kind === 'repair') && onKill !== undefined) {
      run.kill(onKill);
      if (step.kind === 'repair') await run.repair();
      await run.open();
    } else {
      await run.close();
      await run.open();
    }
  }
  await run.close();
  return run.look();
}

class Faulty {
  readonly attempts: Attempt[] = [];
  readonly failures: string[] = [];
  stopped = false;
  engine: Engine | undefined;
  #disk: MemoryFileSystem;
  readonly #blobs = new MemoryBlobs();
  #vault: Promise<Vault> | undefined;
  #ticks = 0;
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
      vault: this.#vault === undefined ? undefined : Array.from(this.#blobs.entries()),
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

  /** The process dies between two calls; what it handed to the kernel is there for the next one. */
  kill(onKill: OnKill): void {
    this.#raise();
    // Whoever asked would have heard of a failure behind the last call.
    const { status, reason } = this.engine!.health();
    if (status === 'degraded') this.failures.push(`killed: ${reason}`);
    this.engine = undefined;
    this.#disk = onKill(this.#disk);
  }

  /** A repair that is refused leaves the store as it was; one that is not loses nothing. */
  async repair(): Promise<void> {
    const { shape, seed } = this.#workload;
    await loseNewestSlot(this.#disk);
    const report = await this.guard('repair', mend(envOf(this.#disk, seed * 100 + this.#opens++), shape));
    if (report !== undefined) refuseLoss(report);
  }

  /** What goes on while the calls of a step are made. */
  async beside(kind: Step['kind']): Promise<void> {
    const engine = this.engine!;
    if (kind === 'compact') await this.guard('compact', engine.compact());
    if (kind === 'verify') await this.guard('verify', engine.verify({ level: 'full' }));
    if (kind !== 'backup') return;
    this.#vault ??= vaultOf(this.#blobs, 0);
    await this.guard('backup', engine.backup(await this.#vault));
  }

  async call(call: Call): Promise<void> {
    const engine = this.engine!;
    const space = call.space === '' ? engine : engine.space(call.space);
    const wasDegraded = engine.health().status === 'degraded';
    const life = this.#opens;
    const attempt: Attempt = {
      kind: call.kind,
      changes: changesOf(call),
      mark: markOf(call),
      told: undefined,
      begin: this.#ticks++,
      end: Number.POSITIVE_INFINITY,
      range: rangeOf(call),
      seq: undefined,
      acked: false,
      durable: false,
      life,
    };
    this.attempts.push(attempt);
    if (call.kind === 'drop') this.#dropped.add(call.space);
    const seq = await this.guard(call.kind, perform(space, call, engine, attempt), call.space);
    attempt.end = this.#ticks++;
    if (engine.health().status === 'degraded') this.stopped = true;
    if (seq === undefined) return;
    if (wasDegraded && seq !== noChange) throw new Error('a write was acknowledged after a failed one');
    attempt.acked = true;
    if (seq > 0) attempt.seq = seq;
    this.#raise();
  }
}

const noChange = -1;
/** What a counter puts is told from the store. */
const anyCount = new Uint8Array(0);

/** The commit's number, or one behind it; 0 for a delete or a counter, or `noChange`. */
async function perform(space: Engine, call: Call, engine: Engine, attempt: Attempt): Promise<number> {
  switch (call.kind) {
    case 'update': {
      const noted = (made: Uint8Array): void => {
        attempt.changes = new Map([[hexKey(call.key), made]]);
      };
      return (await update(space, call.key, call.value, noted)).seq;
    }
    case 'count':
      attempt.told = await space.increment(call.key);
      return 0;
    case 'brief':
      return (await space.put(call.key, call.value, { ttlMs: briefMs })).seq;
    case 'snapshot':
    case 'index':
    case 'rules': {
      const made = await (call.kind === 'rules' ? toggleRules(engine) : toggle(engine, call.kind, call.name));
      attempt.mark!.made = made;
      return made === undefined ? noChange : engine.stats().seq;
    }
    default:
      return await performPlain(space, call, engine);
  }
}

async function performPlain(space: Engine, call: PlainCall, engine: Engine): Promise<number> {
  if (call.kind === 'drop') return (await engine.spaces.drop(call.space)) ? 0 : noChange;
  if (call.kind === 'range') return (await space.deleteRange(call.bounds)).seq;
  if (call.kind === 'clear') return (await space.clear()).seq;
  if (call.kind === 'delete') return (await space.delete(call.key)) ? 0 : noChange;
  if (call.kind === 'batch') return (await space.batch(call.changes.map(operationOf))).seq;
  if (call.kind === 'transaction') return await inTransaction(space, call.changes);
  const options = {
    ...(call.kind === 'swap' ? { ifSeq: (await space.stat(call.key))?.seq ?? 0 } : {}),
    ...('tags' in call ? { tags: call.tags } : {}),
  };
  return (await space.put(call.key, call.value, options)).seq;
}

function operationOf({ key, value }: Change): BatchOperation {
  return value === undefined ? { type: 'delete', key } : { type: 'put', key, value };
}

function changesOf(call: Call): Map<string, Uint8Array | undefined> {
  switch (call.kind) {
    case 'delete':
      return new Map([[hexKey(call.key), undefined]]);
    case 'batch':
    case 'transaction':
      return new Map(call.changes.map(({ key, value }) => [hexKey(key), value]));
    case 'count':
      return new Map([[hexKey(counterKey), anyCount]]);
    case 'range':
    case 'clear':
    case 'drop':
    case 'update':
    case 'snapshot':
    case 'index':
    case 'rules':
      return new Map();
    default:
      return new Map([[hexKey(call.key), call.value]]);
  }
}

function markOf(call: Call): Attempt['mark'] {
  if (call.kind === 'rules') return { name: 'rules', made: undefined };
  if (call.kind !== 'snapshot' && call.kind !== 'index') return undefined;
  return { name: `${call.kind} ${call.name}`, made: undefined };
}

function rangeOf(call: Call): Attempt['range'] {
  const { space } = call;
  if (call.kind === 'clear' || call.kind === 'drop') return { space, has: () => true };
  if (call.kind !== 'range') return undefined;
  const { bounds } = call;
  // Hex sorts and begins as the bytes do.
  if ('prefix' in bounds) return { space, has: (key) => key.startsWith(hexKey(bounds.prefix)) };
  return { space, has: (key) => key >= hexKey(bounds.gte) && key < hexKey(bounds.lt) };
}
