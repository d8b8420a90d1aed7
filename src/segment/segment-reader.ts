/**
 * Reads one segment through one open file. Every frame is checked whenever it comes from the disk: its
 * checksum, its length, and its id where the caller names one. (That the bytes hash to the id is checked when
 * a store is verified, not here.)
 *
 * A damaged file header does not make the frames unreadable, which carry their own checks: it is kept in
 * `headerDamage`, and only reads that name no id are refused for it.
 */
import type { FileNo } from '../base/brands.ts';
import { corrupt, isVarveError, VarveError } from '../base/errors.ts';
import {
  ChunkFrame,
  checkChunkFrame,
  chunkFrame,
  chunkFrameError,
  chunkPayloadBytesMax,
  frameBytes,
} from '../format/chunk-frame.ts';
import { chunkIdBytes } from '../format/chunk-ref.ts';
import { type CheckedHeader, decodeFileHeader, fileHeader } from '../format/file-header.ts';
import { filePath } from '../format/file-names.ts';
import {
  decodeSegmentFooter,
  decodeTrailer,
  type SealedSegment,
  type SegmentFooter,
  segmentDataFrom,
  segmentFooter,
  type Trailer,
} from '../format/segment.ts';
import { readExact } from '../fs/dirs.ts';
import type { FsFile, FsPort } from '../fs/port.ts';

/** Whole, checked frames that lie one after another in a segment. */
export interface FrameRun {
  /** The caller's; positions below are of these. */
  readonly bytes: Uint8Array;
  readonly count: number;
  readonly off8: Uint32Array;
  readonly idAt: Uint32Array;
  readonly payloadFrom: Uint32Array;
  readonly storedLen: Uint32Array;
  readonly rawLen: Uint32Array;
  readonly kind: Uint8Array;
  readonly codec: Uint8Array;
}

const scratch = new ChunkFrame();

/**
 * Judges `buf[0..got)`, read for the frame at `off8`: its payload as a view; undefined when another id's
 * frame is there; the bytes needed when the frame is longer than `buf`. VARVE_CORRUPT, VARVE_FORMAT_VERSION.
 */
export function judgeFrame(
  buf: Uint8Array,
  got: number,
  path: string,
  off8: number,
  storedLen: number,
  expectId: Uint8Array | undefined,
): Uint8Array | undefined | number {
  const offset = off8 * 8;
  const verdict = checkChunkFrame(buf, 0, got, scratch);
  if (verdict === 'cut off' && scratch.next > buf.length) return scratch.next;
  if (verdict !== 'ok') throw chunkFrameError(verdict, path, offset);
  if (expectId !== undefined && !hasId(buf, scratch.idAt, expectId)) return undefined;
  if (scratch.storedLen !== storedLen) {
    throw corrupt('chunk frame has another length', { file: path, offset }, storedLen, scratch.storedLen);
  }
  return buf.subarray(scratch.payloadFrom, scratch.payloadTo);
}

/** Payload of the frame at `off8`, which a write buffer has from there on; copied. Errors as judgeFrame. */
export function fromBuffer(
  buffered: Uint8Array,
  no: FileNo,
  off8: number,
  storedLen: number,
  expectId: Uint8Array | undefined,
): Uint8Array | undefined {
  const path = filePath('seg', no);
  const found = judgeFrame(buffered, buffered.length, path, off8, storedLen, expectId);
  if (typeof found === 'number') throw chunkFrameError('cut off', path, off8 * 8);
  return found?.slice();
}

function hasId(buf: Uint8Array, idAt: number, id: Uint8Array): boolean {
  for (let i = 0; i < chunkIdBytes; i++) if (buf[idAt + i] !== id[i]) return false;
  return id.length === chunkIdBytes;
}

export class SegmentReader {
  readonly no: FileNo;
  /** Relative to the store directory. */
  readonly path: string;
  /** Why the file header cannot be trusted; undefined when it is whole. */
  readonly headerDamage: VarveError | undefined;
  readonly #file: FsFile;
  readonly #header: CheckedHeader | undefined;

  private constructor(file: FsFile, no: FileNo, header: CheckedHeader | VarveError) {
    this.no = no;
    this.path = file.path;
    this.#file = file;
    if (header instanceof VarveError) this.headerDamage = header;
    else this.#header = header;
  }

  /**
   * Opens segment `no`. VARVE_CORRUPT when the file is missing, VARVE_FORMAT_VERSION on a newer format,
   * VARVE_IO.
   */
  static async open(fs: FsPort, no: FileNo, dbUuid: Uint8Array): Promise<SegmentReader> {
    const path = filePath('seg', no);
    const file = await fs.open(path, 'read').catch((error: unknown) => {
      throw orMissing(error, path);
    });
    try {
      const bytes = new Uint8Array(fileHeader.size);
      const got = await file.read(bytes, 0);
      return new SegmentReader(file, no, headerOf(bytes.subarray(0, got), no, dbUuid, path));
    } catch (error) {
      await file.close();
      throw error;
    }
  }

