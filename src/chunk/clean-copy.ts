/**
 * Copies live frames of segments that are to be emptied, bit for bit, into new sealed segments. Each frame is
 * checked as it is read: its checksum, its id against the tree's, and of some the bytes against the id.
 *
 * Nothing refers to a copy before the caller logs where the chunks lie now; until then `discard` removes
 * everything.
 *
 * Frames go from the buffer they are read into to the disk without being copied in memory, but for what moves
 * them together: the buffer itself becomes a write buffer of the output. While a batch is checked the next
 * ones are read, and while an output is synced the next one fills.
 *
 * Invariants (test/engine/cleaner.test.ts, test/chunk/clean-copy.test.ts)
 * - What is copied equals what was read, bit for bit ("frames are copied verbatim", "any frames, live in any
 *   pattern and damaged anywhere, are copied as they are").
 * - A damaged frame is reported and not copied; the others are ("a damaged frame keeps its segment").
 * - Memory does not grow with what is copied ("buffers are used again, however much is copied").
 */
import type { FileNo } from '../base/brands.ts';
import { align8 } from '../base/bytes.ts';
import { corrupt, isDamage, type VarveError } from '../base/errors.ts';
import { KiB } from '../base/limits.ts';
import { type ChunkFrame, describeChunkFrame, frameBytes } from '../format/chunk-frame.ts';
import { filePath } from '../format/file-names.ts';
import { type SealedSegment, segmentDataFrom, streamClasses } from '../format/segment.ts';
import type { FsPort } from '../fs/port.ts';
import type { SegmentSet } from '../segment/segment-set.ts';
import { SegmentWriter } from '../segment/segment-writer.ts';
import { DirectBuffers } from '../segment/write-buffer.ts';
import { LiveBatch } from './live-batch.ts';
import type { LiveFrames } from './liveness.ts';
import { Moves } from './moves.ts';

/** A batch on its way into a buffer. */
interface Reading {
  readonly batch: LiveBatch;
  readonly buffer: Uint8Array;
  readonly done: Promise<void>;
}

