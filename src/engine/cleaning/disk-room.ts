/**
 * Room on the disk: below a floor no new value is taken, so that what was taken can still be made durable and
 * deleting and compacting go on.
 *
 * The disk is asked seldom: after half of what was free above the floor has been written, and at every
 * checkpoint. What others write meanwhile is found then; a disk that fills up in between refuses a write.
 *
 * Invariants (test/engine/disk-room.test.ts)
 * - Puts are refused below the floor and taken again above it; deletes always are ("below the floor puts are
 *   refused and deletes go on").
 */
import type { Clock } from '../../base/clock.ts';
import { VarveError } from '../../base/errors.ts';
import { MiB } from '../../base/limits.ts';
import type { FsPort } from '../../fs/port.ts';
import type { Logger } from '../options.ts';

/** Bytes written before the disk is asked for the first time. */
const firstLookBytes = MiB;
/** Shortest time over which a rate is taken, ms. */
const rateMsMin = 1000;

export interface DiskRoomOptions {
  readonly fs: FsPort;
  readonly logger: Logger;
  readonly clock: Pick<Clock, 'monotonic'>;
  /** Bytes written to the log and to segments since the store was opened. */
  readonly written: () => number;
  /** Free bytes below which no value is taken. */
  readonly floor: () => number;
}

export class DiskRoom {
  readonly #options: DiskRoomOptions;
  #lookAt = firstLookBytes;
  #looking: Promise<void> | undefined;
  #free: number | undefined;
  /** As of the last look. */
  #floor = 0;
  /** When that was, monotonic ms, and how fast room went since the one before, bytes/ms. */
  #lookedMs = 0;
  #lookedFree: number | undefined;
  #rate = 0;

  constructor(options: DiskRoomOptions) {
    this.#options = options;
  }

  /** Free bytes when the disk was last asked; undefined: never, or it does not tell. */
  get free(): number | undefined {
    return this.#free;
  }

  /** Free bytes below which no value is taken, by then. */
  get floor(): number {
    return this.#floor;
  }

  /** Until the floor is reached, at the rate of the last looks; undefined where room does not shrink. */
  get secondsToFull(): number | undefined {
    if (this.#free === undefined || this.#rate <= 0) return undefined;
    return Math.max(0, (this.#free - this.#floor) / this.#rate) / 1000;
  }

  /** No value is to be taken without `admit`. Now and then has the disk asked, in the background. */
  get isLow(): boolean {
    if (this.#options.written() >= this.#lookAt) this.#lookSoon();
    return this.#isBelow();
  }

  /** Asks the disk, where it was low; VARVE_NO_SPACE when it still is. */
  async admit(): Promise<void> {
    if (!this.isLow) return;
    await this.look();
    if (!this.#isBelow()) return;
    const floor = this.#floor;
    throw new VarveError(
      'VARVE_NO_SPACE',
      `${this.#free} bytes are free on the disk, and ${floor} are kept free for deleting and compacting`,
      { expected: floor, actual: this.#free },
    );
  }

  /** Asks the disk now; one that cannot tell changes nothing. */
  look(): Promise<void> {
    this.#looking ??= this.#look().finally(() => {
      this.#looking = undefined;
    });
    return this.#looking;
  }

  #isBelow(): boolean {
    return this.#free !== undefined && this.#free < this.#floor;
  }

  #lookSoon(): void {
    // `look` never rejects.
    void this.look();
  }

  async #look(): Promise<void> {
    const { fs, logger, floor, written } = this.#options;
    try {
      const before = this.#free;
      this.#free = await fs.free();
      this.#noteRate(before);
      this.#floor = floor();
    } catch (error) {
      logger.debug?.('free space is not known', { error });
    }
    const above = this.#free === undefined ? Number.POSITIVE_INFINITY : this.#free - this.#floor;
    this.#lookAt = written() + Math.max(firstLookBytes / 16, above / 2);
  }

  /** Looks close to each other say little: they are told together with the next one. */
  #noteRate(before: number | undefined): void {
    const now = this.#options.clock.monotonic();
    const passed = now - this.#lookedMs;
    if (before !== undefined && this.#free !== undefined && passed < rateMsMin) return;
    if (this.#lookedFree !== undefined && this.#free !== undefined) {
      const rate = (this.#lookedFree - this.#free) / passed;
      this.#rate = this.#rate === 0 ? rate : (this.#rate + rate) / 2;
    }
    this.#lookedMs = now;
    this.#lookedFree = this.#free;
  }
}
