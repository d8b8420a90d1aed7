/**
 * Writes one segment. Appending is synchronous: the payload is copied once, behind the space for its header
 * in a write buffer, header and checksum are made in place, and the frame's position is fixed at once.
 *
 * Invariants (test/segment/segment-writer.test.ts):
 * - frames follow each other without a hole, in memory and in the file: "a crash at any operation keeps every
 *   frame below a resolved sync";
 * - a frame is readable from its buffer until the file has it: "frames are readable before and after they
 *   reach the file";
 * - a failed write or sync is never retried: "a failed write or sync poisons the writer for ever".
 */
import { assert } from '../base/assert.ts';
import type { FileNo } from '../base/brands.ts';
import { invalid } from '../base/errors.ts';
import { MiB, segmentBytesMax } from '../base/limits.ts';
import { copyShared } from '../base/shared-copy.ts';
import { FileSeed } from '../codec/checksum.ts';
import {
  ChunkFrame,
  checkChunkFrame,
  chunkFrame,
  chunkPayloadBytesMax,
  encodeChunkFrame,
  frameBytes,
} from '../format/chunk-frame.ts';
import { encodeFileHeader } from '../format/file-header.ts';
import { fileDir, filePath } from '../format/file-names.ts';
import {
  type SealedSegment,
  sealedSegmentBytes,
  segmentDataFrom,
  type Trailer,
  TrailerBuilder,
} from '../format/segment.ts';
import { createFile } from '../fs/dirs.ts';
import type { FsFile, FsPort } from '../fs/port.ts';
import { WriteBehind } from './write-behind.ts';
import type { DirectBuffers } from './write-buffer.ts';

/** Bytes of one write buffer. */
export const segmentBufferBytes: number = MiB;
const bufferBytesMin = 128;
const bufferBytesMax = 64 * MiB;

export interface SegmentWriterOptions {
  readonly no: FileNo;
  /** Stream class, see `streamClasses`. */
  readonly class: number;
  readonly dbUuid: Uint8Array;
  /** 12 random bytes. */
  readonly salt: Uint8Array;
  /** Bytes of one write buffer, a multiple of 8 from 128 to 64 MiB; `segmentBufferBytes` when not given. */
  readonly bufferBytes?: number;
  /** Syncs in the background after so many bytes; never by itself when not given. */
  readonly syncAheadBytes?: number | undefined;
  /** Memory for what `expectBulk` announces; nothing is written directly when not given. */
  readonly direct?: DirectBuffers | undefined;
}

export class SegmentWriter {
  readonly no: FileNo;
  readonly class: number;
  /** Relative to the store directory. */
  readonly path: string;
  readonly #file: FsFile;
  readonly #out: WriteBehind;
  readonly #seed: FileSeed;
  readonly #trailer = new TrailerBuilder();
  readonly #scratch = new ChunkFrame();
  #sealing: Promise<SealedSegment> | undefined;
  #closing: Promise<void> | undefined;

  private constructor(file: FsFile, options: SegmentWriterOptions, bufferBytes: number) {
    this.no = options.no;
    this.class = options.class;
    this.path = filePath('seg', options.no);
    this.#file = file;
    this.#out = new WriteBehind(file, segmentDataFrom, bufferBytes, options.syncAheadBytes, options.direct);
    this.#seed = new FileSeed(options.salt);
  }