  /** `open` on the calling thread. */
  static openSync(fs: FsPort, no: FileNo, dbUuid: Uint8Array): SegmentReader {
    const path = filePath('seg', no);
    let file: FsFile;
    try {
      file = fs.openSync(path);
    } catch (error) {
      throw orMissing(error, path);
    }
    try {
      const bytes = new Uint8Array(fileHeader.size);
      const got = file.readSync(bytes, 0);
      return new SegmentReader(file, no, headerOf(bytes.subarray(0, got), no, dbUuid, path));
    } catch (error) {
      // What close says about a file that failed to read adds nothing to the error thrown.
      file.close().catch(() => undefined);
      throw error;
    }
  }

  /**
   * Payload of the frame at `off8`, the caller's own; undefined when the frame there is another chunk's than
   * `expectId`. VARVE_CORRUPT when no whole frame is there or its length differs, VARVE_FORMAT_VERSION,
   * VARVE_IO.
   */
  async readFrame(
    off8: number,
    storedLen: number,
    expectId: Uint8Array | undefined,
  ): Promise<Uint8Array | undefined> {
    let buf = this.#buffer(off8, storedLen, expectId);
    for (let attempt = 0; attempt < 2; attempt++) {
      const got = await this.#file.read(buf, off8 * 8);
      const found = judgeFrame(buf, got, this.path, off8, storedLen, expectId);
      if (typeof found !== 'number') return found;
      buf = new Uint8Array(found);
    }
    throw chunkFrameError('cut off', this.path, off8 * 8);
  }

  /** `readFrame` on the calling thread. */
  readFrameSync(off8: number, storedLen: number, expectId: Uint8Array | undefined): Uint8Array | undefined {
    let buf = this.#buffer(off8, storedLen, expectId);
    for (let attempt = 0; attempt < 2; attempt++) {
      const got = this.#file.readSync(buf, off8 * 8);
      const found = judgeFrame(buf, got, this.path, off8, storedLen, expectId);
      if (typeof found !== 'number') return found;
      buf = new Uint8Array(found);
    }
    throw chunkFrameError('cut off', this.path, off8 * 8);
  }

  /**
   * The frames from `off8` on that lie wholly within the next `bytes` bytes and below file offset `limit`, at
   * least one, up to the first that is not whole: in `into` where they fit, else in a buffer of their own.
   * VARVE_CORRUPT when the first one is not whole.
   */
  async readFrames(off8: number, bytes: number, limit: number, into?: Uint8Array): Promise<FrameRun> {
    const offset = off8 * 8;
    let wanted = Math.max(chunkFrame.size, Math.min(bytes, limit - offset));
    for (let attempt = 0; attempt < 2; attempt++) {
      const buf = into !== undefined && wanted <= into.length ? into.subarray(0, wanted) : unset(wanted);
      const got = await this.#file.read(buf, offset);
      const run = framesIn(buf, got, this.path, offset);
      if (typeof run !== 'number') return run;
      wanted = run;
    }
    throw chunkFrameError('cut off', this.path, offset);
  }

  /** Bytes from `offset` on into `into`, unchecked; fewer at the end of the file. VARVE_CORRUPT, VARVE_IO. */
  async readBytes(offset: number, into: Uint8Array): Promise<number> {
    if (offset < segmentDataFrom) throw corrupt('no chunk frame here', { file: this.path, offset });
    return await this.#file.read(into, offset);
  }

