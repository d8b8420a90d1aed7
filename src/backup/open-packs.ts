/**
 * Packs that are read piece by piece, kept open from one piece to the next: a name that is looked up for each
 * costs as much as reading some 100 KiB.
 *
 * Invariants (test/backup/open-packs.test.ts)
 * - None is open after `close`, and at most `openMax` are before, unless more are read at the same time
 *   ("packs are opened once, few are kept, and none stays open").
 */
import { type BlobReader, type BlobStore, openBlob } from './blob-store.ts';

/** Packs that are kept open: as many as are read in turns, as a rule. */
const openMax = 8;

interface OpenPack {
  readonly name: string;
  readonly blob: Promise<BlobReader>;
  /** Reads under way. */
  reading: number;
}

export class OpenPacks {
  readonly #store: BlobStore;
  /** Used last last. */
  readonly #open: OpenPack[] = [];

  constructor(store: BlobStore) {
    this.#store = store;
  }

  /** As `readRange`. */
  async read(name: string, from: number, into: Uint8Array): Promise<Uint8Array> {
    const pack = this.#take(name);
    pack.reading++;
    try {
      const blob = await pack.blob;
      return await blob.read(from, into);
    } finally {
      pack.reading--;
      await this.#closeDown(openMax);
    }
  }

  /** Once no read is under way. It may be used again. */
  async close(): Promise<void> {
    await this.#closeDown(0);
  }

  #take(name: string): OpenPack {
    const at = this.#open.findIndex((one) => one.name === name);
    const pack = at < 0 ? this.#begin(name) : this.#open.splice(at, 1)[0]!;
    this.#open.push(pack);
    return pack;
  }

  #begin(name: string): OpenPack {
    const pack = { name, blob: openBlob(this.#store, name), reading: 0 };
    // Whoever reads hears of it; the next one tries again.
    pack.blob.catch(() => this.#open.splice(this.#open.indexOf(pack), 1));
    return pack;
  }

  /** Closes those that were used longest ago, and are not read now, until `kept` are left. */
  async #closeDown(kept: number): Promise<void> {
    while (this.#open.length > kept) {
      const at = this.#open.findIndex(({ reading }) => reading === 0);
      if (at < 0) return;
      const [pack] = this.#open.splice(at, 1);
      const blob = await pack!.blob;
      await blob.close();
    }
  }
}
