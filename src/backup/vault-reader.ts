/**
 * Reads chunks of a vault by id, checked, through windows of packs: chunks that were stored together are read
 * together, and found in the window without a look into the index.
 *
 * Memory: `windowsMax` windows of `windowBytes`, or `aheadBytes` where packs are read from front to back,
 * used again and again.
 *
 * Invariants (test/backup/verify.test.ts)
 * - What is read has the bytes its id names, else it is VARVE_CORRUPT ("every flipped bit is found …").
 */
import { corrupt, isVarveError } from '../base/errors.ts';
import { KiB, MiB } from '../base/limits.ts';
import { ChunkFrame, frameBytes } from '../format/chunk-frame.ts';
import { chunkIdBytes } from '../format/chunk-ref.ts';
import { segmentFooter, trailerEntry } from '../format/segment.ts';
import { packName } from '../format/vault-names.ts';
import { readRange } from './blob-store.ts';
import { FrameWindow } from './frame-window.ts';
import { OpenPacks } from './open-packs.ts';
import { checkFrameId, checkFramePlace, readPackFrame } from './pack-reader.ts';
import { IndexHit, missingChunk, type VaultIndex } from './vault-index.ts';
import type { PackState, VaultEnv, VaultState } from './vault-state.ts';

const windowBytes: number = MiB;
/** Of one where the windows before it held nothing else that was asked for. */
const sparseBytes: number = 64 * KiB;
/** Of one that begins where another ended. */
const aheadBytes: number = 4 * MiB;
const windowsMax = 8;

/** A checked frame: bytes buf[pos .. frame.next); borrowed until the next read. */
export interface ReadFrame {
  readonly buf: Uint8Array;
  readonly pos: number;
  readonly frame: ChunkFrame;
}

/** A frame and where it was read. */
export interface PlacedFrame extends ReadFrame {
  /** Of the pack. */
  readonly file: string;
  readonly offset: number;
}

export class VaultReader {
  readonly index: VaultIndex;
  /** Asked where a chunk lies in no window: whoever else reads packs may have it, or read it soon. */
  near: ((id: Uint8Array, idAt: number) => Promise<PlacedFrame | undefined>) | undefined;
  readonly #env: VaultEnv;
  readonly #packs: readonly PackState[];
  /** Where packs stay open. */
  readonly #open: OpenPacks | undefined;
  /** Last used last. */
  readonly #windows: FrameWindow[] = [];
  #windowBytes: number = windowBytes;
  /** What was found in windows since the last one was read. */
  #found = 0;

  /** `state` is borrowed. With `keepsOpen` packs stay open until `close`, without only during a read. */
  constructor(
    env: VaultEnv,
    { packs, index }: Pick<VaultState, 'packs' | 'index'>,
    { keepsOpen = false }: { readonly keepsOpen?: boolean } = {},
  ) {
    this.#env = env;
    this.#packs = packs;
    this.#open = keepsOpen ? new OpenPacks(env.store) : undefined;
    this.index = index;
  }

  /** The bytes of a chunk, the caller's. VARVE_CORRUPT when it is missing or damaged. */
  async read(id: Uint8Array, idAt: number): Promise<Uint8Array> {
    const { buf, frame } = await this.readFrame(id, idAt);
    return buf.slice(frame.payloadFrom, frame.payloadTo);
  }

