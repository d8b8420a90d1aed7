/**
 * Pieces of one table's filter or index: read when somebody needs one, kept as long as the budget has room.
 * A piece is a source of "blocks" to a BlockHold, so that a lookup waits for it as for a block of rows.
 *
 * Invariants (test/tree/table-parts.test.ts)
 * - A lookup that waits for a piece finds it, whatever the budget ("lookups end and answer the same with any
 *   budget").
 * - A piece that is let go, and that a lookup still has, is told before its memory serves another ("a piece
 *   dropped under a lookup says maybe").
 * - A closed table holds no memory ("a closed table gives its room back, also one whose
 *   open failed").
 */
import type { FileNo } from '../base/brands.ts';
import type { BlockHold, BlockSource } from './block-hold.ts';
import type { Part, PartOwner, PartRoom } from './part-room.ts';
import type { TableFile } from './table-file.ts';

export abstract class TableParts<T extends Part> implements BlockSource<T>, PartOwner {
  readonly no: FileNo;
  /** How many pieces there are. */
  readonly count: number;
  protected readonly file: TableFile;
  protected readonly room: PartRoom;
  readonly #parts: (T | undefined)[];
  #bytes = 0;

  protected constructor(file: TableFile, count: number, room: PartRoom) {
    this.no = file.no;
    this.file = file;
    this.count = count;
    this.room = room;
    this.#parts = new Array<T | undefined>(count).fill(undefined);
    file.onClose(() => this.#giveAll());
  }

  /** Bytes of memory that pieces take. */
  get bytes(): number {
    return this.#bytes;
  }

  /** A piece in memory, or one that `hold` has loaded; undefined, and wanted, when it must be read first. */
  part(number: number, hold: BlockHold): T | undefined {
    const part = this.#parts[number] ?? hold.held(this, number);
    if (part === undefined) hold.want(this, number);
    else part.isUsed = true;
    return part;
  }

  /** A piece that is in memory. */
  cached(number: number): T | undefined {
    const part = this.#parts[number];
    if (part !== undefined) part.isUsed = true;
    return part;
  }

  /** Reads, checks and keeps a piece. VARVE_CORRUPT, VARVE_FORMAT_VERSION, VARVE_IO. */
  async loadBlock(number: number): Promise<T> {
    return this.#keep(number, await this.read(number));
  }

  loadBlockSync(number: number): T {
    return this.#keep(number, this.readSync(number));
  }

  /** A piece from memory, or read and not kept. */
  async once(number: number): Promise<T> {
    return this.cached(number) ?? (await this.read(number));
  }

  onceSync(number: number): T {
    return this.cached(number) ?? this.readSync(number);
  }

  retain(): void {
    this.file.retain();
  }

  release(): void {
    this.file.release();
  }

  dropped(number: number): void {
    const part = this.#parts[number];
    if (part === undefined) return;
    this.#parts[number] = undefined;
    this.#bytes -= part.bytes;
    this.leave?.(part);
  }

  protected abstract read(number: number): Promise<T>;
  protected abstract readSync(number: number): T;
  /** Makes room for a piece that was read; false: it serves this once. */
  protected abstract makeRoom(part: T): boolean;
  /** The piece is kept from now on. */
  protected settle?(part: T): void;
  /** It is kept no more. */
  protected leave?(part: T): void;

  #keep(number: number, part: T): T {
    const other = this.#parts[number];
    if (other !== undefined) return other;
    if (!this.file.held || !this.makeRoom(part) || !this.room.hold(part)) return part;
    this.#parts[number] = part;
    this.#bytes += part.bytes;
    this.settle?.(part);
    return part;
  }

  #giveAll(): void {
    for (const part of this.#parts) {
      if (part === undefined) continue;
      this.room.give(part);
      this.leave?.(part);
    }
    this.#parts.fill(undefined);
    this.#bytes = 0;
  }
}