  /**
   * Checks size, header and footer of a sealed segment against what the catalog says, without reading its
   * frames. VARVE_CORRUPT, VARVE_FORMAT_VERSION, VARVE_IO.
   */
  async checkSealed(sealed: SealedSegment): Promise<SegmentFooter> {
    if (this.#header === undefined) throw this.headerDamage!;
    const size = await this.#file.size();
    const place = { file: this.path, offset: Math.min(size, sealed.size) };
    if (size !== sealed.size) throw corrupt('segment has another size', place, sealed.size, size);
    const bytes = new Uint8Array(segmentFooter.size);
    if (size < bytes.length) throw corrupt('segment is cut off', place);
    const offset = size - bytes.length;
    await readExact(this.#file, bytes, offset);
    const footer = decodeSegmentFooter(bytes, this.#header.seed, size, this.path);
    const same =
      footer.frames === sealed.frames &&
      footer.dataLen === sealed.dataLen &&
      footer.trailerChecksum === sealed.trailerChecksum;
    if (!same) throw corrupt('segment is not the one the catalog names', { file: this.path, offset });
    return footer;
  }

  /**
   * What a catalog would say of this segment, from its header and footer; undefined when it is not sealed, or
   * either is damaged. VARVE_FORMAT_VERSION, VARVE_IO.
   */
  async describe(): Promise<SealedSegment | undefined> {
    const header = this.#header;
    const size = await this.#file.size();
    if (header === undefined || size < segmentDataFrom + segmentFooter.size) return undefined;
    const bytes = new Uint8Array(segmentFooter.size);
    await readExact(this.#file, bytes, size - bytes.length);
    try {
      const { frames, dataLen, trailerChecksum } = decodeSegmentFooter(bytes, header.seed, size, this.path);
      return { no: this.no, class: header.subKind, size, frames, dataLen, trailerChecksum };
    } catch (error) {
      if (!isVarveError(error, 'VARVE_CORRUPT')) throw error;
      return undefined;
    }
  }

  /** The trailer of a sealed segment, checked. Errors as `checkSealed`. */
  async readTrailer(sealed: SealedSegment): Promise<Trailer> {
    const footer = await this.checkSealed(sealed);
    const bytes = new Uint8Array(footer.trailerLen);
    await readExact(this.#file, bytes, footer.trailerOff);
    return decodeTrailer(bytes, footer, this.path);
  }

  /** Waits for reads under way. */
  close(): Promise<void> {
    return this.#file.close();
  }

  #buffer(off8: number, storedLen: number, expectId: Uint8Array | undefined): Uint8Array {
    const place = { file: this.path, offset: off8 * 8 };
    if (place.offset < segmentDataFrom) throw corrupt('no chunk frame here', place);
    if (storedLen > chunkPayloadBytesMax) throw corrupt('length exceeds its bound', place);
    if (expectId === undefined && this.headerDamage !== undefined) throw this.headerDamage;
    return unset(frameBytes(storedLen));
  }
}

/** Not cleared: what is judged are the bytes read into it. */
function unset(length: number): Uint8Array {
  return new Uint8Array(Buffer.allocUnsafeSlow(length).buffer);
}

/**
 * The whole frames at the start of `buf[0..got)`, read from file offset `offset`; the bytes needed when the
 * first is longer than `buf`. VARVE_CORRUPT or VARVE_FORMAT_VERSION when the first is not a frame.
 */
export function framesIn(buf: Uint8Array, got: number, path: string, offset: number): FrameRun | number {
  const starts: number[] = [];
  let pos = 0;
  while (pos < got) {
    const verdict = checkChunkFrame(buf, pos, got, scratch);
    if (verdict !== 'ok') {
      if (pos > 0) break;
      if (verdict === 'cut off' && scratch.next > buf.length) return scratch.next;
      throw chunkFrameError(verdict, path, offset);
    }
    starts.push(pos);
    pos = scratch.next;
  }
  if (starts.length === 0) throw chunkFrameError('cut off', path, offset);
  const count = starts.length;
  const run = {
    bytes: buf,
    count,
    off8: new Uint32Array(count),
    idAt: new Uint32Array(count),
    payloadFrom: new Uint32Array(count),
    storedLen: new Uint32Array(count),
    rawLen: new Uint32Array(count),
    kind: new Uint8Array(count),
    codec: new Uint8Array(count),
  };
  const view = new DataView(buf.buffer, buf.byteOffset, buf.byteLength);
  for (let i = 0; i < count; i++) {
    const at = starts[i]!;
    run.off8[i] = (offset + at) / 8;
    run.idAt[i] = at + chunkFrame.at.chunkId;
    run.payloadFrom[i] = at + chunkFrame.size;
    run.storedLen[i] = view.getUint32(at + chunkFrame.at.storedLen, true);
    run.rawLen[i] = view.getUint32(at + chunkFrame.at.rawLen, true);
    run.kind[i] = buf[at + chunkFrame.at.kind]!;
    run.codec[i] = buf[at + chunkFrame.at.codec]!;
  }
  return run;
}

function headerOf(
  bytes: Uint8Array,
  fileNo: FileNo,
  dbUuid: Uint8Array,
  path: string,
): CheckedHeader | VarveError {
  try {
    return decodeFileHeader(bytes, { kind: 'segment', fileNo, dbUuid }, path);
  } catch (error) {
    if (isVarveError(error, 'VARVE_CORRUPT')) return error;
    throw error;
  }
}

/** A live segment whose file is gone is damage, not a failed operation. */
function orMissing(error: unknown, file: string): unknown {
  if (!isVarveError(error) || error.errno !== 'ENOENT') return error;
  return new VarveError('VARVE_CORRUPT', `${file}: segment file is missing`, {
    file,
    offset: 0,
    cause: error,
  });
}