  /** As `read`, for a chunk whose neighbours are not wanted: nothing is read ahead. */
  async readAlone(id: Uint8Array): Promise<Uint8Array> {
    const hit = new IndexHit();
    if (!(await this.index.find(id, 0, hit))) throw missingChunk(id, 0);
    const frame = new ChunkFrame();
    const { hash } = this.#packs[hit.pack]!;
    try {
      const buf = await readPackFrame(this.#env.store, hash, hit.off8, hit.storedLen, id, frame);
      return buf.slice(frame.payloadFrom, frame.payloadTo);
    } catch (error) {
      if (!isVarveError(error, 'VARVE_CORRUPT', 'VARVE_NOT_FOUND')) throw error;
      // There may be another copy.
      return await this.read(id, 0);
    }
  }

  /** The whole frame of a chunk. Errors as `read`. */
  async readFrame(id: Uint8Array, idAt: number): Promise<ReadFrame> {
    try {
      const placed = await this.readUnproved(id, idAt);
      checkFrameId(placed.buf, placed.frame, placed.file, placed.offset);
      return placed;
    } catch (error) {
      if (!isVarveError(error, 'VARVE_CORRUPT')) throw error;
      return await this.readCopy(id.slice(idAt, idAt + chunkIdBytes), error);
    }
  }

  /**
   * As `readFrame`, but for the SHA-256 of the bytes: the caller computes it, and asks `readCopy` if wrong.
   */
  async readUnproved(id: Uint8Array, idAt: number): Promise<PlacedFrame> {
    const known = this.readNow(id, idAt) ?? (await this.near?.(id, idAt));
    if (known !== undefined) return known;
    const hit = await this.locate(id, idAt);
    const window = await this.#load(hit);
    return frameIn(window, hit.off8 * 8, id, idAt);
  }

  /** Where a chunk lies. VARVE_CORRUPT: in no pack. */
  async locate(id: Uint8Array, idAt: number): Promise<IndexHit> {
    const hit = new IndexHit();
    const answer = this.index.find(id, idAt, hit);
    if (!(typeof answer === 'boolean' ? answer : await answer)) throw missingChunk(id, idAt);
    return hit;
  }

  /** As `readUnproved` where the chunk is in a window; undefined where it must be read. */
  readNow(id: Uint8Array, idAt: number): PlacedFrame | undefined {
    for (let i = this.#windows.length - 1; i >= 0; i--) {
      const window = this.#windows[i]!;
      const offset = window.offsetOf(id, idAt);
      if (offset < 0) continue;
      this.#used(i);
      this.#found++;
      return frameIn(window, offset, id, idAt);
    }
    return undefined;
  }

  /** Another copy of a chunk, checked, where the one that is read first is not whole; else throws `error`. */
  async readCopy(id: Uint8Array, error: unknown): Promise<ReadFrame> {
    for (const hit of await this.index.copies(id)) {
      const { hash } = this.#packs[hit.pack]!;
      const frame = new ChunkFrame();
      try {
        const buf = await readPackFrame(this.#env.store, hash, hit.off8, hit.storedLen, id, frame);
        return { buf, pos: 0, frame };
      } catch (another) {
        if (!isVarveError(another, 'VARVE_CORRUPT', 'VARVE_NOT_FOUND', 'VARVE_FORMAT_VERSION')) throw another;
      }
    }
    throw error;
  }

  /**
   * What a window is to hold: nodes of lists lie far from each other, between chunks, of which a walk that
   * wants none would read all.
   */
  #nextBytes(): number {
    if (this.#found === 0) this.#windowBytes = Math.max(sparseBytes, this.#windowBytes / 2);
    else if (this.#found > 1) this.#windowBytes = Math.min(windowBytes, this.#windowBytes * 2);
    this.#found = 0;
    return this.#windowBytes;
  }

  #used(i: number): void {
    if (i === this.#windows.length - 1) return;
    const [window] = this.#windows.splice(i, 1);
    this.#windows.push(window!);
  }

  async #load({ pack, off8, storedLen }: IndexHit): Promise<FrameWindow> {
    const { hash, size } = this.#packs[pack]!;
    const offset = off8 * 8;
    const name = packName(hash);
    const ahead = this.#windows.some((one) => one.name === name && one.next === offset);
    const most = Math.min(ahead ? aheadBytes : this.#nextBytes(), size - offset);
    const length = Math.max(frameBytes(storedLen), most);
    const oldest = this.#windows.length === windowsMax ? this.#windows.shift() : undefined;
    // What is read ahead of is read whole: it may be the oldest no more.
    const memory =
      oldest !== undefined && oldest.memory.length >= length ? oldest.memory : new Uint8Array(length);
    const bytes = await this.#read(name, offset, memory.subarray(0, length));
    const window = new FrameWindow(name, offset, bytes, memory);
    this.#windows.push(window);
    return window;
  }

  /**
   * What lies in a pack from `hit` on, read into `memory` (taken), which threads may share: as much as fits.
   * VARVE_CORRUPT where the pack is gone; VARVE_IO and the like.
   */
  async readStretch(
    { pack, off8 }: Pick<IndexHit, 'pack' | 'off8'>,
    memory: Uint8Array,
  ): Promise<FrameWindow> {
    const { hash, size } = this.#packs[pack]!;
    const offset = off8 * 8;
    const name = packName(hash);
    const into = memory.subarray(0, Math.max(0, size - offset));
    // A target far away may know nothing of memory that is shared.
    const isOwn = this.#env.store.caps.local === true;
    const target = isOwn ? into : new Uint8Array(into.length);
    const read = await this.#read(name, offset, target);
    if (read.buffer !== into.buffer) into.set(read);
    return new FrameWindow(name, offset, into.subarray(0, read.length), memory);
  }

  /** Where the frames of a pack end, as far as its index tells. */
  endOf(pack: number): number {
    const { size, frames } = this.#packs[pack]!;
    return size - segmentFooter.size - frames * trailerEntry.size;
  }

  /** Closes packs that were kept open, once nothing is being read. It may be used again. */
  async close(): Promise<void> {
    await this.#open?.close();
  }

  /** What is read of a pack. VARVE_CORRUPT where it is gone. */
  async #read(name: string, offset: number, into: Uint8Array): Promise<Uint8Array> {
    try {
      if (this.#open !== undefined) return await this.#open.read(name, offset, into);
      return await readRange(this.#env.store, name, offset, into);
    } catch (error) {
      // A prune has taken it since the index was read, or somebody else has.
      if (isVarveError(error, 'VARVE_NOT_FOUND')) throw corrupt('pack is gone', { file: name, offset });
      throw error;
    }
  }
}

/** VARVE_CORRUPT where the frame is not whole or is of another chunk. */
function frameIn(window: FrameWindow, offset: number, id: Uint8Array, idAt: number): PlacedFrame {
  const { name: file, bytes: buf, from } = window;
  const pos = offset - from;
  const frame = new ChunkFrame();
  checkFramePlace(buf, pos, file, offset, frame, id, idAt);
  return { buf, pos, frame, file, offset };
}
