/**
 * A store of objects into which a run puts no more than so many bytes a second. What is large goes in pieces,
 * each when its turn has come, so a run that is less than one pack keeps to the bound as well; what is small
 * is counted and does not wait: a lock or a manifest is not held up behind packs.
 *
 * Invariants (test/backup/paced-blobs.test.ts)
 * - At any moment no more was sent than the bound allows, but for one piece of each put under way and for
 *   what is small ("no moment is ahead of the bound").
 * - An object has the same bytes as without ("objects are what they were").
 */
import { KiB, MiB } from '../base/limits.ts';
import { type BlobCaps, type BlobData, type BlobEntry, type BlobStore, piecesOf } from './blob-store.ts';
import { Throttle } from './throttle.ts';
import type { VaultEnv } from './vault-state.ts';

/** Objects up to so many bytes are put at once. */
const smallBytes = 64 * KiB;
/** A piece is what may go in this part of a second. */
const piecesPerSecond = 16;

/** What a run may send, and what ends it. */
export interface Pace {
  readonly bytesPerSecond?: number | undefined;
  readonly signal?: AbortSignal | undefined;
}

/** The vault as a run sees it that keeps to a pace; the same where it has none. */
export function pacedEnv(env: VaultEnv, { bytesPerSecond, signal }: Pace): VaultEnv {
  if (bytesPerSecond === undefined) return env;
  const throttle = new Throttle(env.clock, bytesPerSecond, signal);
  const pieceBytes = Math.max(4 * KiB, Math.min(MiB, Math.floor(bytesPerSecond / piecesPerSecond)));
  return { ...env, store: new PacedBlobs(env.store, throttle, pieceBytes) };
}

class PacedBlobs implements BlobStore {
  readonly root: string;
  readonly caps: BlobCaps;
  readonly readInto?: NonNullable<BlobStore['readInto']>;
  readonly open?: NonNullable<BlobStore['open']>;
  readonly #store: BlobStore;
  readonly #throttle: Throttle;
  readonly #pieceBytes: number;

  constructor(store: BlobStore, throttle: Throttle, pieceBytes: number) {
    this.root = store.root;
    this.caps = store.caps;
    this.#store = store;
    this.#throttle = throttle;
    this.#pieceBytes = pieceBytes;
    const { readInto, open } = store;
    if (readInto !== undefined) this.readInto = (name, from, into) => readInto.call(store, name, from, into);
    if (open !== undefined) this.open = (name) => open.call(store, name);
  }

  put(name: string, data: BlobData, options?: { readonly ifAbsent?: boolean }): Promise<boolean> {
    if (!(data instanceof Uint8Array && data.length <= smallBytes))
      return this.#store.put(name, this.#paced(data), options);
    this.#throttle.charge(data.length);
    return this.#store.put(name, data, options);
  }

  async *#paced(data: BlobData): AsyncGenerator<Uint8Array> {
    for await (const bytes of piecesOf(data)) {
      for (let at = 0; at < bytes.length; at += this.#pieceBytes) {
        const piece = bytes.subarray(at, at + this.#pieceBytes);
        await this.#throttle.take(piece.length);
        yield piece;
      }
    }
  }

  get(name: string, bytesMax: number): Promise<Uint8Array> {
    return this.#store.get(name, bytesMax);
  }

  getRange(name: string, from: number, length: number): Promise<Uint8Array> {
    return this.#store.getRange(name, from, length);
  }

  size(name: string): Promise<number | undefined> {
    return this.#store.size(name);
  }

  delete(name: string): Promise<boolean> {
    return this.#store.delete(name);
  }

  list(prefix: string): AsyncIterable<BlobEntry> {
    return this.#store.list(prefix);
  }
}