  /**
   * Makes the file and writes its header. The name, with every directory above it, is durable when it
   * resolves; the header is with the first `sync`. VARVE_INVALID_ARGUMENT, VARVE_IO (errno EEXIST where the
   * number is taken), VARVE_NO_SPACE; after a rejection a file without frames may be left.
   */
  static async create(fs: FsPort, options: SegmentWriterOptions): Promise<SegmentWriter> {
    const bufferBytes = options.bufferBytes ?? segmentBufferBytes;
    if (bufferBytes % 8 !== 0 || !(bufferBytes >= bufferBytesMin && bufferBytes <= bufferBytesMax)) {
      throw invalid(`bufferBytes is a multiple of 8 from ${bufferBytesMin} to ${bufferBytesMax}`);
    }
    const dir = fileDir('seg', options.no);
    const file = await createFile(fs, filePath('seg', options.no));
    try {
      const { no: fileNo, class: subKind, dbUuid, salt } = options;
      await file.write(encodeFileHeader({ kind: 'segment', subKind, fileNo, dbUuid, salt }), 0);
      await fs.syncDir(dir);
    } catch (error) {
      await file.close();
      throw error;
    }
    return new SegmentWriter(file, options, bufferBytes);
  }

  /** Offset after the last frame, header included. */
  get end(): number {
    return this.#out.end;
  }

  get frames(): number {
    return this.#trailer.count;
  }

  /** Bytes of all frames. */
  get dataLen(): number {
    return this.#out.end - segmentDataFrom;
  }

  /** Everything below this offset is in the file, if not durable. */
  get writtenEnd(): number {
    return this.#out.writtenEnd;
  }

  /** Everything below this offset is durable; 0 before the first sync. */
  get syncedEnd(): number {
    return this.#out.syncedEnd;
  }

  /** Enough bytes wait to be written (three buffers' worth): `drain` before the next append. */
  get needsDrain(): boolean {
    return this.#out.needsDrain;
  }

  /** What is appended from now on is much, and not read soon: it need not go through the system's cache. */
  expectBulk(): void {
    this.#out.isBulk = true;
  }

  /** True when `frames` more frames of `length` bytes in all keep the sealed file within its bound. */
  fits(length: number, frames = 1): boolean {
    return sealedSegmentBytes(this.dataLen + length, this.frames + frames) <= segmentBytesMax;
  }

  /**
   * Appends a frame with the payload `payload[from..to)` and the id `id[idAt..idAt+32)`, both copied. Returns
   * its offset divided by 8. Not durable before `sync`. VARVE_POISONED, VARVE_CLOSED.
   */
  append(
    id: Uint8Array,
    idAt: number,
    payload: Uint8Array,
    from: number,
    to: number,
    kind: number,
    codec: number,
    rawLen: number,
  ): number {
    const storedLen = to - from;
    assert(storedLen >= 0 && storedLen <= chunkPayloadBytesMax, 'payload is within its bound');
    const length = frameBytes(storedLen);
    const room = this.#room(length);
    // Before the header is written: the end of its place is used for the copy.
    copyShared(room.bytes, room.filled + chunkFrame.size, payload, from, to);
    encodeChunkFrame(room.bytes, room.filled, id, idAt, storedLen, rawLen, kind, codec);
    const off8 = this.#out.end / 8;
    this.#trailer.add(id, idAt, off8, storedLen, rawLen, kind, codec);
    this.#out.added(room, length);
    return off8;
  }

  /**
   * Appends the frame at `buf[pos..]` as it is, which the caller has just checked and described in `frame`
   * (positions in `buf`). Copies it; otherwise as `append`.
   */
  appendFrame(buf: Uint8Array, pos: number, frame: ChunkFrame): number {
    const length = frame.next - pos;
    assert(length === frameBytes(frame.storedLen), 'frame has its length');
    const room = this.#room(length);
    room.bytes.set(buf.subarray(pos, frame.next), room.filled);
    const off8 = this.#out.end / 8;
    this.#trailer.add(buf, frame.idAt, off8, frame.storedLen, frame.rawLen, frame.kind, frame.codec);
    this.#out.added(room, length);
    return off8;
  }

