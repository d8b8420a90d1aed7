/**
 * Names that share one file: told at import by the file's identity, at export by the name they were given.
 */
import type { BigIntStats } from 'node:fs';

/**
 * Names of files that have several, as an import meets them. Memory: the first name of each such file until
 * all of its names were met.
 */
export class SharedFiles {
  readonly #first = new Map<string, { readonly key: Uint8Array; left: bigint }>();
  /** Names met that are not the first of their file. */
  count = 0;

  /**
   * Key of the first name of this file, `key` (kept) where this is it; undefined for a file with one name.
   * Call it once for each name, in order.
   */
  firstKeyOf({ dev, ino, nlink }: BigIntStats, key: Uint8Array): Uint8Array | undefined {
    if (nlink < 2n) return undefined;
    const id = `${dev}:${ino}`;
    const known = this.#first.get(id);
    if (known === undefined) {
      this.#first.set(id, { key, left: nlink - 1n });
      return key;
    }
    this.count++;
    known.left--;
    if (known.left === 0n) this.#first.delete(id);
    return known.key;
  }
}

/** A file an export wrote, or is writing, that may be given further names. */
export interface WrittenFile {
  readonly path: Buffer;
  /** Of its content: a key that was put anew meanwhile is a file of its own. */
  readonly digest: string;
  /** Resolves with false when it could not be written. */
  readonly whole: Promise<boolean>;
}

/** Files of an export by the name their other names know them by. Memory: one entry for each such file. */
export class WrittenFiles {
  readonly #files = new Map<string, WrittenFile>();

  /** The file of this name and content. */
  find(name: Uint8Array, digest: string): WrittenFile | undefined {
    const file = this.#files.get(textOf(name));
    return file?.digest === digest ? file : undefined;
  }

  /** Remembers the file that was opened last under a name: one before it failed, or has other content. */
  set(name: Uint8Array, file: WrittenFile): void {
    this.#files.set(textOf(name), file);
  }
}

/** Any bytes as a key of a map. */
function textOf(name: Uint8Array): string {
  return Buffer.from(name.buffer, name.byteOffset, name.length).toString('latin1');
}
