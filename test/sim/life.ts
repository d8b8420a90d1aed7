/** One life of a store in a simulation: from an open to its close, or to the moment the process died. */
import { Prng } from '../../src/base/prng.ts';
import type { Engine } from '../../src/engine/engine.ts';
import type { Env } from '../../src/engine/env.ts';
import type { OpenBounds } from '../../src/engine/open-bounds.ts';
import { openWithEnv } from '../../src/engine/opening/open.ts';
import type { EngineOptions } from '../../src/engine/options.ts';
import type { Store } from '../../src/engine/store.ts';
import type { MemoryFileSystem } from '../../src/fs/memory-file-system.ts';
import { memoryLock } from '../../src/fs/memory-lock.ts';
import type { Coverage } from './coverage.ts';
import type { Injector } from './injector.ts';
import { LyingDisk } from './lying-disk.ts';
import type { Oracle } from './oracle.ts';
import type { SimPlan } from './plan.ts';
import type { Scheduler } from './scheduler.ts';
import { threadsOfLife } from './sim-pool.ts';

/** What all lives of a run share. */
export interface World {
  readonly plan: SimPlan;
  readonly scheduler: Scheduler;
  readonly injector: Injector;
  readonly oracle: Oracle;
  readonly coverage: Coverage;
  /** Calls begun in all lives. */
  calls: number;
  /** The first thing found wrong, with where. */
  failure: string | undefined;
}

/** What life `number` of a run has from outside, on `disk`. */
export function envOfLife({ plan, scheduler }: World, disk: MemoryFileSystem, number: number): Env {
  const { options, seed } = plan;
  const { clock } = scheduler;
  const prng = new Prng(seed * 1000 + number);
  return {
    fs: plan.lies === true ? new LyingDisk(disk) : disk,
    lock: memoryLock(disk, clock),
    clock,
    random: (n: number) => prng.bytes(n),
    ...threadsOfLife(scheduler, seed + number, options.threads),
  };
}

/** Calls that are still made after a write has failed: reads must go on, writes must be refused. */
const sickCallsMax = 6;

export class Life {
  readonly world: World;
  readonly number: number;
  readonly disk: MemoryFileSystem;
  readonly env: Env;
  readonly options: EngineOptions;
  readonly bounds: OpenBounds;
  /** Those of the life's own engine. */
  readonly ownBounds: OpenBounds;
  #store: Store | undefined;
  readonly #faultsBefore: number;
  readonly #syncFaultsBefore: number;
  readonly #liesBefore: number;
  engine!: Engine;
  /** The process is dead: nobody is left to hear what its calls return. */
  over = false;
  closing = false;
  /** Commits up to here must survive a power cut. */
  durable = 0;
  #shown = 0;
  #sickCalls = 0;

  constructor(
    world: World,
    number: number,
    disk: MemoryFileSystem,
    env: Env,
    options: EngineOptions,
    bounds: OpenBounds,
  ) {
    this.world = world;
    this.number = number;
    this.disk = disk;
    this.env = env;
    this.options = options;
    this.bounds = bounds;
    this.ownBounds = {
      ...bounds,
      onOpen: (store) => {
        this.#store = store;
      },
    };
    this.#faultsBefore = world.injector.fired;
    this.#liesBefore = world.injector.lies;
    this.#syncFaultsBefore = world.injector.failedSyncs.length;
  }

  /** True when the disk has refused something since this life began. */
  get faulted(): boolean {
    return this.world.injector.fired > this.#faultsBefore;
  }

  /** True when a read has given other bytes than the file has. */
  get liedTo(): boolean {
    return this.world.injector.lies > this.#liesBefore;
  }

  get full(): boolean {
    return this.options.durability === 'full';
  }

  /** True when a sync has failed since this life began. */
  get syncFailed(): boolean {
    return this.world.injector.failedSyncs.length > this.#syncFaultsBefore;
  }

  /**
   * True when the kernel may have thrown away what a file was handed: its sync has failed in this life. What
   * is acknowledged unsynced is read from it, and then found cut off.
   */
  mayHaveLost(file: string | undefined): boolean {
    return !this.full && this.world.injector.failedSyncs.indexOf(file ?? '', this.#syncFaultsBefore) >= 0;
  }

  /** What readers see now: as stats() says, which gathers all other figures too, and is asked beside it. */
  get view(): number {
    const store = this.#store!;
    store.assertReadable();
    const { visibleSeq: seq, parts } = store;
    const durableSeq = parts.write?.log.durableSeq ?? parts.openedSeq;
    if (!this.closing) {
      this.durable = Math.max(this.durable, this.full ? seq : durableSeq);
      this.#shown = Math.max(this.#shown, seq);
    }
    return seq;
  }

  /** Notes how far commits are safe; called when something was acknowledged, and when the life ends. */
  note(): void {
    if (this.engine !== undefined && !this.closing) void this.view;
  }

  /**
   * Commits up to here must survive the death of the process. After a failed sync the kernel may have thrown
   * away what it was handed and did not yet write.
   */
  get handed(): number {
    return this.syncFailed ? this.durable : this.#shown;
  }

  /**
   * To be called before a reader opens. The result, to be called with the reader once it is open, gives the
   * number up to which it shows commits, and throws where that is too low; undefined where the reader says
   * itself that it could not read everything, which only a fault excuses. What was acknowledged but not
   * synced it may take for a torn tail: a sync that failed may have thrown that away, and a read that lied
   * looks the same. What was synced it must show: the last such number may be that of a log file's first
   * frame, which its writer only sees, so which of them are commits is told by the rows of the next open.
   */
  beforeReader(): (reader: Engine) => number | undefined {
    const { injector, oracle } = this.world;
    const { lies } = injector;
    // A reader may outlive its life, and the next one may write more.
    const { lastAcked, lastSeq } = oracle;
    const { durable } = this;
    return (reader) => {
      const health = reader.health();
      if (health.status === 'degraded') {
        if (this.faulted) return undefined;
        throw new Error(`a reader found damage: ${JSON.stringify(health)}`);
      }
      const view = reader.stats().seq;
      const isLiedTo = injector.lies > lies;
      const least = isLiedTo || this.syncFailed ? lastSeq : Math.max(lastSeq, lastAcked);
      if (view < least) throw new Error(`a reader sees ${view}, ${least} was acknowledged before`);
      if (!isLiedTo) oracle.observe({ kind: 'opened', space: '', view, durable });
      return view;
    };
  }

  /**
   * A second writer, which must be refused with VARVE_LOCKED, but behind a close. It closes also when it
   * outlives this life: nobody else gives its lock back, and the next life waits for it.
   */
  async tryRival(): Promise<void> {
    const rival = await openWithEnv(this.env, { ...this.options, lockWaitMs: 0 }, this.bounds);
    if (!this.closing) throw new Error('two writers have the store open');
    await rival.close();
  }

  get isSick(): boolean {
    return this.engine.health().status === 'degraded';
  }

  /** True when a sick store has been called often enough. */
  get mustReopen(): boolean {
    return this.#sickCalls >= sickCallsMax;
  }

  noteSick(): void {
    if (!this.closing && this.faulted && this.isSick) this.#sickCalls++;
  }

  fail(message: string): void {
    this.world.failure ??= `life ${this.number}: ${message}`;
  }
}
