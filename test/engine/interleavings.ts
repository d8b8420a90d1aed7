/**
 * Tries the interleavings of a few callers of one store: each operation of the disk, each sleep and each
 * point a caller names is held until it is chosen. By itself the caller that ran last goes on until it has
 * nothing to do; a schedule says where another one is put before it. All schedules with up to so many of
 * those switches are enumerated, by running each and looking where another choice was there.
 */
import { AsyncLocalStorage } from 'node:async_hooks';
import type { Clock } from '../../src/base/clock.ts';
import type { MemoryFileSystem } from '../../src/fs/memory-file-system.ts';

/** At step `at` the oldest held operation of `actor` is let go. */
export interface Switch {
  readonly at: number;
  readonly actor: number;
}

interface Held {
  readonly actor: number;
  readonly go: () => void;
}

const stepsMax = 5000;

export class Scheduler {
  readonly #actor = new AsyncLocalStorage<number>();
  readonly #held: Held[] = [];
  #isArmed = false;
  #turns = 0;
  /** Called before each step. */
  onStep: (step: number) => void = () => undefined;

  /** Waits until it is chosen. Of nobody's call, or while no callers run: passes. */
  point(): Promise<void> {
    const actor = this.#actor.getStore();
    if (!this.#isArmed || actor === undefined) return Promise.resolve();
    return new Promise((resolve) => this.#held.push({ actor, go: resolve }));
  }

  /** Holds the operations of `disk`. */
  watch(disk: MemoryFileSystem): void {
    disk.schedule = () => this.point();
  }

  /** `clock` whose sleeps are held; what is slept for is over `faster` times as fast. */
  clock(clock: Clock, faster: number): Clock {
    const turn = async (): Promise<void> => {
      this.#turns++;
      await clock.turn();
      this.#turns--;
    };
    return {
      now: () => clock.now(),
      monotonic: () => clock.monotonic(),
      turn,
      keepAlive: () => clock.keepAlive(),
      sleep: async (ms) => {
        await this.point();
        this.#turns++;
        await clock.sleep(ms * faster);
        this.#turns--;
      },
    };
  }

  /**
   * Runs the actors with these switches. Says at which steps, behind the last switch, another actor could
   * have been chosen. Throws what an actor throws, and when none can go on.
   */
  async run(actors: readonly (() => Promise<void>)[], switches: readonly Switch[]): Promise<Switch[]> {
    const others: Switch[] = [];
    const last = switches.at(-1)?.at ?? -1;
    let running = actors.length;
    let failure: { readonly error: unknown } | undefined;
    this.#isArmed = true;
    const all = actors.map((actor, i) =>
      this.#actor
        .run(i, async () => {
          await this.point();
          await actor();
        })
        .catch((error: unknown) => {
          failure ??= { error };
        })
        .finally(() => {
          running--;
        }),
    );
    let current = 0;
    for (let step = 0; ; step++) {
      await this.#quiet();
      if (running === 0 || failure !== undefined) break;
      if (this.#held.length === 0 || step > stepsMax) throw new Error(`step ${step}: nobody can go on`);
      this.onStep(step);
      const able = Array.from(new Set(this.#held.map(({ actor }) => actor))).sort((a, b) => a - b);
      const usual = able.includes(current) ? current : able[0]!;
      current = switches.find(({ at }) => at === step)?.actor ?? usual;
      if (step > last) for (const actor of able) if (actor !== usual) others.push({ at: step, actor });
      const chosen = this.#held.findIndex(({ actor }) => actor === current);
      if (chosen === -1) throw new Error(`step ${step}: the schedule does not repeat`);
      this.#held.splice(chosen, 1)[0]!.go();
    }
    this.#isArmed = false;
    for (const { go } of this.#held.splice(0)) go();
    await Promise.all(all);
    if (failure !== undefined) throw failure.error;
    return others;
  }

  /** Until nothing happens by itself any more. */
  async #quiet(): Promise<void> {
    for (let calm = 0; calm < 2; calm++) {
      await new Promise((resolve) => setImmediate(resolve));
      if (this.#turns > 0) calm = -1;
    }
  }
}

/** How a schedule ended: sound, or what was wrong. */
export interface Explored {
  readonly schedules: number;
  /** The first schedule that went wrong. */
  readonly wrong: { readonly switches: readonly Switch[]; readonly error: Error } | undefined;
}

/** How much is tried. */
export interface Bounds {
  readonly switchesMax: number;
  /** Schedules, at most. */
  readonly most: number;
  /** Of the schedules with as many switches only every so many are tried; 1: all. */
  readonly stride?: number;
  /** Tried first. */
  readonly hint?: readonly Switch[];
}

/** Tries every schedule within the bounds, fewest switches first. `attempt` runs one, as `Scheduler.run`. */
export async function explore(
  { switchesMax, most, stride = 1, hint }: Bounds,
  attempt: (switches: readonly Switch[], number: number) => Promise<Switch[]>,
): Promise<Explored> {
  let schedules = 0;
  let wrong: Explored['wrong'];
  const next: (readonly Switch[])[] = [];
  const tryOne = async (switches: readonly Switch[]): Promise<void> => {
    try {
      const others = await attempt(switches, schedules++);
      for (const other of others) next.push([...switches, other]);
    } catch (error) {
      wrong = { switches, error: error as Error };
    }
  };
  if (hint !== undefined) await tryOne(hint);
  next.splice(0);
  let level: (readonly Switch[])[] = [[]];
  for (let depth = 0; depth <= switchesMax; depth++) {
    for (let i = 0; i < level.length && schedules < most && wrong === undefined; i += stride) {
      await tryOne(level[i]!);
    }
    level = next.splice(0);
  }
  return { schedules, wrong };
}
