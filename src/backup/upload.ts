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
import { toHex } from '../base/bytes.ts';
import { VarveError } from '../base/errors.ts';
import { type ChunkFrame, frameBytes } from '../format/chunk-frame.ts';
import { trailerEntry } from '../format/segment.ts';
import { packName } from '../format/vault-names.ts';
import type { HashThreads } from '../pool/id-checker.ts';
import { newPackMemory, type Pack, PackBuilder, type UnnamedPack } from './pack-builder.ts';
import { provePack } from './pack-proof.ts';
import { isGivenBack, notGivenBack } from './read-back.ts';
import { throwIfAborted } from './throttle.ts';
import type { VaultIndex } from './vault-index.ts';
import type { PackState, VaultEnv } from './vault-state.ts';

/** Packs under way: one is put while the one before it is read back. */
const underWayMax = 2;
/** Chunks of a run that are kept in memory before an index object has them. */
const ownRowsMax: number = 256 * 1024;

export interface UploadOptions {
  /** Bytes a pack is full from. */
  readonly packBytes: number;
  /** Holds every chunk against its id, and reads every pack back. */
  readonly prove: boolean;
  /** Counts, and puts nothing. */
  readonly dryRun: boolean;
  /** Looked at before each pack is put. */
  readonly signal?: AbortSignal | undefined;
  readonly onBytes: (bytes: number) => void;
  /** To hash on; all on the calling thread without. */
  readonly threads?: HashThreads | undefined;
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
  /** Threads have found a chunk that is not what its id says: its pack was not put. */
  wrongIds = false;

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

  /** Whether frames must be held against their ids before they are added: nobody does it later. */
  get needsProof(): boolean {
    return this.#options.prove && this.#current().builder.hashes;
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
      const { threads, dryRun } = this.#options;
      // Not for targets that may know nothing of such memory.
      const shared = !dryRun && this.#env.store.caps.local === true && threads !== undefined;
      // The first one grows: most backups are small.
      const memory = this.#buffers.pop() ?? newPackMemory(packBytes, shared, this.files === 0);
      const hashes = !shared || !threads.jobs.pays(packBytes);
      const builder = new PackBuilder(vaultId, random(12), packBytes, memory, hashes);
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
    if (builder.frames === 0) {
      // What it was opened for could not be read.
      this.own.delete(number);
      return;
    }
    const finished = builder.hashes ? builder.finish() : builder.finishUnnamed();
    const { bytes } = finished;
    Object.assign(this.#packs[number]!, { size: bytes.length, frames: builder.frames });
    this.bytes += bytes.length;
    this.files++;
    const { dryRun, spill, threads } = this.#options;
    if (dryRun) return;
    if (builder.hashes) threads?.jobs.passed(bytes.length);
    if (this.#putting.size >= underWayMax) await Promise.race(this.#putting);
    if (this.#failed !== undefined) await this.#settled();
    const putting: Promise<void> = this.#named(finished)
      .then(async (hash) => {
        this.#packs[number]!.hash = hash;
        await this.#put(hash, bytes);
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

  /** The name of a pack; VARVE_IO when a chunk of it is not what its id says, and `wrongIds` is true then. */
  async #named(pack: Pack | UnnamedPack): Promise<string> {
    if ('hash' in pack) return pack.hash;
    const { name, isWhole } = await provePack(this.#options.threads!.jobs, pack, this.#options.prove);
    if (isWhole) return toHex(name);
    this.wrongIds = true;
    throw new VarveError('VARVE_IO', 'a chunk does not have the bytes its id names');
  }

  async #put(hash: string, bytes: Uint8Array): Promise<void> {
    const { store } = this.#env;
    const { prove, onBytes, signal } = this.#options;
    throwIfAborted(signal);
    await store.put(packName(hash), bytes);
    onBytes(bytes.length);
    if (!prove) return;
    // Every frame was checked when it was packed: equal bytes are right bytes. One that is gone was taken by
    // a prune, or lost: the look behind the puts finds that, and what was in it is uploaded again.
    const name = packName(hash);
    if ((await isGivenBack(store, name, bytes)) === false) throw notGivenBack(name);
  }

  #rethrow(): void {
    if (this.#failed !== undefined) throw this.#failed.error;
  }
}
