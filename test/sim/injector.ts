/** Acts out the faults of a plan on one disk after another, and ends lives at their moment. */
import { superName } from '../../src/format/file-names.ts';
import type { MemoryFileSystem } from '../../src/fs/memory-file-system.ts';
import type { FsFault, FsOp } from '../../src/fs/sim-machine.ts';
import type { FaultKind, FaultTarget, OpKind, SimFault } from './plan.ts';
import type { Scheduler } from './scheduler.ts';

/** Virtual ms until an operation that hangs gives in. */
const hangMs = 600_000;

interface Armed {
  readonly fault: SimFault;
  seen: number;
}

const none: readonly Armed[] = [];

/** Turns that an operation waits for a call during which it is to fail, and those of all of a run. */
const awaitedTurns = 1000;
const awaitedTurnsMax = 100_000;
/** One of so many lets time pass, for clients that sleep. */
const sleepEvery = 8;
/** Operations of which there are few while a call is made: they wait for it. */
const ofFiles: ReadonlySet<FsOp['kind']> = new Set(['open', 'read', 'size']);
const rareKinds: ReadonlySet<FsOp['kind']> = new Set(['unlink', 'list', 'stat', 'size']);

const targetOf = (kind: FsOp['kind']): FaultTarget | undefined => {
  if (kind === 'dataSync') return 'sync';
  if (kind === 'truncate') return 'write';
  if (kind === 'rmdir') return 'unlink';
  if (kind === 'link') return 'rename';
  return kind === 'close' || kind === 'free' ? undefined : kind;
};

export class Injector {
  readonly #scheduler: Scheduler;
  /** By what they hit. */
  readonly #armed: ReadonlyMap<FaultTarget, Armed[]>;
  #awaited = 0;
  /** Operations that wait for a call, and what lets them go on at once. */
  readonly #waiting = new Map<FsOp, () => void>();
  /** What a call that began meanwhile decided for them, by what they do and to which path. */
  readonly #decided = new Map<string, FsFault | undefined>();
  /** Asked before each operation of the port; true ends the life there. */
  isOver: () => boolean = () => false;
  /** The disk as it stood when the life ended. */
  last: MemoryFileSystem | undefined;
  enabled = true;
  /** The store is open and calls are served: only then do reads lie. */
  serving = false;
  /** Lies told. */
  lies = 0;
  /** Faults that failed an operation, delays apart. */
  fired = 0;
  /** Paths of the files whose syncs are among them. */
  readonly failedSyncs: string[] = [];
  /** Operations that will not end in this life. */
  stuck = 0;
  /** Told before each unlink of a file and each sync of a catalog. */
  onFileEvent: (kind: 'gone' | 'sync', path: string, disk: MemoryFileSystem) => void = () => undefined;
  /**
   * A store is being repaired. A file that cannot be read then (EIO) counts as damaged, and what it had is
   * lost: reads do not fail that way.
   */
  mending = false;
  /** Told of each fault, by its kind. */
  onFault: (kind: FaultKind, fault: SimFault) => void = () => undefined;
  /** Whether a call of a kind is under way. */
  isUnderWay: (kind: OpKind) => boolean = () => false;
  /** What was hit, for messages. */
  readonly log: string[] = [];

  constructor(scheduler: Scheduler, faults: readonly SimFault[]) {
    this.#scheduler = scheduler;
    const armed = new Map<FaultTarget, Armed[]>();
    for (const fault of faults) {
      const { target } = fault;
      armed.set(target, [...(armed.get(target) ?? []), { fault, seen: 0 }]);
    }
    this.#armed = armed;
  }

  /** Makes `disk` the one that is used. */
  attach(disk: MemoryFileSystem): void {
    this.last = undefined;
    this.stuck = 0;
    this.#waiting.clear();
    this.#decided.clear();
    disk.faults = (op) => this.#act(disk, op);
    disk.answer = () => this.#scheduler.turn('answer of a sync');
    disk.schedule = async (op) => {
      const delay = this.#delay(op);
      if (delay === Number.POSITIVE_INFINITY) {
        this.stuck++;
        await new Promise(() => undefined);
      }
      if (delay > 0) await this.#scheduler.sleep(delay);
      await this.#scheduler.turn(nameOf(op));
      await this.#awaitCall(op);
    };
  }

