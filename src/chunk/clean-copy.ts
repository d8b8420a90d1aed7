/**
 * Copies live frames of segments that are to be emptied, bit for bit, into new sealed segments. Each frame is
 * checked as it is read: its checksum, its id against the tree's, and of some the bytes against the id.
 *
 * Nothing refers to a copy before the caller logs where the chunks lie now; until then `discard` removes
 * everything.
 *
 * Frames go from the buffer they are read into to the disk without being copied in memory: the live ones of a
 * run are moved to its front, and the buffer itself becomes a write buffer of the output. While a run is
 * checked the next ones are read, and while an output is synced the next one fills.
 *
 * Invariants (test/engine/cleaner.test.ts, test/chunk/clean-copy.test.ts)
 * - What is copied equals what was read, bit for bit ("frames are copied verbatim", "any frames, live in any
 *   pattern and damaged anywhere, are copied as they are").
 * - A damaged frame is reported and not copied; the others are ("a damaged frame keeps its segment").
 */
import type { FileNo } from '../base/brands.ts';
import { align8, compareRange } from '../base/bytes.ts';
import { corrupt, isDamage, type VarveError } from '../base/errors.ts';
import { KiB } from '../base/limits.ts';
import { ChunkFrame, chunkFrame, frameBytes } from '../format/chunk-frame.ts';
import { chunkIdBytes, codecs } from '../format/chunk-ref.ts';
import { filePath } from '../format/file-names.ts';
import { type SealedSegment, segmentDataFrom, streamClasses } from '../format/segment.ts';
import type { FsPort } from '../fs/port.ts';
import { sha256Into } from '../kernels/hash/sha256.ts';
import type { FrameRun } from '../segment/segment-reader.ts';
import type { SegmentSet } from '../segment/segment-set.ts';
import { SegmentWriter } from '../segment/segment-writer.ts';
import { writeBuffersMax } from '../segment/write-behind.ts';
import type { LiveFrames } from './liveness.ts';
import { Moves } from './moves.ts';

/** A run on its way into a buffer. */
interface Reading {
  /** Position in the order of the live frames of the first one it has, and of the first one behind it. */
  readonly first: number;
  readonly next: number;
  readonly buffer: Uint8Array;
  readonly run: Promise<FrameRun>;
}

/** Garbage between two live frames that is read along. */
const gapBytes = 64 * KiB;
/** Least bytes read, and written, at once. */
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
  /** Live frames there are to copy, about. */
  readonly frames: number;
  /** Buffers nobody uses, for this copier and later ones: new ones would be memory to clear, and garbage. */
  readonly spare: Uint8Array[];
  /** Read, and written, at once at most; less where others wait for the thread. */
  readonly runBytes: number;
  /** Runs that are read while one is checked, at most. */
  readonly runsAhead: number;
  /** Bytes of an output that may wait for a sync, now. */
  readonly unsyncedMax: () => number;
  /** Syncs `bytes` of an output by `work`. */
  readonly sync: <T>(bytes: number, work: () => Promise<T>) => Promise<T>;
  /** Bytes were read or written: slows the copy down, and rejects when it is to end. */
  readonly spend: (bytes: number) => Promise<void>;
}

export class FrameCopier {
  /** Outputs, sealed and durable after `finish`. */
  readonly outputs: SealedSegment[] = [];
  readonly moves: Moves;
  copiedBytes = 0;
  readonly #ports: CopyPorts;
  readonly #bufferBytes: number;
  readonly #created: FileNo[] = [];
  readonly #frame = new ChunkFrame();
  /** Indexes in a run of the frames that are copied. */
  readonly #kept: number[] = [];
  #writer: SegmentWriter | undefined;
  /** The output before `#writer`, on its way to the disk. */
  #sealing: Promise<void> | undefined;

  constructor(ports: CopyPorts) {
    this.#ports = ports;
    this.moves = new Moves(ports.frames);
    this.#bufferBytes = Math.max(bufferBytesMin, Math.min(ports.runBytes, align8(ports.segmentBytes)));
  }

