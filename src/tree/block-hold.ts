/**
 * The blocks one lookup or cursor move waits for and those it has loaded. A retried move finds here what it
 * loaded before, so that it ends whatever the cache evicts in between, even with a cache of no bytes.
 */
import type { FileNo } from '../base/brands.ts';
import { allEnded } from '../base/sync.ts';
import { MISS } from './cursor.ts';

/** A table as a source of blocks, or of pieces of its filter or index. */
export interface BlockSource<T = Uint8Array> {
  readonly no: FileNo;
  /** From the cache; undefined when it is not there. */
  cached(block: number): T | undefined;
  /**
   * Reads, checks and caches a block; `borrows`: for a reader, see BlockCache. VARVE_CORRUPT,
   * VARVE_FORMAT_VERSION, VARVE_IO.
   */
  loadBlock(block: number, borrows?: boolean): Promise<T>;
  loadBlockSync(block: number, borrows?: boolean): T;
  /** Keeps the file open until the matching `release`. */
  retain(): void;
  release(): void;
}

/** Blocks held for one move; bounded by a few per table. */
export class BlockHold {
  #wanted: { source: BlockSource<unknown>; block: number }[] = [];
  #sources: BlockSource<unknown>[] = [];
  #numbers: number[] = [];
  #blocks: unknown[] = [];
  readonly #borrows: boolean;

  /** `borrows`: what is loaded is for a reader, see BlockCache. */
  constructor(borrows = false) {
    this.#borrows = borrows;
  }

  /** The block if it was loaded for this move or is cached. */
  find(source: BlockSource, block: number): Uint8Array | undefined {
    return this.held(source, block) ?? source.cached(block);
  }

  /** The block if it was loaded for this move. */
  held<T>(source: BlockSource<T>, block: number): T | undefined {
    for (let i = 0; i < this.#blocks.length; i++) {
      // What a source has loaded is of its type.
      if (this.#numbers[i] === block && this.#sources[i] === source) return this.#blocks[i] as T;
    }
    return undefined;
  }

  /** Notes a block that `load` is to read; the caller answers MISS. */
  want(source: BlockSource<unknown>, block: number): typeof MISS {
    this.#wanted.push({ source, block });
    return MISS;
  }

  /** Reads every wanted block. Nothing is wanted any more, also when it rejects. */
  async load(): Promise<void> {
    const wanted = this.#take();
    for (const { source } of wanted) source.retain();
    const reads = wanted.map(async ({ source, block }) => {
      try {
        this.#keep(source, block, await source.loadBlock(block, this.#borrows));
      } finally {
        source.release();
      }
    });
    await allEnded(reads);
  }

  loadSync(): void {
    for (const { source, block } of this.#take())
      this.#keep(source, block, source.loadBlockSync(block, this.#borrows));
  }

  /** A new attempt starts: what an earlier one wanted, and nobody loaded, is wanted no more. */
  restart(): void {
    if (this.#wanted.length > 0) this.#wanted = [];
  }

  /** The move is over. */
  clear(): void {
    this.restart();
    if (this.#blocks.length === 0) return;
    this.#sources = [];
    this.#numbers = [];
    this.#blocks = [];
  }

  #take(): { source: BlockSource<unknown>; block: number }[] {
    const wanted = this.#wanted;
    this.#wanted = [];
    return wanted;
  }

  #keep(source: BlockSource<unknown>, block: number, bytes: unknown): void {
    this.#sources.push(source);
    this.#numbers.push(block);
    this.#blocks.push(bytes);
  }
}
