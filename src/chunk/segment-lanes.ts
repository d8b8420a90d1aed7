/**
 * The segments being written: one lane per stream class, so that concurrent large values do not interleave
 * (what is read together was written together). A lane rolls to a new segment when its target is reached;
 * the old one is sealed in the background.
 *
 * Invariants (test/chunk/chunk-store.test.ts):
 * - a segment is registered with the segment set before its first frame and stays until it is removed;
 * - every segment is open, sealing or in `sealed()`, never in two of them and never in none;
 * - a failed write or seal is reported once through `onFailed` and the segment stays unsealed.
 */
import type { FileNo } from '../base/brands.ts';
import { MiB, segmentBytesTarget } from '../base/limits.ts';
import type { CatalogSegment, CatalogUnsealed } from '../format/catalog.ts';
import { dataClassCount, streamClasses } from '../format/segment.ts';
import type { FsPort } from '../fs/port.ts';
import type { SegmentSet } from '../segment/segment-set.ts';
import { SegmentWriter } from '../segment/segment-writer.ts';
import { DirectBuffers } from '../segment/write-buffer.ts';

export interface LanesOptions {
  readonly fs: FsPort;
  readonly dbUuid: Uint8Array;
  readonly random: (n: number) => Uint8Array;
  readonly takeFileNo: () => FileNo;
  readonly segments: SegmentSet;
  /** Bytes at which a lane rolls; segmentBytesTarget when not given. */
  readonly segmentBytes?: number;
  /** See SegmentWriterOptions. */
  readonly syncAheadBytes?: number | undefined;
  /** Smaller in tests. */
  readonly bulk?: BulkWrites | undefined;
  readonly onOpened: (segment: FileNo) => void;
  readonly onSealed: (segment: FileNo) => void;
  readonly onFailed: (error: unknown) => void;
}

/** What a value stores beyond `fromBytes` goes past the system's cache: nobody reads it at once. */
export interface BulkWrites {
  readonly fromBytes: number;
  readonly buffers: DirectBuffers;
}

const bulkFromBytes = 4 * MiB;

interface Lane {
  users: number;
  writer: SegmentWriter | undefined;
  opening: Promise<SegmentWriter> | undefined;
}

export class SegmentLanes {
  readonly #options: LanesOptions;
  readonly #segmentBytes: number;
  readonly bulk: BulkWrites;
  readonly #lanes = new Map<number, Lane>();
  readonly #unsealed = new Map<FileNo, SegmentWriter>();
  readonly #sealing = new Set<Promise<void>>();
  readonly #sealed = new Map<FileNo, CatalogSegment>();
  #failed = false;

  constructor(options: LanesOptions, sealed: Iterable<CatalogSegment>) {
    this.#options = options;
    this.bulk = options.bulk ?? { fromBytes: bulkFromBytes, buffers: new DirectBuffers() };
    this.#segmentBytes = options.segmentBytes ?? segmentBytesTarget;
    for (const info of sealed) this.#sealed.set(info.no, info);
  }

