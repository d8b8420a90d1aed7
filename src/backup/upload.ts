/**
 * Packs on their way into a vault: chunks are collected, full packs are put, and read back, while the next
 * one fills.
 *
 * Memory: three packs, the one that fills and two under way, whose buffers are used again; `ownRowsMax` rows.
 *
 * Invariants (test/backup/vault-crash.test.ts)
 * - `finish` resolves only when every pack is durable in the vault; the first failure is thrown by the next
 *   call ("a backup leaves older ones whole, and the next run succeeds").
 * - No more than two packs are under way, and one that does not come back as it was put is an error
 *   (test/backup/upload.test.ts).
 */
import { equalBytes } from '../base/bytes.ts';
import { VarveError } from '../base/errors.ts';
import { MiB } from '../base/limits.ts';
import { type ChunkFrame, frameBytes } from '../format/chunk-frame.ts';
import { trailerEntry } from '../format/segment.ts';
import { packName } from '../format/vault-names.ts';
import { newPackMemory, PackBuilder } from './pack-builder.ts';
import type { Throttle } from './throttle.ts';
import type { VaultIndex } from './vault-index.ts';
import type { PackState, VaultEnv } from './vault-state.ts';

/** Packs under way: one is put while the one before it is read back. */
const underWayMax = 2;
/** Chunks of a run that are kept in memory before an index object has them. */
const ownRowsMax: number = 256 * 1024;
/** Bytes of one read when a pack is read back. */
const readBackBytes: number = 2 * MiB;

export interface UploadOptions {
  /** Bytes a pack is full from. */
  readonly packBytes: number;
  /** Reads every pack back and proves it. */
  readonly prove: boolean;
  /** Counts, and puts nothing. */
  readonly dryRun: boolean;
  readonly throttle: Throttle;
  readonly onBytes: (bytes: number) => void;
  /**
   * Puts index objects of the packs in `own`, and of others that are only in memory, in the place of that.
   */
  readonly spill?: (() => Promise<void>) | undefined;
}

export class Upload {
  readonly #env: VaultEnv;
  readonly #packs: PackState[];
  readonly #index: VaultIndex;
  readonly #options: UploadOptions;
  #open: { builder: PackBuilder; number: number } | undefined;
  readonly #putting = new Set<Promise<void>>();
  #failed: { error: unknown } | undefined;
  /** Memory of packs that were put, for those to come. */
  readonly #buffers: Uint8Array[] = [];
  /** Numbers of the packs of this run that no index object names yet. */
  readonly own = new Set<number>();
  chunks = 0;
  bytes = 0;
  files = 0;

  /** What is added goes to `index.own`, packs to `packs` (both borrowed). */
  constructor(env: VaultEnv, packs: PackState[], index: VaultIndex, options: UploadOptions) {
    this.#env = env;
    this.#packs = packs;
    this.#index = index;
    this.#options = options;
  }

  /** Adds a chunk of raw bytes that the index does not have. A promise: wait before the next call. */
  addChunk(id: Uint8Array, bytes: Uint8Array, kind: number): void | Promise<void> {
    const { builder, number } = this.#current();
    const off8 = builder.addChunk(id, bytes, kind);
    this.#index.own.add(id, 0, number, off8, bytes.length, bytes.length, kind, 0);
    this.chunks++;
    if (builder.full) return this.#close();
  }

  /** Adds the checked frame at buf[pos..]. */
  addFrame(buf: Uint8Array, pos: number, frame: ChunkFrame): void | Promise<void> {
    const { builder, number } = this.#current();
    const off8 = builder.addFrame(buf, pos, frame);
    const { idAt, storedLen, rawLen, kind, codec } = frame;
    this.#index.own.add(buf, idAt, number, off8, storedLen, rawLen, kind, codec);
    this.chunks++;
    if (builder.full) return this.#close();
  }

