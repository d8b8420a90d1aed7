/**
 * A reader that sees what a writer in another process commits: it looks every so often whether SUPER or the
 * log have changed, opens the new state beside the one in use, and closes the old one when nobody reads it
 * any more. A lease keeps the files of the oldest state in use.
 *
 * Invariants (test/engine/follower.test.ts)
 * - It writes nothing but its lease ("a follower writes nothing but its lease").
 * - What was acknowledged before `refresh` was called is seen when it resolves, and without it within the
 *   time of a look ("commits are seen within the time of a look").
 * - A state stays whole while `read` runs over it, also while the writer cleans ("a writer keeps the files of
 *   a live reader").
 */
import { isVarveError, VarveError } from '../../base/errors.ts';
import { type Deferred, deferred, Mutex } from '../../base/sync.ts';
import { readSlots } from '../../catalog/super-file.ts';
import { parseFileName } from '../../format/file-names.ts';
import type { Engine } from '../engine.ts';
import type { Env } from '../env.ts';
import type { OpenBounds } from '../open-bounds.ts';
import { openWithEnv } from '../opening/open.ts';
import type { EngineOptions } from '../options.ts';
import type { Store } from '../store.ts';
import { LeaseFile } from './lease-file.ts';

/** Time between two beats of a lease, ms. */
const beatMs = 5000;
const everyMsDefault = 200;

/** Options of a follower: those of a reader, and how often it looks. */
export interface FollowOptions extends Omit<EngineOptions, 'readOnly' | 'createIfMissing' | 'errorIfExists'> {
  /** Time between two looks at what the writer has done, ms, from 10 up. Default 200. */
  everyMs?: number;
  /** Told of each newer state. */
  onRefresh?: (engine: Engine) => void;
}

/** One opened state. */
interface State {
  readonly engine: Engine;
  readonly generation: number;
  readonly dbUuid: Uint8Array;
  readonly mark: string;
  /** What was behind the last frame may be one that was misread. */
  readonly isTorn: boolean;
  users: number;
}

/** Where states are read, and where the lease is written: the same directory. */
export interface FollowEnvs {
  readonly read: Env;
  readonly lease: Env;
}

/**
 * Newer and newer states of a store that another process writes; see follow(). Close it, or declare it with
 * `await using`.
 */
export class Follower {
  readonly #envs: FollowEnvs;
  readonly #options: EngineOptions;
  readonly #bounds: OpenBounds;
  readonly #everyMs: number;
  readonly #onRefresh: (engine: Engine) => void;
  readonly #turns = new Mutex();
  readonly #stop: Deferred<void> = deferred<void>();
  readonly #states: State[] = [];
  #lease: LeaseFile | undefined;
  #looking: Promise<void> | undefined;
  #beatAt = 0;
  #isOver = false;

  private constructor(envs: FollowEnvs, options: FollowOptions, bounds: OpenBounds) {
    const { everyMs = everyMsDefault, onRefresh = () => undefined, ...rest } = options;
    this.#envs = envs;
    this.#bounds = bounds;
    this.#options = { ...rest, readOnly: true };
    this.#everyMs = everyMs;
    this.#onRefresh = onRefresh;
  }

  /** Use follow(). Errors as openEngine with readOnly; VARVE_INVALID_ARGUMENT. */
  static async open(envs: FollowEnvs, options: FollowOptions, bounds: OpenBounds = {}): Promise<Follower> {
    const { everyMs = everyMsDefault } = options;
    if (!(Number.isFinite(everyMs) && everyMs >= 10)) {
      throw new VarveError('VARVE_INVALID_ARGUMENT', 'everyMs must be a number from 10 up', {
        actual: everyMs,
      });
    }
    const follower = new Follower(envs, options, bounds);
    try {
      await follower.#takeLease();
      await follower.#advance();
    } catch (error) {
      await follower.close();
      throw error;
    }
    follower.#looking = follower.#look();
    return follower;
  }