  /**
   * Copies the live frames of `segment`. Returns the damage that was met: the segment must then stay.
   * Rejects with what a write fails with (VARVE_NO_SPACE, VARVE_IO), with VARVE_IO of a read that may succeed
   * later, and with what `spend` rejects with: then `discard`.
   */
  async copy(segment: FileNo, frames: LiveFrames): Promise<VarveError[]> {
    const damage: VarveError[] = [];
    const order = frames.inOrder();
    const ahead: Reading[] = [];
    let reading: Reading | undefined;
    try {
      for (let i = 0; i < order.length; ) {
        reading = ahead.shift() ?? (await this.#begin(segment, frames, order, i));
        // Before this one is waited for, so that the disk has something to do meanwhile.
        await this.#fill(ahead, reading.next, segment, frames, order);
        let run: FrameRun;
        try {
          run = await reading.run;
        } catch (error) {
          if (!isDamage(error)) throw error;
          this.#keep(reading.buffer);
          damage.push(error);
          i++;
          if (i !== reading.next) await this.#giveUp(ahead);
          continue;
        }
        const { next, length } = this.#gather(run, segment, frames, order, i, damage);
        i = next;
        // A frame that is not whole has ended the run early: it is read from there on.
        if (next !== reading.next) await this.#giveUp(ahead);
        await this.#append(run, length, segment, reading.buffer);
      }
    } finally {
      await Promise.allSettled([reading?.run]);
      await this.#giveUp(ahead);
    }
    return damage;
  }

  /** Seals the last output: everything copied is durable, its name too. Errors as `copy`. */
  async finish(): Promise<void> {
    await this.#seal();
    await this.#sealed();
  }

  /** Removes every output; nothing refers to them. */
  async discard(): Promise<void> {
    await Promise.allSettled([this.#sealing]);
    await this.#writer?.close();
    this.#writer = undefined;
    for (const no of this.#created) await this.#ports.fs.unlink(filePath('seg', no));
    this.outputs.length = 0;
  }

  /** Begins runs from `order[i]` on, until as many are under way as may be. */
  async #fill(
    ahead: Reading[],
    i: number,
    segment: FileNo,
    frames: LiveFrames,
    order: Uint32Array,
  ): Promise<void> {
    let next = ahead.at(-1)?.next ?? i;
    while (ahead.length < this.#ports.runsAhead && next < order.length) {
      const reading = await this.#begin(segment, frames, order, next);
      ahead.push(reading);
      next = reading.next;
    }
  }

  /** Waits until nothing is read into the buffers of `ahead` any more, which are free then. */
  async #giveUp(ahead: Reading[]): Promise<void> {
    await Promise.allSettled(ahead.map(({ run }) => run));
    for (const { buffer } of ahead) this.#keep(buffer);
    ahead.length = 0;
  }

  /** Begins to read from the live frame `order[i]` on, as far as the next ones lie close by. */
  async #begin(segment: FileNo, frames: LiveFrames, order: Uint32Array, i: number): Promise<Reading> {
    const from = frames.off8[order[i]!]! * 8;
    let end = from;
    let next = i;
    for (; next < order.length; next++) {
      const offset = frames.off8[order[next]!]! * 8;
      const frameEnd = offset + frameBytes(frames.storedLen[order[next]!]!);
      if (next > i && (offset - end > gapBytes || frameEnd - from > this.#bufferBytes)) break;
      end = frameEnd;
    }
    await this.#ports.spend(end - from);
    this.#takeSpare(this.#writer);
    const buffer = this.#spareBuffer() ?? new Uint8Array(this.#bufferBytes);
    const run = this.#read(segment, from, end, buffer);
    // Whoever waits for it is told.
    run.catch(() => undefined);
    return { first: i, next, buffer, run };
  }

  async #read(segment: FileNo, from: number, end: number, buffer: Uint8Array): Promise<FrameRun> {
    const run = await this.#ports.segments.readFrames(segment, from / 8, end - from, buffer);
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

  /** Appends what was gathered: all of it at once where the output has room for it. Takes `lent`. */
  async #append(run: FrameRun, length: number, segment: FileNo, lent: Uint8Array): Promise<void> {
    const { segmentBytes, spend } = this.#ports;
    if (length === 0) {
      this.#keep(lent);
      return;
    }
    const end = this.#writer?.end ?? segmentDataFrom;
    if (end + length > segmentBytes) {
      await this.#appendEach(run, segment);
      this.#keep(lent);
    } else await this.#appendAll(run, length, segment, lent);
    this.copiedBytes += length;
    if (this.#writer!.needsDrain) await this.#writer!.drain();
    await this.#syncPortion(this.#writer!);
    await spend(length);
  }

  /** Where others wait for the disk, the sync of the whole output would hold them up for long. */
  async #syncPortion(writer: SegmentWriter): Promise<void> {
    const bytes = unsyncedBytes(writer);
    if (bytes >= this.#ports.unsyncedMax()) await this.#ports.sync(bytes, () => writer.sync());
  }

  async #appendAll(run: FrameRun, length: number, segment: FileNo, lent: Uint8Array): Promise<void> {
    const kept = this.#kept;
    const writer = this.#writer ?? (await this.#open());
    let pos = 0;
    const describe = (i: number, frame: ChunkFrame): void => {
      pos = this.#describe(run, kept[i]!, pos, frame);
    };
    // A buffer of its own where a frame was longer than ours.
    const isLent = run.bytes.buffer === lent.buffer;
    const first = writer.appendRun(isLent ? lent : run.bytes, length, kept.length, describe);
    if (!isLent) this.#keep(lent);
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

  /** Seals the output in the background, once the one before it is on disk. */
  async #seal(): Promise<void> {
    const writer = this.#writer;
    if (writer === undefined) return;
    await this.#sealed();
    this.#writer = undefined;
    this.#sealing = this.#sealOne(writer);
    // Whoever waits for it next is told.
    this.#sealing.catch(() => undefined);
  }

  /** The output before the one being written is on disk. */
  async #sealed(): Promise<void> {
    await this.#sealing;
    this.#sealing = undefined;
  }

  async #sealOne(writer: SegmentWriter): Promise<void> {
    try {
      const info = await this.#ports.sync(unsyncedBytes(writer), () => writer.seal());
      this.#takeSpare(writer);
      this.outputs.push(info);
    } finally {
      await writer.close();
    }
  }