  /** A call begins and is under way: what waits for it fails during it, however short it is. */
  callBegins(): void {
    for (const [op, go] of this.#waiting) {
      if (this.#isAwaited(op)) continue;
      this.#waiting.delete(op);
      this.#decided.set(nameOf(op), this.#fail(op));
      go();
    }
  }

  async #awaitCall(op: FsOp): Promise<void> {
    if (!this.#isAwaited(op)) return;
    const begun = new Promise<void>((go) => this.#waiting.set(op, go));
    for (let i = 1; i <= awaitedTurns && this.#waiting.has(op) && this.#isAwaited(op); i++) {
      this.#awaited++;
      const turn = i % sleepEvery === 0 ? this.#scheduler.sleep(1) : this.#scheduler.turn(nameOf(op));
      await Promise.race([turn, begun]);
    }
    this.#waiting.delete(op);
  }

  #act(disk: MemoryFileSystem, op: FsOp): FsFault | undefined {
    if (this.isOver()) {
      this.last = disk.fork();
      this.#scheduler.note(`end at ${op.kind} ${op.path}`);
      return 'crash';
    }
    const isRoot = op.path === superName || op.path.startsWith('cat/');
    // A recovery that cannot read a catalog puts away what others do not name.
    if (op.kind === 'unlink' || op.kind === 'rename') this.onFileEvent('gone', op.path, disk);
    else if (op.kind === 'sync' && isRoot) this.onFileEvent('sync', op.path, disk);
    const decided = this.#decided.get(nameOf(op));
    if (this.#decided.delete(nameOf(op))) return decided;
    return this.enabled ? this.#fail(op) : undefined;
  }

  /** The life ends where it stands. */
  cut(disk: MemoryFileSystem): void {
    this.last = disk.fork();
    disk.faults = () => 'crash';
    this.#scheduler.note('end while stuck');
  }

  #fail(op: FsOp): FsFault | undefined {
    let found: FsFault | undefined;
    for (const armed of this.#armedFor(op)) {
      const { act } = armed.fault;
      if ('lie' in act) {
        if (this.serving && this.#hits(armed, op)) found ??= this.#lie(armed.fault, act, op);
        continue;
      }
      if (!('errno' in act) || (this.mending && act.errno === 'EIO' && ofFiles.has(op.kind))) continue;
      if (!this.#hits(armed, op) || found !== undefined) continue;
      this.fired++;
      if (armed.fault.target === 'sync') this.failedSyncs.push(op.path);
      this.onFault(kindOf(armed.fault), armed.fault);
      this.log.push(`${act.errno}${act.lost ?? ''} ${op.kind} ${op.path}`);
      this.#scheduler.note(`${act.errno} ${op.kind} ${op.path}`);
      const written = act.written === undefined ? {} : { written: act.written };
      found = { errno: act.errno, ...written, ...(act.lost === undefined ? {} : { lost: act.lost }) };
    }
    return found;
  }

  #lie(fault: SimFault, { lie, at }: Extract<SimFault['act'], { lie: string }>, op: FsOp): FsFault {
    this.fired++;
    this.lies++;
    this.onFault(kindOf(fault), fault);
    this.log.push(`${lie} ${op.kind} ${op.path}`);
    this.#scheduler.note(`${lie} ${op.kind} ${op.path}`);
    const { pos = 0, length = 0 } = op;
    if (lie === 'rot') return { lie, bit: at % (8 * Math.max(1, length)) };
    if (lie === 'short') return { lie, length: at % Math.max(1, length) };
    return lie === 'misdirected' ? { lie, pos: Math.max(0, pos + 8 * ((at % 255) - 127)) } : { lie };
  }

  #delay(op: FsOp): number {
    let delay = 0;
    if (!this.enabled) return delay;
    for (const armed of this.#armedFor(op)) {
      const { act } = armed.fault;
      if ('errno' in act || 'lie' in act || !this.#hits(armed, op)) continue;
      this.onFault(kindOf(armed.fault), armed.fault);
      if ('delayMs' in act) delay = Math.max(delay, act.delayMs);
      else delay = Math.max(delay, act.hang === 'never' ? Number.POSITIVE_INFINITY : hangMs);
    }
    return delay;
  }

  /**
   * The operation is one of few, and is to fail during a call that is not under way: calls are short, and
   * would hardly ever meet it.
   */
  #isAwaited(op: FsOp): boolean {
    if (!this.enabled || !this.serving || !rareKinds.has(op.kind) || this.#awaited >= awaitedTurnsMax)
      return false;
    const aimed = this.#armedFor(op).filter((armed) => {
      const { during, act } = armed.fault;
      return during !== undefined && 'errno' in act && isFor(armed, op);
    });
    return aimed.length > 0 && !aimed.some(({ fault }) => this.isUnderWay(fault.during!));
  }

  #armedFor({ kind }: FsOp): readonly Armed[] {
    const target = targetOf(kind);
    return target === undefined ? none : (this.#armed.get(target) ?? none);
  }

  /** Counts the operation where it matches. */
  #hits(armed: Armed, op: FsOp): boolean {
    const { skip, times, during } = armed.fault;
    if (!isFor(armed, op)) return false;
    if (during !== undefined && !this.isUnderWay(during)) return false;
    const n = armed.seen++;
    return n >= skip && n < skip + times;
  }
}

/** A fault that is not spent, on a path it is for. */
function isFor({ fault: { path, skip, times }, seen }: Armed, op: FsOp): boolean {
  return seen < skip + times && op.path.startsWith(path);
}

function nameOf({ kind, path }: FsOp): string {
  return `${kind} ${path}`;
}

/** A fault's kind, for the coverage table. */
function kindOf({ target, act }: SimFault): FaultKind {
  if ('lie' in act) return act.lie;
  if ('hang' in act) return act.hang === 'never' ? 'hang for ever' : 'hang';
  if ('delayMs' in act) return 'delay';
  if (act.errno === 'EIO') return act.lost === undefined ? `EIO ${target}` : `sync ${act.lost}`;
  return act.errno as FaultKind;
}
