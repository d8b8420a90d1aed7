/**
 * Packs on their way into a vault: chunks are collected, full packs are put, and read back, while the next
 * one fills.
 *
 * Memory: two packs, the one that fills and one under way (two where the target is not local), whose buffers
 * are used again, by the next run too; `ownRowsMax` rows.
 *
 * Invariants (test/backup/vault-crash.test.ts)
 * - `finish` resolves only when every pack is durable in the vault; the first failure is thrown by the next
 *   call ("a backup leaves older ones whole, and the next run succeeds").
 * - No more packs than that are under way, and one that does not come back as it was put is an error
 *   (test/backup/upload.test.ts).
 */
import { VarveError } from '../base/errors.ts';
import { type ChunkFrame, frameBytes } from '../format/chunk-frame.ts';
import { trailerEntry } from '../format/segment.ts';
import { packName } from '../format/vault-names.ts';
import type { HashThreads } from '../pool/id-checker.ts';
import { newPackMemory, type Pack, PackBuilder } from './pack-builder.ts';
import { givePackMemory, takePackMemory } from './pack-memory.ts';
import { PackProof } from './pack-proof.ts';
import { isGivenBack, notGivenBack } from './read-back.ts';
import { throwIfAborted } from './throttle.ts';
import type { VaultIndex } from './vault-index.ts';
import type { PackState, VaultEnv } from './vault-state.ts';

/** Packs under way: put and read back. A target far away answers late, and is given two at once. */
const underWayMax = { local: 1, remote: 2 } as const;
/** Chunks of a run that are kept in memory before an index object has them. */
const ownRowsMax: number = 256 * 1024;

export interface UploadOptions {
  /** Bytes a pack is full from. */
  readonly packBytes: number;
  /** Holds every chunk against its id, and reads every pack back. */
  readonly prove: boolean;
  /** Bytes that are to come, about; 0: nobody knows. */
  readonly expected?: number;
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

/** A pack that fills. */
interface OpenPack {
  readonly builder: PackBuilder;
  readonly number: number;
  /** Threads hold its frames against their ids. */
  readonly proof: PackProof | undefined;
}

export class Upload {
  readonly #env: VaultEnv;
  readonly #packs: PackState[];
  readonly #index: VaultIndex;
  readonly #options: UploadOptions;
  readonly #underWayMax: number;
  #open: OpenPack | undefined;
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
    this.#underWayMax = env.store.caps.local === true ? underWayMax.local : underWayMax.remote;
  }

  /** Adds a chunk of raw bytes that the index does not have. A promise: wait before the next call. */
  addChunk(id: Uint8Array, bytes: Uint8Array, kind: number): void | Promise<void> {
    const open = this.#current();
    const { length } = bytes;
    const off8 = open.builder.addChunk(id, bytes, kind);
    this.#index.own.add(id, 0, open.number, off8, length, length, kind, 0);
    return this.#added(open, off8, length);
  }

  /** Adds the checked frame at buf[pos..]. */
  addFrame(buf: Uint8Array, pos: number, frame: ChunkFrame): void | Promise<void> {
    const open = this.#current();
    const off8 = open.builder.addFrame(buf, pos, frame);
    const { idAt, storedLen, rawLen, kind, codec } = frame;
    this.#index.own.add(buf, idAt, open.number, off8, storedLen, rawLen, kind, codec);
    return this.#added(open, off8, storedLen);
  }

  /** Whether frames must be held against their ids before they are added: nobody does it later. */
  get needsProof(): boolean {
    return this.#options.prove && this.#current().proof === undefined;
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
    for (const buffer of this.#buffers.splice(0)) givePackMemory(buffer, this.#env.clock);
  }

  /** Gives up the pack that fills. Idempotent. */
  release(): void {
    this.#open?.proof?.release();
    this.#open = undefined;
  }

  async #settled(): Promise<void> {
    await Promise.all(this.#putting);
    this.#rethrow();
  }

  #added({ builder, proof }: OpenPack, off8: number, storedLen: number): void | Promise<void> {
    this.chunks++;
    proof?.add(builder.filled, off8 * 8, storedLen);
    if (builder.full) return this.#close();
  }

  #current(): OpenPack {
    this.#rethrow();
    if (this.#open === undefined) {
      const { vaultId, random } = this.#env;
      const { packBytes } = this.#options;
      const { threads, dryRun, prove, expected = 0 } = this.#options;
      // Not for targets that may know nothing of such memory.
      const shared = prove && !dryRun && this.#env.store.caps.local === true && threads !== undefined;
      const memory = this.#buffers.pop() ?? this.#newMemory(shared);
      const proof =
        shared && threads.jobs.pays(Math.max(packBytes, expected - this.bytes))
          ? new PackProof(threads.jobs)
          : undefined;
      const builder = new PackBuilder(vaultId, random(12), packBytes, memory);
      const number = this.#packs.length;
      this.#packs.push({ hash: '', size: 0, frames: 0, pending: false, indexed: false });
      this.own.add(number);
      this.#open = { builder, number, proof };
    }
    return this.#open;
  }

  #newMemory(shared: boolean): Uint8Array {
    const { packBytes, dryRun } = this.#options;
    const kind = shared ? 'shared' : this.#env.store.caps.local === true ? 'any' : 'own';
    // The first one grows: most backups are small.
    return (
      (dryRun ? undefined : takePackMemory(packBytes, kind)) ??
      newPackMemory(packBytes, kind, this.files === 0)
    );
  }

  async #close(): Promise<void> {
    if (this.#open === undefined) return;
    const { builder, number, proof } = this.#open;
    this.#open = undefined;
    if (builder.frames === 0) {
      // What it was opened for could not be read.
      this.own.delete(number);
      return;
    }
    const pack = builder.finish();
    const { bytes, hash } = pack;
    Object.assign(this.#packs[number]!, { size: bytes.length, frames: builder.frames, hash });
    this.bytes += bytes.length;
    this.files++;
    const { dryRun, spill, threads, prove } = this.#options;
    if (dryRun) return;
    if (prove && proof === undefined) threads?.jobs.passed(bytes.length);
    if (this.#putting.size >= this.#underWayMax) await Promise.race(this.#putting);
    if (this.#failed !== undefined) await this.#settled();
    const putting: Promise<void> = this.#proved(pack, proof)
      .then(async () => {
        await this.#put(hash, bytes);
        if (this.#buffers.length < this.#underWayMax) this.#buffers.push(new Uint8Array(bytes.buffer));
        else givePackMemory(bytes, this.#env.clock);
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

  /** VARVE_IO when a chunk of the pack is not what its id says, and `wrongIds` is true then. */
  async #proved({ bytes }: Pack, proof: PackProof | undefined): Promise<void> {
    if (proof === undefined || (await proof.isWhole(bytes))) return;
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
