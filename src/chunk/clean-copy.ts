/**
 * Copies live frames of segments that are to be emptied, bit for bit, into new sealed segments. Each frame is
 * checked as it is read: its checksum, its id against the tree's, and of some the bytes against the id.
 *
 * Nothing refers to a copy before the caller logs where the chunks lie now; until then `discard` removes
 * everything.
 *
 * Invariants (test/engine/cleaner.test.ts)
 * - What is copied equals what was read, bit for bit ("frames are copied verbatim").
 * - A damaged frame is reported and not copied; the others are ("a damaged frame keeps its segment").
 */
import type { FileNo } from '../base/brands.ts';
import { align8, equalBytes } from '../base/bytes.ts';
import { corrupt, isDamage, type VarveError } from '../base/errors.ts';
import { KiB, MiB } from '../base/limits.ts';
import { ChunkFrame, chunkFrame, frameBytes } from '../format/chunk-frame.ts';
import { chunkIdBytes, codecs } from '../format/chunk-ref.ts';
import { filePath } from '../format/file-names.ts';
import { type SealedSegment, streamClasses } from '../format/segment.ts';
import type { FsPort } from '../fs/port.ts';
import { sha256 } from '../kernels/hash/sha256.ts';
import type { FrameRun } from '../segment/segment-reader.ts';
import type { SegmentSet } from '../segment/segment-set.ts';
import { SegmentWriter } from '../segment/segment-writer.ts';
import type { LiveFrames } from './liveness.ts';

/** Bytes read at once, and garbage between two live frames that is read along. */
const runBytes = MiB;
const gapBytes = 64 * KiB;
/** Least bytes of a write buffer. */
const bufferBytesMin = 16 * KiB;
/** One id in so many is compared with its bytes. */
const idsChecked = 64;

export interface CopyPorts {
  readonly fs: FsPort;
  readonly dbUuid: Uint8Array;
  readonly random: (n: number) => Uint8Array;
  readonly takeFileNo: () => FileNo;
  readonly segments: SegmentSet;
  /** Bytes at which an output is sealed. */
  readonly segmentBytes: number;
  /** Bytes were read or written: slows the copy down, and rejects when it is to end. */
  readonly spend: (bytes: number) => Promise<void>;
}

/** Where frames lay and lie now, in columns: 52 B each. */
export class Moves {
  count = 0;
  ids: Uint8Array = new Uint8Array(16 * chunkIdBytes);
  /** from segment, from off8, to segment, to off8, storedLen. */
  #rows: Uint32Array = new Uint32Array(16 * 5);

