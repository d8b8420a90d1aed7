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
import { Part, type PartRoom } from './part-room.ts';
import type { TableFile } from './table-file.ts';
import { TableParts } from './table-parts.ts';

const partBuckets = filterPartitionBytes / bucketBytes;
const trailerBytes = 16;
const sealedPartBytes = sealedBytes(filterPartitionBytes);

/** A piece: buckets from `number * partBuckets` on; without words it says "maybe" to everything. */
export class FilterPart extends Part {
  readonly words: FilterWords | undefined;

  constructor(owner: PagedFilter, number: number, words: FilterWords | undefined) {
    super(owner, number, words?.bytes ?? 0);
    this.words = words;
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
    if (part !== undefined) return has(part, bucket, bitsHash) ? OK : END;
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
    return part === undefined || has(part, bucket, bitsHash);
  }

  /** Reads the pieces that the budget has room for. */
  async loadAll(): Promise<void> {
    for (let number = 0; number < this.count; number++) {
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

function has(part: FilterPart, bucket: number, bitsHash: number): boolean {
  return part.words === undefined || part.words.has(bucket - part.number * partBuckets, bitsHash);
}
