/**
 * Copies live frames of segments that are to be emptied, bit for bit, into new sealed segments. Each frame is
 * checked as it is read: its checksum, its id against the tree's, and of some the bytes against the id.
 *
 * Nothing refers to a copy before the caller logs where the chunks lie now; until then `discard` removes
 * everything.
 *
 * Frames go from the buffer they are read into to the disk without being copied in memory: the live ones of a
 * run are moved to its front, and the buffer itself becomes a write buffer of the output.
 *
 * Invariants (test/engine/cleaner.test.ts, test/chunk/clean-copy.test.ts)
 * - What is copied equals what was read, bit for bit ("frames are copied verbatim", "any frames, live in any
 *   pattern and damaged anywhere, are copied as they are").
 * - A damaged frame is reported and not copied; the others are ("a damaged frame keeps its segment").
 */
import type { FileNo } from '../base/brands.ts';
import { align8, equalBytes } from '../base/bytes.ts';
import { corrupt, isDamage, type VarveError } from '../base/errors.ts';
import { KiB, MiB } from '../base/limits.ts';
import { ChunkFrame, chunkFrame, frameBytes } from '../format/chunk-frame.ts';
import { chunkIdBytes, codecs } from '../format/chunk-ref.ts';
import { filePath } from '../format/file-names.ts';
import { type SealedSegment, segmentDataFrom, streamClasses } from '../format/segment.ts';
import type { FsPort } from '../fs/port.ts';
import { sha256 } from '../kernels/hash/sha256.ts';
import type { FrameRun } from '../segment/segment-reader.ts';
import type { SegmentSet } from '../segment/segment-set.ts';
import { SegmentWriter } from '../segment/segment-writer.ts';
import { writeBuffersMax } from '../segment/write-behind.ts';
import { sortSlots } from '../tree/slot-sort.ts';
import type { LiveFrames } from './liveness.ts';

/** Garbage between two live frames that is read along. */
const gapBytes = 64 * KiB;
/** Least bytes read, and written, at once; most is 1 MiB. */
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

/** From segment, from off8, to segment, to off8, storedLen, rawLen, kind. */
type MoveRow = readonly [number, number, number, number, number, number, number];
const columns = 7;

/** Where frames lay and lie now, in columns: 60 B each. */
export class Moves {
  count = 0;
  ids: Uint8Array = new Uint8Array(16 * chunkIdBytes);
  #rows: Uint32Array = new Uint32Array(16 * columns);

