/** Objects in memory: for tests and for vaults that live as long as the process. */
import { concatBytes } from '../base/bytes.ts';
import { corrupt } from '../base/errors.ts';
import {
  type BlobCaps,
  type BlobData,
  type BlobEntry,
  type BlobStore,
  checkBlobName,
  checkBlobPrefix,
  noSuchBlob,
  piecesOf,
} from './blob-store.ts';

export class MemoryBlobs implements BlobStore {
  readonly root: string = 'memory';
  readonly caps: BlobCaps = { conditionalPut: true, local: true };
  readonly #objects: Map<string, Uint8Array>;

  /** `objects` (copied): what is there from the start. */
  constructor(objects: Iterable<readonly [string, Uint8Array]> = []) {
    this.#objects = new Map(Array.from(objects, ([name, bytes]) => [name, bytes.slice()]));
  }

  /** An independent copy of everything. */
  fork(): MemoryBlobs {
    return new MemoryBlobs(this.#objects);
  }

  /** Names with their bytes, which are borrowed. */
  entries(): Iterable<readonly [string, Uint8Array]> {
    return this.#objects.entries();
  }

  /** Every name, sorted. */
  names(): string[] {
    return [...this.#objects.keys()].sort();
  }

  async put(name: string, data: BlobData, options: { readonly ifAbsent?: boolean } = {}): Promise<boolean> {
    checkBlobName(name);
    const pieces: Uint8Array[] = [];
    for await (const piece of piecesOf(data)) pieces.push(piece.slice());
    if (options.ifAbsent === true && this.#objects.has(name)) return false;
    this.#objects.set(name, concatBytes(pieces));
    return true;
  }

  async get(name: string, bytesMax: number): Promise<Uint8Array> {
    const bytes = this.#find(name);
    if (bytes.length > bytesMax)
      throw corrupt('object is longer than it may be', { file: name }, bytesMax, bytes.length);
    return bytes.slice();
  }

  async getRange(name: string, from: number, length: number): Promise<Uint8Array> {
    return this.#find(name).slice(from, from + length);
  }

  async size(name: string): Promise<number | undefined> {
    checkBlobName(name);
    return this.#objects.get(name)?.length;
  }

  async delete(name: string): Promise<boolean> {
    checkBlobName(name);
    return this.#objects.delete(name);
  }

  async *list(prefix: string): AsyncGenerator<BlobEntry> {
    checkBlobPrefix(prefix);
    for (const name of this.names()) {
      const bytes = this.#objects.get(name);
      if (bytes !== undefined && name.startsWith(prefix)) yield { name, size: bytes.length };
    }
  }

  #find(name: string): Uint8Array {
    checkBlobName(name);
    const bytes = this.#objects.get(name);
    if (bytes === undefined) throw noSuchBlob(name);
    return bytes;
  }
}
