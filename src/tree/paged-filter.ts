/**
 * The filter of a table, in pieces of 64 KiB that are read when a lookup asks for one.
 *
 * A filter saves reads of blocks and is not needed for an answer: where the budget is full of pieces in use,
 * and where a piece is damaged, the answer is "maybe".
 *
 * Invariants (test/tree/table-parts.test.ts)
 * - What the table has is never denied ("lookups end and answer the same with any budget").
 * - Damage costs the piece it lies in, and is told once ("a flipped bit gives no wrong answer; in a filter it
 *   costs nothing and is told once").
 */
import { isDamage } from '../base/errors.ts';
import { filterPartitionBytes, sealedBytes, type TableProps } from '../format/table.ts';
import type { BlockHold } from './block-hold.ts';
import { bucketBytes, bucketOf, FilterWords, remix } from './bloom.ts';
import { END, OK, type Step } from './cursor.ts';
import type { MergeSlice } from './merge-slice.ts';
import { Part, type PartRoom } from './part-room.ts';
import type { PartSlot, PartSlots } from './part-slots.ts';
import type { TableFile } from './table-file.ts';
import { TableParts } from './table-parts.ts';

const partBuckets = filterPartitionBytes / bucketBytes;
const trailerBytes = 16;
const sealedPartBytes = sealedBytes(filterPartitionBytes);

/** A piece: buckets from `number * partBuckets` on; without words it says "maybe" to everything. */
export class FilterPart extends Part {
  #words: FilterWords | undefined;
  #slot: PartSlot | undefined;

  constructor(owner: PagedFilter, number: number, words: FilterWords | undefined) {
    super(owner, number, words?.bytes ?? 0);
    this.#words = words;
  }

  /** False when no key with this hash of its bits is in the bucket of the filter. */
  has(bucket: number, bitsHash: number): boolean {
    const words = this.#words;
    return words === undefined || words.has(bucket - this.number * partBuckets, bitsHash);
  }

  /** Moves to memory that is kept for pieces of its size. */
  settle(slots: PartSlots | undefined): void {
    if (slots === undefined || this.#words?.bytes !== slots.slotBytes) return;
    this.#slot = slots.take();
    this.#words = this.#words.movedTo(this.#slot.words);
  }

  /** Gives that memory back: whoever still has the piece hears maybe. */
  leave(slots: PartSlots | undefined): void {
    if (this.#slot === undefined || slots === undefined) return;
    this.#words = undefined;
    slots.give(this.#slot);
    this.#slot = undefined;
  }
}

export class PagedFilter extends TableParts<FilterPart> {
  readonly #buckets: number;
  /** Pieces that are damaged. */
  readonly #unusable = new Set<number>();

  constructor(file: TableFile, props: TableProps, room: PartRoom) {
    super(file, Math.ceil(props.filterBuckets / partBuckets), room);
    this.#buckets = props.filterBuckets;
  }

  /** END: no row has this hash. OK: maybe. MISS: `hold` wants the piece that tells. */
  ask(hash: number, hold: BlockHold): Step {
    return this.askPair(hash, remix(hash), hold);
  }

  /** `ask` by two independent hashes: of the bucket and of the bits. */
  askPair(bucketHash: number, bitsHash: number, hold: BlockHold): Step {
    if (this.#buckets === 0) return OK;
    const bucket = bucketOf(bucketHash, this.#buckets);
    const number = Math.floor(bucket / partBuckets);
    const part = this.cached(number) ?? hold.held(this, number);
    if (part !== undefined) return part.has(bucket, bitsHash) ? OK : END;
    // Where no room can be made a block is read instead, which is smaller.
    if (this.#unusable.has(number) || !this.room.offer(this.#bytesOf(number))) return OK;
    return hold.want(this, number);
  }

  /** What the pieces in memory say: false when no row has this hash. */
  mayContain(hash: number): boolean {
    return this.mayContainPair(hash, remix(hash));
  }

  mayContainPair(bucketHash: number, bitsHash: number): boolean {
    if (this.#buckets === 0) return true;
    const bucket = bucketOf(bucketHash, this.#buckets);
    const part = this.cached(Math.floor(bucket / partBuckets));
    return part === undefined || part.has(bucket, bitsHash);
  }

  /** Reads the pieces that the budget has room for. */
  async loadAll(slice?: MergeSlice): Promise<void> {
    for (let number = 0; number < this.count; number++) {
      if (slice?.isLate() === true) await slice.rest();
      if (this.cached(number) === undefined && this.room.offer(this.#bytesOf(number)))
        await this.loadBlock(number);
    }
  }

  protected async read(number: number): Promise<FilterPart> {
    const bytes = this.#bytesOf(number);
    try {
      return this.#made(number, await this.file.block(this.#offsetOf(number), bytes + trailerBytes));
    } catch (error) {
      return this.#without(number, error);
    }
  }

  protected readSync(number: number): FilterPart {
    const bytes = this.#bytesOf(number);
    try {
      return this.#made(number, this.file.blockSync(this.#offsetOf(number), bytes + trailerBytes));
    } catch (error) {
      return this.#without(number, error);
    }
  }

  protected makeRoom(part: FilterPart): boolean {
    return this.room.offer(part.bytes);
  }

  protected override settle(part: FilterPart): void {
    part.settle(this.room.slots);
  }

  protected override leave(part: FilterPart): void {
    part.leave(this.room.slots);
  }

  #made(number: number, raw: Uint8Array): FilterPart {
    return new FilterPart(this, number, FilterWords.from(raw));
  }

  #without(number: number, error: unknown): FilterPart {
    if (!isDamage(error)) throw error;
    if (!this.#unusable.has(number)) this.file.note(error);
    this.#unusable.add(number);
    return new FilterPart(this, number, undefined);
  }

  #bytesOf(number: number): number {
    return Math.min(filterPartitionBytes, this.#buckets * bucketBytes - number * filterPartitionBytes);
  }

  #offsetOf(number: number): number {
    return this.file.footer.filterOff + number * sealedPartBytes;
  }
}