  add(id: Uint8Array, at: number, row: MoveRow): void {
    if ((this.count + 1) * columns > this.#rows.length) this.#grow();
    for (let i = 0; i < chunkIdBytes; i++) this.ids[this.count * chunkIdBytes + i] = id[at + i]!;
    this.#rows.set(row, this.count * columns);
    this.count++;
  }

  /** The moves in the order of their ids; the caller's. */
  byId(): Uint32Array {
    return sortSlots(this.ids, chunkIdBytes, chunkIdBytes, this.count);
  }

  fromSegment(i: number): FileNo {
    return this.#rows[i * columns]!;
  }

  fromOff8(i: number): number {
    return this.#rows[i * columns + 1]!;
  }

  toSegment(i: number): FileNo {
    return this.#rows[i * columns + 2]!;
  }

  toOff8(i: number): number {
    return this.#rows[i * columns + 3]!;
  }

  storedLen(i: number): number {
    return this.#rows[i * columns + 4]!;
  }

  rawLen(i: number): number {
    return this.#rows[i * columns + 5]!;
  }

  kind(i: number): number {
    return this.#rows[i * columns + 6]!;
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
  readonly #bufferBytes: number;
  readonly #created: FileNo[] = [];
  readonly #frame = new ChunkFrame();
  /** Indexes in a run of the frames that are copied. */
  readonly #kept: number[] = [];
  /** What the next run is read into. */
  #buffer: Uint8Array | undefined;
  /** Buffers that were written: new ones would be memory to clear, and work for the collector of garbage. */
  readonly #spare: Uint8Array[] = [];
  #writer: SegmentWriter | undefined;

  constructor(ports: CopyPorts) {
    this.#ports = ports;
    this.#bufferBytes = Math.max(bufferBytesMin, Math.min(MiB, align8(ports.segmentBytes)));
  }

  /**
   * Copies the live frames of `segment`. Returns the damage that was met: the segment must then stay.
   * Rejects with what a write fails with (VARVE_NO_SPACE, VARVE_IO), with VARVE_IO of a read that may succeed
   * later, and with what `spend` rejects with: then `discard`.
   */
  async copy(segment: FileNo, frames: LiveFrames): Promise<VarveError[]> {
    const damage: VarveError[] = [];
    const order = frames.inOrder();
    for (let i = 0; i < order.length; ) {
      let run: FrameRun;
      try {
        run = await this.#read(segment, frames, order, i);
      } catch (error) {
        if (!isDamage(error)) throw error;
        damage.push(error);
        i++;
        continue;
      }
      const { next, length } = this.#gather(run, segment, frames, order, i, damage);
      i = next;
      await this.#append(run, length, segment);
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
      if (k > i && (offset - end > gapBytes || next - from > this.#bufferBytes)) break;
      end = next;
    }
    await spend(end - from);
    this.#takeSpare();
    this.#buffer ??= this.#spare.pop() ?? new Uint8Array(this.#bufferBytes);
    const run = await segments.readFrames(segment, from / 8, end - from, this.#buffer);
    if (run === undefined) throw corrupt('segment is not live', { file: filePath('seg', segment) });
    return run;
  }

  /**
   * Checks the live frames of a run, the first of which is `order[i]`, and moves those that are whole to its
   * front, one behind the other. Says where they end, and which live frame is the first behind the run.
   */
  #gather(
    run: FrameRun,
    segment: FileNo,
    frames: LiveFrames,
    order: Uint32Array,
    i: number,
    damage: VarveError[],
  ): { next: number; length: number } {
    this.#kept.length = 0;
    let length = 0;
    let next = i;
    for (let at = 0; next < order.length; next++) {
      const off8 = frames.off8[order[next]!]!;
      while (at < run.count && run.off8[at]! < off8) at++;
      if (at === run.count || run.off8[at] !== off8) break;
      try {
        checkFrame(run, at, segment, frames, order[next]!);
      } catch (error) {
        if (!isDamage(error)) throw error;
        damage.push(error);
        continue;
      }
      const pos = (off8 - run.off8[0]!) * 8;
      const end = pos + frameBytes(run.storedLen[at]!);
      if (pos > length) run.bytes.copyWithin(length, pos, end);
      length += end - pos;
      this.#kept.push(at);
    }
    return { next, length };
  }

  /** Appends what was gathered: all of it at once where the output has room for it. */
  async #append(run: FrameRun, length: number, segment: FileNo): Promise<void> {
    const { segmentBytes, spend } = this.#ports;
    if (length === 0) return;
    const end = this.#writer?.end ?? segmentDataFrom;
    if (end + length > segmentBytes) await this.#appendEach(run, segment);
    else await this.#appendAll(run, length, segment);
    this.copiedBytes += length;
    if (this.#writer!.needsDrain) await this.#writer!.drain();
    await spend(length);
  }

  async #appendAll(run: FrameRun, length: number, segment: FileNo): Promise<void> {
    const kept = this.#kept;
    const writer = this.#writer ?? (await this.#open());
    let pos = 0;
    const describe = (i: number, frame: ChunkFrame): void => {
      pos = this.#describe(run, kept[i]!, pos, frame);
    };
    // A buffer of its own where a frame was longer than ours.
    const lent = this.#buffer!;
    const isLent = run.bytes.buffer === lent.buffer;
    const first = writer.appendRun(isLent ? lent : run.bytes, length, kept.length, describe);
    if (isLent) this.#buffer = undefined;
    let off8 = first;
    for (const i of kept) {
      this.#moved(run, i, segment, writer.no, off8, (off8 - first) * 8);
      off8 += frameBytes(run.storedLen[i]!) / 8;
    }
  }

  /** Appends frame by frame, and goes on in a new output where one is full. */
  async #appendEach(run: FrameRun, segment: FileNo): Promise<void> {
    let pos = 0;
    for (const i of this.#kept) {
      const next = this.#describe(run, i, pos, this.#frame);
      if (this.#writer !== undefined && this.#writer.end + next - pos > this.#ports.segmentBytes)
        await this.#seal();
      const writer = this.#writer ?? (await this.#open());
      const off8 = writer.appendFrame(run.bytes, pos, this.#frame);
      this.#moved(run, i, segment, writer.no, off8, pos);
      pos = next;
    }
  }

  /** Describes frame `i` of the run, which was moved to `pos`; returns where it ends. */
  #describe(run: FrameRun, i: number, pos: number, frame: ChunkFrame): number {
    frame.idAt = pos + chunkFrame.at.chunkId;
    frame.storedLen = run.storedLen[i]!;
    frame.rawLen = run.rawLen[i]!;
    frame.kind = run.kind[i]!;
    frame.codec = run.codec[i]!;
    frame.next = pos + frameBytes(frame.storedLen);
    return frame.next;
  }

  #moved(run: FrameRun, i: number, segment: FileNo, to: FileNo, off8: number, pos: number): void {
    const idAt = pos + chunkFrame.at.chunkId;
    const { off8: from, storedLen, rawLen, kind } = run;
    this.moves.add(run.bytes, idAt, [segment, from[i]!, to, off8, storedLen[i]!, rawLen[i]!, kind[i]!]);
  }

  async #open(): Promise<SegmentWriter> {
    const { fs, dbUuid, random, takeFileNo } = this.#ports;
    const no = takeFileNo();
    this.#created.push(no);
    const identity = { no, class: streamClasses.gc, dbUuid, salt: random(12) };
    this.#writer = await SegmentWriter.create(fs, { ...identity, bufferBytes: this.#bufferBytes });
    return this.#writer;
  }

  async #seal(): Promise<void> {
    const writer = this.#writer;
    if (writer === undefined) return;
    const info = await writer.seal();
    this.#takeSpare();
    await writer.close();
    this.#writer = undefined;
    this.outputs.push(info);
  }

  /** What the output does not need any more; as many as are written at once, and one that is read into. */
  #takeSpare(): void {
    for (let buffer = this.#writer?.spareBuffer(); buffer !== undefined; ) {
      if (this.#spare.length <= writeBuffersMax) this.#spare.push(buffer);
      buffer = this.#writer?.spareBuffer();
    }
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