  /** What an output does not need any more. */
  #takeSpare(writer: SegmentWriter | undefined): void {
    for (let buffer = writer?.spareBuffer(); buffer !== undefined; buffer = writer?.spareBuffer())
      this.#keep(buffer);
  }

  #spareBuffer(): Uint8Array | undefined {
    const buffer = this.#ports.spare.pop();
    if (buffer === undefined || buffer.length === this.#bufferBytes) return buffer;
    // Runs have another length than those of the copier before.
    this.#ports.spare.length = 0;
    return undefined;
  }

  /** As many as are written at once, and those that are read into. */
  #keep(buffer: Uint8Array): void {
    const { spare, runsAhead } = this.#ports;
    if (spare.length <= writeBuffersMax + runsAhead) spare.push(buffer);
  }
}

function unsyncedBytes({ end, syncedEnd }: SegmentWriter): number {
  return end - Math.max(syncedEnd, segmentDataFrom);
}

/** VARVE_CORRUPT unless frame `i` of the run is the one the tree names. */
function checkFrame(run: FrameRun, i: number, segment: FileNo, frames: LiveFrames, frame: number): void {
  const { bytes } = run;
  const from = frame * chunkIdBytes;
  const idAt = run.idAt[i]!;
  const id = (): Uint8Array => frames.ids.subarray(from, from + chunkIdBytes);
  const isSame = compareRange(frames.ids, from, from + chunkIdBytes, bytes, idAt, idAt + chunkIdBytes) === 0;
  if (!isSame || run.storedLen[i] !== frames.storedLen[frame]) {
    const found = bytes.subarray(idAt, idAt + chunkIdBytes);
    throw corrupt('another chunk lies here than the index says', placeOf(run, i, segment), id(), found);
  }
  if (run.codec[i] !== codecs.raw || bytes[idAt + chunkIdBytes - 1]! % idsChecked !== 0) return;
  const payloadFrom = idAt - chunkFrame.at.chunkId + chunkFrame.size;
  sha256Into(bytes, payloadFrom, payloadFrom + run.storedLen[i]!, digest, 0);
  if (compareRange(digest, 0, chunkIdBytes, bytes, idAt, idAt + chunkIdBytes) === 0) return;
  throw corrupt('the bytes of a chunk are not those of its id', placeOf(run, i, segment), id(), digest);
}

const digest = new Uint8Array(chunkIdBytes);

function placeOf(run: FrameRun, i: number, segment: FileNo): { file: string; offset: number } {
  return { file: filePath('seg', segment), offset: run.off8[i]! * 8 };
}
