/**
 * Where a vault keeps its objects: a small port that a directory, an object store or a server can stand
 * behind. `checkBlobStore` ([blob-check.ts]) is the test every implementation must pass.
 *
 * Names are plain ASCII with '/' between parts: letters, digits, '.', '-' and '_'; no part is '.' or '..'.
 * Objects are immutable: nothing but `delete` and a `put` without `ifAbsent` ever changes one.
 */
import { invalid, VarveError } from '../base/errors.ts';

/** What an implementation can do. */
export interface BlobCaps {
  /**
   * `put` with `ifAbsent` is atomic among all writers. Without it a vault may have one writer only, and only
   * that one removes what an interrupted run of it left.
   */
  readonly conditionalPut: boolean;
  /**
   * Objects that were put, and deletions, are seen by others within moments: no grace is needed. Without it
   * others may see them late, each after a time of its own, as long as that is less than the grace of prunes
   * (24 hours); whoever made them sees them at once.
   */
  readonly local?: boolean;
}

/** An object in a listing. */
export interface BlobEntry {
  readonly name: string;
  /** Bytes. */
  readonly size: number;
}

/** What may be stored: whole, or in pieces as they are made. Borrowed until the call settles. */
export type BlobData = Uint8Array | AsyncIterable<Uint8Array>;

/**
 * A store of named objects. Errors: VARVE_NOT_FOUND where there is no such object, VARVE_INVALID_ARGUMENT for
 * a name that cannot be one (`checkBlobName` and `checkBlobPrefix` throw it), VARVE_IO and VARVE_NO_SPACE for
 * everything the target refuses. Calls may run side by side.
 */
export interface BlobStore {
  /** For messages: directory, bucket or address. */
  readonly root: string;
  readonly caps: BlobCaps;
  /**
   * Stores an object; when it resolves the object is durable and whole, and every later call sees it, those
   * of other processes as `caps.local` says. Before, and after a failure, the name has what it had or the
   * whole of the new bytes, never a part. With `ifAbsent` false tells that the name was taken and is left as
   * it was.
   */
  put(name: string, data: BlobData, options?: { readonly ifAbsent?: boolean }): Promise<boolean>;
  /** All bytes of an object of at most `bytesMax` bytes, the caller's. VARVE_CORRUPT when it is longer. */
  get(name: string, bytesMax: number): Promise<Uint8Array>;
  /** Bytes from .. from + length - 1, the caller's; fewer only where the object ends. */
  getRange(name: string, from: number, length: number): Promise<Uint8Array>;
  /**
   * As `getRange`, into memory of the caller (any bytes behind what is read are left as they are): resolves
   * with the bytes read. Optional: it saves memory where much is read.
   */
  readInto?(name: string, from: number, into: Uint8Array): Promise<number>;
  /**
   * An object to be read piece by piece, whatever becomes of its name meanwhile. Optional: it saves looking
   * the name up for each piece.
   */
  open?(name: string): Promise<OpenBlob>;
  /** Bytes of an object; undefined where there is none. */
  size(name: string): Promise<number | undefined>;
  /** False where there was none. Durable when it resolves. */
  delete(name: string): Promise<boolean>;
  /** Objects whose name begins with `prefix` (which ends with '/' or is empty), in any order. */
  list(prefix: string): AsyncIterable<BlobEntry>;
}

/** An object that is being read. */
export interface OpenBlob {
  /** As `readInto` of the store. */
  readInto(from: number, into: Uint8Array): Promise<number>;
  /**
   * As `readInto`, from where the object is kept and not from memory on the way, as far as the target can
   * tell: for what was just put. Optional.
   */
  readBack?(from: number, into: Uint8Array): Promise<number>;
  /** Once, after the last read has settled. */
  close(): Promise<void>;
}

const namePattern = /^[A-Za-z0-9._-]+(\/[A-Za-z0-9._-]+)*$/;

/** VARVE_INVALID_ARGUMENT unless `name` can be the name of an object. */
export function checkBlobName(name: string): void {
  const plain = namePattern.test(name) && name.split('/').every((part) => part !== '.' && part !== '..');
  if (!plain || name.length > 500) throw invalid(`${JSON.stringify(name)} is no name of an object`);
}

/** VARVE_INVALID_ARGUMENT unless `prefix` is empty or a name with a '/' behind it. */
export function checkBlobPrefix(prefix: string): void {
  if (prefix === '') return;
  if (!prefix.endsWith('/')) throw invalid(`${JSON.stringify(prefix)} is no prefix: it must end with '/'`);
  checkBlobName(prefix.slice(0, -1));
}

/** VARVE_NOT_FOUND for an object. */
export function noSuchBlob(name: string): VarveError {
  return new VarveError('VARVE_NOT_FOUND', `${name}: no such object`, { file: name });
}

/** `readInto` of any store: the bytes that were read, in `into` where that is possible. */
export async function readRange(
  store: BlobStore,
  name: string,
  from: number,
  into: Uint8Array,
): Promise<Uint8Array> {
  if (store.readInto === undefined) return await store.getRange(name, from, into.length);
  return into.subarray(0, await store.readInto(name, from, into));
}

/** `open` of any store. VARVE_NOT_FOUND: where there is no such object, if not now then by the first read. */
export async function openBlob(store: BlobStore, name: string): Promise<BlobReader> {
  return new BlobReader(store, name, await store.open?.(name));
}

/** Reads an object piece by piece. */
export class BlobReader {
  readonly name: string;
  readonly #store: BlobStore;
  readonly #open: OpenBlob | undefined;

  constructor(store: BlobStore, name: string, open: OpenBlob | undefined) {
    this.#store = store;
    this.name = name;
    this.#open = open;
  }

  /** As `readRange`. */
  async read(from: number, into: Uint8Array): Promise<Uint8Array> {
    if (this.#open === undefined) return await readRange(this.#store, this.name, from, into);
    return into.subarray(0, await this.#open.readInto(from, into));
  }

  /** As `read`, from where the object is kept where the target can tell. */
  async readBack(from: number, into: Uint8Array): Promise<Uint8Array> {
    if (this.#open?.readBack === undefined) return await this.read(from, into);
    return into.subarray(0, await this.#open.readBack(from, into));
  }

  /** Once, after the last read has settled. */
  async close(): Promise<void> {
    await this.#open?.close();
  }
}

/** The pieces of `data`, one after another. */
export async function* piecesOf(data: BlobData): AsyncGenerator<Uint8Array> {
  if (data instanceof Uint8Array) yield data;
  else yield* data;
}
