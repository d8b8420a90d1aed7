/**
 * Makes cleaning give way to commits of others, and only while there are some: it works in shorter slices and
 * rests until the commit under way is done, and where commits wait for the disk it syncs what it writes in
 * small portions, for a small share of the time. While a whole segment is synced every commit takes many
 * times as long as any other, and those that do are about one in a hundred, which is the 99th percentile;
 * behind a portion it is hardly longer.
 *
 * Where others store so much that cleaning at that rate would fall behind, it goes twice as fast as they do.
 *
 * Invariants (test/engine/courtesy.test.ts)
 * - While nobody else commits nothing waits ("alone it never rests").
 * - While others commit it syncs in portions ("it syncs in portions while commits wait for the disk").
 * - Between two syncs it rests as long as its share of the disk says ("it syncs for a small share of the time
 *   while others commit").
 * - It keeps up with what others store ("it goes twice as fast as others store").
 */
import type { Clock } from '../../base/clock.ts';
import { KiB } from '../../base/limits.ts';

/** Others have committed within this time: they will again, ms. */
const recentMs = 250;
/** Time of the disk for syncs of cleaning while others wait for it: one part in so many. */
const diskParts = 8;
/** Synced at once while others wait for the disk, bytes. */
const portionBytes: number = 128 * KiB;
/** What is synced in no time disturbs nobody, bytes. */
const restBytesMin = 64 * KiB;
/** A commit under way is waited for in steps of so long, ms, and for so many of them. */
const stepMs = 1;
const stepsMax = 4;
/** Longest rest behind one sync, ms; looked up from now and then whether it is still wanted. */
const restMsMax = 10_000;
const lookMs = 50;

export interface CourtesyOptions {
  readonly clock: Clock;
  readonly log: { readonly isWaitedFor: boolean; readonly counters: { readonly count: number } };
  /** Bytes of chunks stored since the store was opened. */
  readonly storedBytes: () => number;
  /** A commit is acknowledged when it is on disk. */
  readonly waitsForDisk: boolean;
}

/** How a run may rest. */
export interface Restful {
  readonly isAwaited: boolean;
  readonly cancelled: () => boolean;
}

export class Courtesy {
  readonly #options: CourtesyOptions;
  /** Commits known, the cleaner's own among them. */
  #commits: number;
  #seenMs = Number.NEGATIVE_INFINITY;
  /** Whether others committed before a call of `own` under way, in which nobody knows whose commits come. */
  #before: boolean | undefined;
  /** Until when the disk is left to others. */
  #restUntil = Number.NEGATIVE_INFINITY;
  #syncedMs: number;
  #syncedStored: number;

  constructor(options: CourtesyOptions) {
    this.#options = options;
    this.#commits = options.log.counters.count;
    this.#syncedMs = options.clock.monotonic();
    this.#syncedStored = options.storedBytes();
  }

  /** Others commit. */
  get isWanted(): boolean {
    const { clock, log } = this.#options;
    const now = clock.monotonic();
    if (this.#before !== undefined) return this.#before;
    if (log.counters.count !== this.#commits) {
      this.#commits = log.counters.count;
      this.#seenMs = now;
    }
    return now - this.#seenMs < recentMs;
  }

  /** Bytes of an output that may wait for a sync. */
  get unsyncedMax(): number {
    return this.#options.waitsForDisk && this.isWanted ? portionBytes : Number.POSITIVE_INFINITY;
  }

  /** Does work that commits by itself: its commits are not those of others. One call at a time. */
  async own<T>(work: () => Promise<T>): Promise<T> {
    const wasWanted = this.isWanted;
    this.#before = wasWanted;
    try {
      return await work();
    } finally {
      this.#before = undefined;
      this.#commits = this.#options.log.counters.count;
      if (wasWanted) this.#seenMs = this.#options.clock.monotonic();
    }
  }

  /** Gives the thread back, and waits a little for a commit under way. */
  async turn({ isAwaited }: Restful): Promise<void> {
    const { clock, log } = this.#options;
    await clock.turn();
    if (!this.isWanted) return;
    for (let step = 0; step < stepsMax && log.isWaitedFor; step++)
      await clock.sleep(stepMs, undefined, isAwaited);
  }

  /** Syncs `bytes` of an output, and notes how long the disk is left alone behind it. */
  async sync<T>(bytes: number, work: () => Promise<T>): Promise<T> {
    const { clock, waitsForDisk, storedBytes } = this.#options;
    const began = clock.monotonic();
    const result = await work();
    const now = clock.monotonic();
    const restMs = Math.min(this.#keepUpMs(bytes, now), (now - began) * (diskParts - 1));
    this.#syncedMs = now;
    this.#syncedStored = storedBytes();
    if (waitsForDisk && bytes >= restBytesMin) this.#restUntil = now + restMs;
    return result;
  }

  /** How long it may rest and still go twice as fast as others store. */
  #keepUpMs(bytes: number, now: number): number {
    const stored = this.#options.storedBytes() - this.#syncedStored;
    if (stored <= 0) return restMsMax;
    const worked = now - Math.max(this.#restUntil, this.#syncedMs);
    const turnMs = (bytes / (2 * stored)) * (now - this.#syncedMs);
    return Math.max(0, Math.min(restMsMax, turnMs - worked));
  }

  /** Waits as long as the disk is to be left to others. */
  async rest({ isAwaited, cancelled }: Restful): Promise<void> {
    const { clock } = this.#options;
    for (;;) {
      const left = this.#restUntil - clock.monotonic();
      if (left <= 0 || !this.isWanted || cancelled()) return;
      await clock.sleep(Math.min(left, lookMs), undefined, isAwaited);
    }
  }
}