/** Least bytes read, and written, at once. */
const bufferBytesMin = 16 * KiB;
/** Buffers that wait to be written, at most: each may have little in it. */
const handedMax = 8;

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
  /**
   * Buffers nobody uses, for this copier and later ones. Each new one would be memory to clear, and a heap as
   * small as this one is searched for garbage behind every few.
   */
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
  readonly #direct = new DirectBuffers();
  readonly #created: FileNo[] = [];
  #writer: SegmentWriter | undefined;
  /** The output before `#writer`, on its way to the disk. */
  #sealing: Promise<void> | undefined;
  /** Buffers that outputs have. */
  #handed = 0;

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
    if (!this.#ports.segments.has(segment))
      throw corrupt('segment is not live', { file: filePath('seg', segment) });
    const damage: VarveError[] = [];
    const order = frames.inOrder();
    const begin = (from: number, to: number): Promise<Reading> =>
      this.#begin(segment, frames, order, from, to);
    const ahead: Reading[] = [];
    let reading: Reading | undefined;
    // What cannot be read at once is read frame by frame: some of it may be whole.
    let alone = 0;
    try {
      for (let i = 0; i < order.length; ) {
        if (i < alone) reading = await begin(i, i + 1);
        else {
          reading = ahead.shift() ?? (await begin(i, order.length));
          // Before this one is waited for, so that the disk has something to do meanwhile.
          await this.#fill(ahead, reading.batch.next, order.length, begin);
        }
        const { batch, buffer } = reading;
        try {
          await reading.done;
        } catch (error) {
          if (!isDamage(error)) throw error;
          this.#keep(buffer);
          if (batch.count > 1) alone = batch.next;
          else {
            damage.push(error);
            i = batch.next;
          }
          continue;
        }
        damage.push(...batch.gather());
        i = batch.next;
        await this.#append(batch, segment, frames, buffer);
      }
    } finally {
      await Promise.allSettled([reading, ...ahead].map((one) => one?.done));
      for (const { buffer } of ahead) this.#keep(buffer);
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

  /** Begins batches from the live frame `from` on, until as many are under way as may be. */
  async #fill(
    ahead: Reading[],
    from: number,
    to: number,
    begin: (from: number, to: number) => Promise<Reading>,
  ): Promise<void> {
    let next = ahead.at(-1)?.batch.next ?? from;
    while (ahead.length < this.#ports.runsAhead && next < to) {
      const reading = await begin(next, to);
      ahead.push(reading);
      next = reading.batch.next;
    }
  }

  async #begin(
    segment: FileNo,
    frames: LiveFrames,
    order: Uint32Array,
    from: number,
    to: number,
  ): Promise<Reading> {
    const buffer = this.#spareBuffer() ?? new Uint8Array(this.#bufferBytes);
    const batch = new LiveBatch(segment, frames, order, from, to, buffer);
    await this.#ports.spend(batch.readBytes);
    const done = batch.read(this.#ports.segments);
    // Whoever waits for it is told.
    done.catch(() => undefined);
    return { batch, buffer, done };
  }

  /** Appends what was gathered, and goes on in a new output where one is full. Takes `lent`. */
  async #append(batch: LiveBatch, segment: FileNo, frames: LiveFrames, lent: Uint8Array): Promise<void> {
    const { kept, length } = batch;
    let pos = 0;
    let users = 1;
    const done = (): void => {
      if (--users === 0) this.#keep(lent);
    };
    for (let from = 0; from < kept.length; ) {
      const writer = this.#writer ?? (await this.#open());
      let to = from;
      let end = pos;
      for (; to < kept.length; to++) {
        const next = end + frameBytes(frames.storedLen[kept[to]!]!);
        // One frame is always allowed.
        if (writer.end + next - pos > this.#ports.segmentBytes && writer.frames + to > from) break;
        end = next;
      }
      if (to > from) {
        users++;
        const run = batch.bytes.subarray(pos, end);
        this.#appendRun(writer, run, kept.slice(from, to), segment, frames, done);
      }
      if (to < kept.length) await this.#seal();
      from = to;
      pos = end;
    }
    done();
    if (length === 0) return;
    this.copiedBytes += length;
    await this.#write();
    await this.#ports.spend(length);
  }

  /** Hands frames that lie back to back to an output, which borrows them until `done`; notes the moves. */
  #appendRun(
    writer: SegmentWriter,
    run: Uint8Array,
    kept: readonly number[],
    segment: FileNo,
    frames: LiveFrames,
    done: () => void,
  ): void {
    let pos = 0;
    let off8 = writer.end / 8;
    const describe = (i: number, frame: ChunkFrame): void => {
      describeChunkFrame(run, pos, frame);
      const { idAt, storedLen, rawLen, kind } = frame;
      this.moves.add(run, idAt, segment, frames.off8[kept[i]!]!, writer.no, off8, storedLen, rawLen, kind);
      off8 += (frame.next - pos) / 8;
      pos = frame.next;
    };
    writer.appendRun(run, run.length, kept.length, describe, () => {
      this.#handed--;
      done();
    });
    this.#handed++;
  }

  /** Waits where more is handed to outputs than may wait there. */
  async #write(): Promise<void> {
    const writer = this.#writer!;
    if (this.#handed >= handedMax) await writer.flush();
    else if (writer.needsDrain) await writer.drain();
    // Where others wait for the disk, the sync of the whole output would hold them up for long.
    const bytes = unsyncedBytes(writer);
    if (bytes >= this.#ports.unsyncedMax()) await this.#ports.sync(bytes, () => writer.sync());
  }

  async #open(): Promise<SegmentWriter> {
    const { fs, dbUuid, random, takeFileNo } = this.#ports;
    const no = takeFileNo();
    this.#created.push(no);
    const identity = { no, class: streamClasses.gc, dbUuid, salt: random(12) };
    const memory = { bufferBytes: this.#bufferBytes, direct: this.#direct };
    this.#writer = await SegmentWriter.create(fs, { ...identity, ...memory });
    // What little is moved stays in the system's cache.
    if (this.#created.length > 1) this.#writer.expectBulk();
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
      this.outputs.push(await this.#ports.sync(unsyncedBytes(writer), () => writer.seal()));
    } finally {
      await writer.close();
    }
  }

  #spareBuffer(): Uint8Array | undefined {
    const buffer = this.#ports.spare.pop();
    if (buffer === undefined || buffer.length === this.#bufferBytes) return buffer;
    // Runs have another length than those of the copier before.
    this.#ports.spare.length = 0;
    return undefined;
  }

  #keep(buffer: Uint8Array): void {
    this.#ports.spare.push(buffer);
  }
}

function unsyncedBytes({ end, syncedEnd }: SegmentWriter): number {
  return end - Math.max(syncedEnd, segmentDataFrom);
}
