/**
 * Unlinks segments nothing needs any more, one after another and beside other work. On some disks the call
 * waits until the room is given back (ext4 with `discard` and no journal: a tenth of a second for 64 MiB),
 * and no sync of a log ends meanwhile. So whoever cleans goes on, and while others commit there is a rest
 * behind each file.
 *
 * Invariants (test/engine/removals.test.ts)
 * - What was added is gone when `done` resolves ("files go beside other work, and done waits for them").
 * - A file that cannot be unlinked holds nobody up: it is told, and the next open removes it ("a file that
 *   stays is told, and the others go").
 */
import type { Clock } from '../../base/clock.ts';
import type { NumberedFile } from '../../format/catalog.ts';

/** Unlinked behind each other before their directories are synced. */
const filesAtOnce = 8;
/** Part of the time that is spent unlinking while others commit: one in so many. */
const restParts = 8;
/** Longest rest, and how often is looked whether somebody is in a hurry, ms. */
const restMsMax = 1000;
const lookMs = 50;

export interface RemovalsOptions {
  readonly clock: Clock;
  /** Others commit, who wait for the disk. */
  readonly othersCommit: () => boolean;
  /**
   * Removes files and syncs their directories, each unlinked by `around`; tells failures, and never rejects.
   */
  readonly remove: (files: readonly NumberedFile[], around: AroundUnlink) => Promise<void>;
}

/** Does one unlink, and what else belongs to it. */
export type AroundUnlink = (unlink: () => Promise<void>) => Promise<void>;

export class Removals {
  readonly #options: RemovalsOptions;
  #waiting: NumberedFile[] = [];
  #running: Promise<void> | undefined;
  #isUrgent = false;

  constructor(options: RemovalsOptions) {
    this.#options = options;
  }

  /** Removes `files` in the background; readers and catalogs are done with them. */
  add(files: readonly NumberedFile[]): void {
    this.#waiting.push(...files);
    if (this.#waiting.length === 0) return;
    this.#running ??= this.#run().finally(() => {
      this.#running = undefined;
    });
  }

  /** Resolves when all that was added is gone, or told; never rejects. */
  async done(): Promise<void> {
    while (this.#running !== undefined) await this.#running;
  }

  /** `done` without rests, for a store that is closed. */
  async end(): Promise<void> {
    this.#isUrgent = true;
    await this.done();
  }

  async #run(): Promise<void> {
    while (this.#waiting.length > 0) {
      const files = this.#waiting.splice(0, filesAtOnce);
      await this.#options.remove(files, (unlink) => this.#unlink(unlink));
    }
  }

  async #unlink(unlink: () => Promise<void>): Promise<void> {
    const { clock, othersCommit } = this.#options;
    const began = clock.monotonic();
    await unlink();
    const now = clock.monotonic();
    if (!othersCommit()) return;
    const until = now + Math.min(restMsMax, (now - began) * (restParts - 1));
    for (let left = until - now; left > 0 && !this.#isUrgent; left = until - clock.monotonic())
      await clock.sleep(Math.min(left, lookMs), undefined, true);
  }
}