  /** A dry run: counts a chunk that would be added, without its bytes. */
  count(id: Uint8Array, rawLen: number, kind: number): void {
    this.#index.own.add(id, 0, 0, 0, rawLen, rawLen, kind, 0);
    this.chunks++;
    this.bytes += frameBytes(rawLen) + trailerEntry.size;
  }

  /** Puts what is open and waits for everything. */
  async finish(): Promise<void> {
    await this.#close();
    await this.#settled();
  }

  async #settled(): Promise<void> {
    await Promise.all(this.#putting);
    this.#rethrow();
  }

  #current(): { builder: PackBuilder; number: number } {
    this.#rethrow();
    if (this.#open === undefined) {
      const { vaultId, random } = this.#env;
      const { packBytes } = this.#options;
      // The first one grows: most backups are small.
      const memory = this.#buffers.pop() ?? (this.files === 0 ? undefined : newPackMemory(packBytes));
      const builder = new PackBuilder(vaultId, random(12), packBytes, memory);
      const number = this.#packs.length;
      this.#packs.push({ hash: '', size: 0, frames: 0, pending: false, indexed: false });
      this.own.add(number);
      this.#open = { builder, number };
    }
    return this.#open;
  }

  async #close(): Promise<void> {
    if (this.#open === undefined) return;
    const { builder, number } = this.#open;
    this.#open = undefined;
    const { hash, bytes, frames } = builder.finish();
    Object.assign(this.#packs[number]!, { hash, size: bytes.length, frames });
    this.bytes += bytes.length;
    this.files++;
    const { dryRun, spill } = this.#options;
    if (dryRun) return;
    if (this.#putting.size >= underWayMax) await Promise.race(this.#putting);
    if (this.#failed !== undefined) await this.#settled();
    const putting: Promise<void> = this.#put(hash, bytes)
      .then(() => {
        if (this.#buffers.length < underWayMax) this.#buffers.push(new Uint8Array(bytes.buffer));
      })
      .catch((error: unknown) => {
        this.#failed ??= { error };
      })
      .finally(() => this.#putting.delete(putting));
    this.#putting.add(putting);
    const { ownRows = ownRowsMax } = this.#env.bounds ?? {};
    if (spill === undefined || this.#index.own.count < ownRows) return;
    await this.#settled();
    await spill();
    this.own.clear();
  }

  async #put(hash: string, bytes: Uint8Array): Promise<void> {
    const { store } = this.#env;
    const { throttle, prove, onBytes } = this.#options;
    await throttle.take(bytes.length);
    await store.put(packName(hash), bytes);
    onBytes(bytes.length);
    if (!prove) return;
    // Every frame was checked when it was packed: equal bytes are right bytes.
    const name = packName(hash);
    if (await this.#isThere(name, bytes)) return;
    throw new VarveError('VARVE_IO', `${name}: the target does not give back what was put`, { file: name });
  }

  /**
   * Whether the target has these very bytes, which costs no hash; read in pieces: neither memory nor the
   * thread is held for a whole pack.
   */
  async #isThere(name: string, bytes: Uint8Array): Promise<boolean> {
    for (let from = 0; from < bytes.length; from += readBackBytes) {
      const length = Math.min(readBackBytes, bytes.length - from);
      const got = await this.#env.store.getRange(name, from, length);
      if (!isSame(got, bytes.subarray(from, from + length))) return false;
    }
    return true;
  }

  #rethrow(): void {
    if (this.#failed !== undefined) throw this.#failed.error;
  }
}

/** As equalBytes, four bytes at once where both lie so that this can be. */
function isSame(a: Uint8Array, b: Uint8Array): boolean {
  if (a.length !== b.length) return false;
  if (((a.byteOffset | b.byteOffset | a.length) & 3) !== 0) return equalBytes(a, b);
  const left = new Uint32Array(a.buffer, a.byteOffset, a.length / 4);
  const right = new Uint32Array(b.buffer, b.byteOffset, b.length / 4);
  for (let i = 0; i < left.length; i++) if (left[i] !== right[i]) return false;
  return true;
}