  /**
   * Appends the frames that lie back to back in bytes[0..length), which the caller has just checked and
   * `describe`s one by one, its position in `bytes` and all. Takes the bytes: nothing is copied, but in bulk.
   * With `done` they are borrowed until that is called, once: when the file has them, or nothing is written
   * any more. Returns the offset of the first, divided by 8. Otherwise as `append`; `done` is not called
   * then.
   */
  appendRun(
    bytes: Uint8Array,
    length: number,
    count: number,
    describe: (i: number, frame: ChunkFrame) => void,
    done?: () => void,
  ): number {
    assert(this.#sealing === undefined, 'a sealed segment is not appended to');
    assert(this.fits(length, count), 'segment has room for the frames');
    const frame = this.#scratch;
    const first = this.#out.end / 8;
    // Direct writes need memory of their own.
    const copies = this.#out.isBulk;
    let pos = 0;
    for (let i = 0; i < count; i++) {
      describe(i, frame);
      const { idAt, storedLen, rawLen, kind, codec } = frame;
      if (copies) this.appendFrame(bytes, pos, frame);
      else this.#trailer.add(bytes, idAt, first + pos / 8, storedLen, rawLen, kind, codec);
      pos += frameBytes(storedLen);
    }
    assert(pos === length, 'frames have their length');
    if (copies) done?.();
    else this.#out.hand(bytes, length, done);
    return first;
  }

  /**
   * The frame at `off8`, header and padding included, while a write buffer still holds it; undefined when the
   * file has it or no frame starts there. Borrowed until the next append or await.
   */
  readBack(off8: number): Uint8Array | undefined {
    const bytes = this.buffered(off8 * 8);
    if (bytes === undefined || checkChunkFrame(bytes, 0, bytes.length, this.#scratch) !== 'ok')
      return undefined;
    return bytes.subarray(0, this.#scratch.next);
  }

  /** What one write buffer holds from file offset `offset` on, not checked; borrowed, as `readBack`. */
  buffered(offset: number): Uint8Array | undefined {
    return this.#out.buffered(offset);
  }

  /** The frames appended so far, copied. */
  trailer(): Trailer {
    return this.#trailer.toTrailer(true);
  }

  /** Resolves when what was appended before the call no longer makes `needsDrain` true. Errors as `sync`. */
  drain(): Promise<void> {
    return this.#out.drain();
  }

  /** Hands every frame appended before the call to the file; not durable. Errors as `sync`. */
  flush(): Promise<void> {
    return this.#out.flush();
  }

  /**
   * Makes every frame appended before the call durable and resolves with an offset below which everything is.
   * Concurrent calls share one sync. Calls waiting when the disk fails get its error, later ones
   * VARVE_POISONED; VARVE_CLOSED.
   */
  sync(): Promise<number> {
    return this.#out.sync();
  }

  /**
   * Writes trailer and footer and makes the whole file durable; nothing may be appended any more.
   * `byRecovery` marks a segment that holds what was rescued from another one. Errors as `sync`. Repeated
   * calls share the first one's result.
   */
  seal(options: { byRecovery?: boolean } = {}): Promise<SealedSegment> {
    const refusal = this.#out.refusal();
    if (refusal !== undefined) return Promise.reject(refusal);
    this.#sealing ??= this.#seal(options.byRecovery ?? false);
    return this.#sealing;
  }

  /**
   * Closes the file after every write and sync under way. Frames not synced may be lost: `sync` or `seal`
   * first to keep them. Idempotent.
   */
  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  #room(length: number) {
    assert(this.#sealing === undefined, 'a sealed segment is not appended to');
    assert(this.fits(length), 'segment has room for the frame');
    return this.#out.room(length);
  }

  async #seal(byRecovery: boolean): Promise<SealedSegment> {
    const { bytes, checksum } = this.#trailer.encode(this.dataLen, this.#seed, byRecovery);
    await this.#out.finish(bytes);
    return {
      no: this.no,
      class: this.class,
      size: this.end + bytes.length,
      frames: this.frames,
      dataLen: this.dataLen,
      trailerChecksum: checksum,
    };
  }

  async #close(): Promise<void> {
    await Promise.allSettled([this.#sealing]);
    await this.#out.settle();
    await this.#file.close();
  }
}