  add(id: Uint8Array, at: number, row: readonly [number, number, number, number, number]): void {
    if ((this.count + 1) * 5 > this.#rows.length) this.#grow();
    for (let i = 0; i < chunkIdBytes; i++) this.ids[this.count * chunkIdBytes + i] = id[at + i]!;
    this.#rows.set(row, this.count * 5);
    this.count++;
  }

  fromSegment(i: number): FileNo {
    return this.#rows[i * 5]!;
  }

  fromOff8(i: number): number {
    return this.#rows[i * 5 + 1]!;
  }

  toSegment(i: number): FileNo {
    return this.#rows[i * 5 + 2]!;
  }

  toOff8(i: number): number {
    return this.#rows[i * 5 + 3]!;
  }

  storedLen(i: number): number {
    return this.#rows[i * 5 + 4]!;
  }

  #grow(): void {
    const ids = new Uint8Array(this.ids.length * 2);
    ids.set(this.ids);
    this.ids = ids;
    const rows = new Uint32Array(this.#rows.length * 2);
    rows.set(this.#rows);
    this.#rows = rows;
  }
}

export class FrameCopier {
  /** Outputs, sealed and durable after `finish`. */
  readonly outputs: SealedSegment[] = [];
  readonly moves: Moves = new Moves();
  copiedBytes = 0;
  readonly #ports: CopyPorts;
  readonly #created: FileNo[] = [];
  readonly #frame = new ChunkFrame();
  #writer: SegmentWriter | undefined;

  constructor(ports: CopyPorts) {
    this.#ports = ports;
  }

  /**
   * Copies the live frames of `segment`. Returns the damage that was met: the segment must then stay.
   * Rejects with what a write fails with (VARVE_NO_SPACE, VARVE_IO), with VARVE_IO of a read that may succeed
   * later, and with what `spend` rejects with: then `discard`.
   */
  async copy(segment: FileNo, frames: LiveFrames): Promise<VarveError[]> {
    const damage: VarveError[] = [];
    const order = frames.inOrder();
    let run: FrameRun | undefined;
    /** Index of the frame in `run` to look at first. */
    let at = 0;
    for (let i = 0; i < order.length; i++) {
      const frame = order[i]!;
      const off8 = frames.off8[frame]!;
      if (run !== undefined) while (at < run.count && run.off8[at]! < off8) at++;
      try {
        if (run === undefined || at >= run.count || run.off8[at] !== off8) {
          run = await this.#read(segment, frames, order, i);
          at = 0;
        }
        checkFrame(run, at, segment, frames, frame);
      } catch (error) {
        if (!isDamage(error)) throw error;
        damage.push(error);
        run = undefined;
        continue;
      }
      await this.#append(run, at, segment);
    }
    return damage;
  }

  /** Seals the last output: everything copied is durable, its name too. Errors as `copy`. */
  async finish(): Promise<void> {
    await this.#seal();
  }

  /** Removes every output; nothing refers to them. */
  async discard(): Promise<void> {
    await this.#writer?.close();
    this.#writer = undefined;
    for (const no of this.#created) await this.#ports.fs.unlink(filePath('seg', no));
    this.outputs.length = 0;
  }

  /** Reads from the live frame `order[i]` on, as far as the next ones lie close by. */
  async #read(segment: FileNo, frames: LiveFrames, order: Uint32Array, i: number): Promise<FrameRun> {
    const { segments, spend } = this.#ports;
    const from = frames.off8[order[i]!]! * 8;
    let end = from;
    for (let k = i; k < order.length; k++) {
      const offset = frames.off8[order[k]!]! * 8;
      const next = offset + frameBytes(frames.storedLen[order[k]!]!);
      if (k > i && (offset - end > gapBytes || next - from > runBytes)) break;
      end = next;
    }
    await spend(end - from);
    const run = await segments.readFrames(segment, from / 8, end - from);
    if (run === undefined) throw corrupt('segment is not live', { file: filePath('seg', segment) });
    return run;
  }

  async #append(run: FrameRun, i: number, segment: FileNo): Promise<void> {
    const { segmentBytes, spend } = this.#ports;
    const frame = this.#frame;
    const pos = (run.off8[i]! - run.off8[0]!) * 8;
    frame.idAt = run.idAt[i]!;
    frame.storedLen = run.storedLen[i]!;
    frame.rawLen = run.rawLen[i]!;
    frame.kind = run.kind[i]!;
    frame.codec = run.codec[i]!;
    frame.next = pos + frameBytes(frame.storedLen);
    const length = frame.next - pos;
    if (this.#writer !== undefined && this.#writer.end + length > segmentBytes) await this.#seal();
    const writer = this.#writer ?? (await this.#open());
    const off8 = writer.appendFrame(run.bytes, pos, frame);
    this.moves.add(run.bytes, frame.idAt, [segment, run.off8[i]!, writer.no, off8, frame.storedLen]);
    this.copiedBytes += length;
    if (writer.needsDrain) await writer.drain();
    await spend(length);
  }

  async #open(): Promise<SegmentWriter> {
    const { fs, dbUuid, random, takeFileNo } = this.#ports;
    const no = takeFileNo();
    this.#created.push(no);
    const bufferBytes = Math.max(bufferBytesMin, Math.min(MiB, align8(this.#ports.segmentBytes)));
    const identity = { no, class: streamClasses.gc, dbUuid, salt: random(12) };
    this.#writer = await SegmentWriter.create(fs, { ...identity, bufferBytes });
    return this.#writer;
  }

  async #seal(): Promise<void> {
    const writer = this.#writer;
    if (writer === undefined) return;
    const info = await writer.seal();
    await writer.close();
    this.#writer = undefined;
    this.outputs.push(info);
  }
}

/** VARVE_CORRUPT unless frame `i` of the run is the one the tree names. */
function checkFrame(run: FrameRun, i: number, segment: FileNo, frames: LiveFrames, frame: number): void {
  const id = frames.ids.subarray(frame * chunkIdBytes, (frame + 1) * chunkIdBytes);
  const idAt = run.idAt[i]!;
  const place = { file: filePath('seg', segment), offset: run.off8[i]! * 8 };
  const found = run.bytes.subarray(idAt, idAt + chunkIdBytes);
  if (!equalBytes(id, found) || run.storedLen[i] !== frames.storedLen[frame]) {
    throw corrupt('another chunk lies here than the index says', place, id, found);
  }
  if (run.codec[i] !== codecs.raw || id[chunkIdBytes - 1]! % idsChecked !== 0) return;
  const payloadFrom = idAt - chunkFrame.at.chunkId + chunkFrame.size;
  const hash = sha256(run.bytes.subarray(payloadFrom, payloadFrom + run.storedLen[i]!));
  if (!equalBytes(hash, id)) throw corrupt('the bytes of a chunk are not those of its id', place, id, hash);
}