  /** The newest state: an engine for reading. It may be closed once a newer one is there; see `read`. */
  get engine(): Engine {
    const newest = this.#states.at(-1);
    if (newest === undefined || this.#isOver) throw new VarveError('VARVE_CLOSED', 'the follower is closed');
    return newest.engine;
  }

  /** A writer keeps the files that this reader needs. False where the lease could not be written. */
  get isLeased(): boolean {
    return this.#lease !== undefined;
  }

  /**
   * Runs `task` over the newest state, which stays open and as it is until the task has ended. Where its
   * files are gone all the same (VARVE_SNAPSHOT_EXPIRED) the task is run once more, over a new state.
   */
  async read<T>(task: (engine: Engine) => Promise<T>): Promise<T> {
    try {
      return await this.#over(task);
    } catch (error) {
      if (!isVarveError(error, 'VARVE_SNAPSHOT_EXPIRED')) throw error;
      await this.refresh();
      return await this.#over(task);
    }
  }

  /** Resolves when everything that was acknowledged before the call is seen. Errors as an open. */
  async refresh(): Promise<void> {
    void this.engine;
    await this.#advance(true);
  }

  /** Ends reading and gives the lease back. Waits for calls under way. Idempotent. */
  async close(): Promise<void> {
    this.#isOver = true;
    this.#stop.resolve();
    await this.#looking;
    await this.#turns.run(async () => {
      for (const { engine } of this.#states.splice(0)) await engine.close();
      const lease = this.#lease;
      this.#lease = undefined;
      await lease?.end();
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  async #over<T>(task: (engine: Engine) => Promise<T>): Promise<T> {
    void this.engine;
    const state = this.#states.at(-1)!;
    state.users++;
    try {
      return await task(state.engine);
    } finally {
      state.users--;
      if (state.users === 0 && state !== this.#states.at(-1)) await this.#turns.run(() => this.#drop());
    }
  }

  /** Looks until the end; failures are logged, and the next look tries again. */
  async #look(): Promise<void> {
    const { clock } = this.#envs.read;
    while (!this.#isOver) {
      await Promise.race([clock.sleep(this.#everyMs), this.#stop.promise]);
      if (this.#isOver) return;
      try {
        await this.#beat();
        await this.#advance();
      } catch (error) {
        this.#options.logger?.warn?.('following the writer failed', { error });
      }
    }
  }

  async #beat(): Promise<void> {
    const now = this.#envs.read.clock.monotonic();
    if (this.#lease === undefined || now - this.#beatAt < beatMs) return;
    this.#beatAt = now;
    if (await this.#lease.beat()) return;
    // We were taken for dead: what we read may be gone. Begin anew.
    await this.#lease.end();
    await this.#takeLease();
  }

  async #takeLease(): Promise<void> {
    try {
      this.#lease = await LeaseFile.create(this.#envs.lease);
      this.#beatAt = this.#envs.read.clock.monotonic();
    } catch (error) {
      this.#lease = undefined;
      this.#options.logger?.warn?.('no lease: a writer may remove files that are read', { error });
    }
  }

  /** Opens what is there now, unless it is what is open; `isAsked`: and is whole. */
  #advance(isAsked = false): Promise<void> {
    return this.#turns.run(async () => {
      const mark = await this.#markNow();
      const newest = this.#states.at(-1);
      if (this.#isOver || (newest?.mark === mark && !(isAsked && newest.isTorn))) return;
      let store: Store | undefined;
      const engine = await openWithEnv(this.#envs.read, this.#options, {
        ...this.#bounds,
        onOpen: (opened) => {
          store = opened;
        },
      });
      const { identity, openedTorn: isTorn } = store!.parts;
      const { generation, dbUuid } = identity;
      const isFirst = this.#states.length === 0;
      this.#states.push({ engine, generation, dbUuid, mark, isTorn, users: 0 });
      await this.#drop();
      if (!isFirst) this.#onRefresh(engine);
    });
  }

  /** Closes states that nobody reads, but the newest, and lets go of their files. */
  async #drop(): Promise<void> {
    const newest = this.#states.at(-1);
    for (const state of this.#states.slice(0, -1)) {
      if (state.users > 0) continue;
      this.#states.splice(this.#states.indexOf(state), 1);
      await state.engine.close();
    }
    const [oldest] = this.#states;
    if (oldest !== undefined && newest !== undefined)
      await this.#lease?.raise(oldest.generation, oldest.dbUuid);
  }

  /** What changes with every commit: the newest slot, and names and sizes of log files. */
  async #markNow(): Promise<string> {
    const { fs } = this.#envs.read;
    const { slots } = await readSlots(fs);
    const parts = [String(slots[0]?.generation)];
    for (const { name } of await fs.list('wal')) {
      if (parseFileName(name)?.kind !== 'wal') continue;
      parts.push(`${name} ${(await fs.stat(`wal/${name}`))?.size ?? 'gone'}`);
    }
    return parts.join('\n');
  }
}