  /** Picks the data lane with the fewest users; give it back with `releaseData`. */
  acquireData(): number {
    let best = 0;
    for (let lane = 1; lane < dataClassCount; lane++) {
      if (this.#lane(lane).users < this.#lane(best).users) best = lane;
    }
    this.#lane(best).users++;
    return best;
  }

  releaseData(lane: number): void {
    this.#lane(lane).users--;
  }

  /** The lane's writer when a frame can be appended at once, else undefined: then await `ready`. */
  current(lane: number): SegmentWriter | undefined {
    const { writer } = this.#lane(lane);
    if (writer === undefined || writer.needsDrain || writer.end >= this.#segmentBytes) return undefined;
    return writer;
  }

  /** Bytes of the lane wait for the disk: nothing more should be appended for now. */
  isFull(lane: number): boolean {
    return this.#lane(lane).writer?.needsDrain === true;
  }

  /**
   * Drains, rolls or opens a segment until the lane had room. Others may have used it up when the promise
   * settles: ask `current` again, and take its writer before anything else runs.
   */
  async ready(lane: number): Promise<void> {
    while (this.current(lane) === undefined) {
      const state = this.#lane(lane);
      const writer = state.writer;
      if (writer === undefined) {
        state.opening ??= this.#open(lane, state).finally(() => {
          state.opening = undefined;
        });
        await state.opening;
      } else if (writer.end >= this.#segmentBytes) this.#roll(state, writer);
      else await this.#drain(writer);
    }
  }

  /** A write to a segment failed: what was appended may never reach the disk. Reported once. */
  reportFailure(error: unknown): void {
    if (!this.#failed) this.#options.onFailed(error);
    this.#failed = true;
  }

  /** The writer of a segment that is not sealed yet: what a frame naming it must sync. */
  writerOf(segment: FileNo): SegmentWriter | undefined {
    return this.#unsealed.get(segment);
  }

  sealed(): CatalogSegment[] {
    return Array.from(this.#sealed.values());
  }

  /** Segments not sealed, with the end of what is durable in each. */
  unsealed(): CatalogUnsealed[] {
    return Array.from(this.#unsealed.values(), (writer) => ({
      no: writer.no,
      class: writer.class,
      committedOff8: Math.floor(writer.syncedEnd / 8),
    }));
  }

  /** Segments not sealed: bytes of the files, and of the frames in them. */
  openBytes(): { count: number; bytes: number; dataBytes: number } {
    let bytes = 0;
    let dataBytes = 0;
    for (const writer of this.#unsealed.values()) {
      bytes += writer.end;
      dataBytes += writer.dataLen;
    }
    return { count: this.#unsealed.size, bytes, dataBytes };
  }

  /** The segments being written: what they hold may still grow. */
  open(): readonly SegmentWriter[] {
    return Array.from(this.#unsealed.values());
  }

  /** Seals a segment before it is full, so that it can be cleaned; nothing where it is not being written. */
  async roll(segment: FileNo): Promise<void> {
    for (const lane of this.#lanes.values()) {
      if (lane.writer?.no === segment) this.#roll(lane, lane.writer);
    }
    await Promise.all(this.#sealing);
  }

  /** Takes a segment that was written and sealed elsewhere; the next install names it. */
  adopt(info: CatalogSegment): void {
    this.#sealed.set(info.no, info);
  }

  /** A sealed segment is live no longer: its removal is installed. */
  forget(segment: FileNo): void {
    this.#sealed.delete(segment);
  }

  /** Everything appended so far is on disk. */
  async syncAll(): Promise<void> {
    await Promise.all(Array.from(this.#unsealed.values(), (writer) => writer.sync()));
  }

  /** Seals every segment; nothing may be appended while it runs. */
  async sealAll(): Promise<void> {
    for (const lane of this.#lanes.values()) {
      if (lane.writer !== undefined) this.#roll(lane, lane.writer);
    }
    await Promise.all(this.#sealing);
  }

  /** Closes files without sealing, after a failure. */
  async abandon(): Promise<void> {
    await Promise.allSettled(this.#sealing);
    for (const writer of this.#unsealed.values()) await writer.close();
  }

  #lane(lane: number): Lane {
    let state = this.#lanes.get(lane);
    if (state === undefined) {
      state = { users: 0, writer: undefined, opening: undefined };
      this.#lanes.set(lane, state);
    }
    return state;
  }

  async #open(lane: number, state: Lane): Promise<SegmentWriter> {
    const { fs, dbUuid, random, takeFileNo, segments } = this.#options;
    const no = takeFileNo();
    const { syncAheadBytes } = this.#options;
    const salt = random(12);
    const direct = this.bulk.buffers;
    const writer = await SegmentWriter.create(fs, { no, class: lane, dbUuid, salt, syncAheadBytes, direct });
    this.#unsealed.set(no, writer);
    segments.addWriter(writer);
    this.#options.onOpened(no);
    state.writer = writer;
    return writer;
  }

  #roll(state: Lane, writer: SegmentWriter): void {
    state.writer = undefined;
    const sealing = this.#seal(writer).finally(() => this.#sealing.delete(sealing));
    this.#sealing.add(sealing);
  }

  async #seal(writer: SegmentWriter): Promise<void> {
    try {
      const info = await writer.seal();
      await writer.close();
      this.#options.segments.seal(writer.no, info);
      this.#sealed.set(writer.no, info);
      this.#unsealed.delete(writer.no);
      this.#options.onSealed(writer.no);
    } catch (error) {
      this.reportFailure(error);
    }
  }

  async #drain(writer: SegmentWriter): Promise<void> {
    try {
      await writer.drain();
    } catch (error) {
      this.reportFailure(error);
      throw error;
    }
  }
}

/** The lane of list nodes. */
export const listLane: number = streamClasses.list;
