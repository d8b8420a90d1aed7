/**
 * Checks one segment: header, trailer, footer, every frame, and that what the chunk index says of it is so.
 * A damaged stretch is one finding, and names the chunks the index places there.
 *
 * Memory: two windows of 3 MiB, or buffers of the ring that threads hash in, and the segment's trailer.
 */
import { compareRange, toHex } from '../base/bytes.ts';
import { corrupt, isDamage, isVarveError, type VarveError } from '../base/errors.ts';
import type { CatalogSegment, CatalogUnsealed } from '../format/catalog.ts';
import { type ChunkFrame, frameBytes } from '../format/chunk-frame.ts';
import { chunkIdBytes, chunkKinds, codecs } from '../format/chunk-ref.ts';
import { filePath } from '../format/file-names.ts';
import { parseListNode } from '../format/list-node.ts';
import { segmentDataFrom, type Trailer } from '../format/segment.ts';
import type { FsPort } from '../fs/port.ts';
import { type HashThreads, IdChecker } from '../pool/id-checker.ts';
import type { WindowBuffers, WindowMemory } from '../segment/frame-window.ts';
import { SegmentReader } from '../segment/segment-reader.ts';
import { scanSegment } from '../segment/segment-scan.ts';
import { SegmentPlaces } from './chunk-places.ts';
import type { Finding, Findings } from './findings.ts';

export interface SegmentCheck {
  readonly fs: FsPort;
  readonly dbUuid: Uint8Array;
  readonly findings: Findings;
  /** Also compute the SHA-256 of every chunk, and look into list nodes. */
  readonly full: boolean;
  /** Threads for SHA-256; undefined: the calling thread. */
  readonly threads: HashThreads | undefined;
  /** To read into where no threads are. */
  readonly buffers: WindowBuffers;
  readonly pause: () => Promise<void> | undefined;
}

/** What the catalog says of a segment. */
export type NamedSegment = CatalogSegment | CatalogUnsealed;

/** Bytes and chunks that were read. */
export interface SegmentChecked {
  readonly bytes: number;
  readonly chunks: number;
}

/** Where the frames that count end. */
export function dataEndOf(segment: NamedSegment): number {
  return 'dataLen' in segment ? segmentDataFrom + segment.dataLen : segment.committedOff8 * 8;
}

/**
 * Checks the segment the catalog names; `places`: what the index says of it, sorted; undefined where the
 * index cannot be read. Damage goes to the findings; VARVE_IO with errno ENOENT when the file is not there.
 */
export async function checkSegment(
  segment: NamedSegment,
  places: SegmentPlaces | undefined,
  check: SegmentCheck,
): Promise<SegmentChecked> {
  const { fs, dbUuid, findings } = check;
  const path = filePath('seg', segment.no);
  const upTo = dataEndOf(segment);
  if (upTo <= segmentDataFrom) return { bytes: 0, chunks: 0 };
  const trailer = 'dataLen' in segment ? await readTrailer(segment, check) : undefined;
  const walk = new FrameWalk(path, places ?? noPlaces, trailer, check);
  try {
    const scanned = await scanSegment(
      fs,
      segment.no,
      path,
      {
        dbUuid,
        upTo,
        memory: walk.memory,
        buffers: check.buffers,
        onDamage: (from, to, error) => walk.damaged(from, to, error),
      },
      (buf, _pos, frame, offset) => walk.frame(buf, frame, offset),
    );
    if (scanned.headerDamage !== undefined) findings.add('segment', scanned.headerDamage);
    if (scanned.limit < upTo) {
      const error = corrupt('segment is cut off', { file: path, offset: scanned.limit }, upTo, scanned.limit);
      walk.damaged(scanned.limit, upTo, error);
    }
    await walk.end(upTo);
    return { bytes: scanned.limit, chunks: scanned.frames };
  } finally {
    walk.release();
  }
}

const noPlaces = new SegmentPlaces();

/** Undefined, and a finding, when it is damaged: the frames are read without it. */
async function readTrailer(segment: CatalogSegment, check: SegmentCheck): Promise<Trailer | undefined> {
  const { fs, dbUuid, findings } = check;
  let reader: SegmentReader;
  try {
    reader = await SegmentReader.open(fs, segment.no, dbUuid);
  } catch (error) {
    // The cause says that the file is gone, which a writer beside the check may have done.
    throw isVarveError(error) && isVarveError(error.cause) ? error.cause : error;
  }
  try {
    return await reader.readTrailer(segment);
  } catch (error) {
    if (!isDamage(error)) throw error;
    if (error !== reader.headerDamage) findings.add('segment', error);
    return undefined;
  } finally {
    await reader.close();
  }
}

/** Follows a scan with the trailer and the places of the index beside it. */
class FrameWalk {
  readonly #path: string;
  readonly #places: SegmentPlaces;
  readonly #trailer: Trailer | undefined;
  readonly #check: SegmentCheck;
  readonly #ids: IdChecker;
  /** Next place that was not met. */
  #next = 0;
  /** Entry of the trailer for the next frame; -1 once the two are out of step. */
  #entry = 0;

  constructor(path: string, places: SegmentPlaces, trailer: Trailer | undefined, check: SegmentCheck) {
    this.#path = path;
    this.#places = places;
    this.#trailer = trailer;
    this.#check = check;
    this.#ids = new IdChecker(check.threads, (offset, id, length) => {
      const error = corrupt('chunk is not what its id says', { file: path, offset });
      check.findings.blame(this.#found(error, frameBytes(length)), toHex(id));
    });
  }

  frame(buf: Uint8Array, frame: ChunkFrame, offset: number): Promise<void> | undefined {
    this.#miss(offset);
    const untrailed = this.#isTrailed(buf, frame, offset);
    const isFull = this.#check.full && frame.codec === codecs.raw;
    const error = untrailed ?? (isFull ? this.#shape(buf, frame, offset) : undefined);
    if (error !== undefined)
      this.#check.findings.blame(
        this.#found(error, frameBytes(frame.storedLen)),
        toHex(buf.subarray(frame.idAt, frame.idAt + chunkIdBytes)),
      );
    const hashing =
      isFull && error === undefined
        ? this.#ids.add(buf, frame.idAt, frame.payloadFrom, frame.payloadTo, offset)
        : undefined;
    this.#place(buf, frame, offset);
    if (hashing === undefined) return this.#check.pause();
    return hashing.then(() => this.#check.pause());
  }

  /** Bytes from..to are no frame: every chunk placed there is damaged. */
  damaged(from: number, to: number, error: VarveError): void {
    this.#miss(from);
    const finding = this.#found(error, to - from);
    const places = this.#places;
    for (; this.#next < places.count; this.#next++) {
      const i = places.at(this.#next);
      if (places.off8[i]! * 8 >= to) break;
      if ((places.kind[i]! & 0x80) !== 0) this.#check.findings.blame(finding, places.hex(i));
    }
    const trailer = this.#trailer;
    if (trailer === undefined) return;
    while (this.#entry < trailer.count && trailer.off8[this.#entry]! * 8 < to) this.#entry++;
  }

  /** Where frames are read to whose bytes are hashed on threads. */
  get memory(): WindowMemory | undefined {
    return this.#check.full && this.#check.threads !== undefined ? () => this.#ids.memory() : undefined;
  }

  /** Resolves once the bytes of every frame have been checked too. */
  async end(upTo: number): Promise<void> {
    this.#miss(upTo);
    // Places beyond the end are of no frame either.
    this.#miss(Number.POSITIVE_INFINITY);
    await this.#ids.finish();
  }

  /** Gives up what is not checked yet. */
  release(): void {
    this.#ids.release();
  }

  /** Places before `offset` that no frame was met at. */
  #miss(offset: number): void {
    const places = this.#places;
    for (; this.#next < places.count; this.#next++) {
      const i = places.at(this.#next);
      const at = places.off8[i]! * 8;
      if (at >= offset) return;
      if ((places.kind[i]! & 0x80) === 0) continue;
      const id = places.hex(i);
      this.#check.findings.blame(
        this.#found(
          corrupt(`chunk ${id} is not where the index says`, { file: this.#path, offset: at }),
          undefined,
        ),
        id,
      );
    }
  }

  /** The index and the frame at its place must agree. */
  #place(buf: Uint8Array, frame: ChunkFrame, offset: number): void {
    const places = this.#places;
    if (this.#next === places.count) return;
    // Chunks of the same place: only one of them can be there.
    while (this.#next < places.count && places.off8[places.at(this.#next)]! * 8 === offset) {
      const i = places.at(this.#next++);
      const same =
        compareRange(places.ids, i * 32, i * 32 + 32, buf, frame.idAt, frame.idAt + 32) === 0 &&
        places.storedLen[i] === frame.storedLen &&
        places.rawLen[i] === frame.rawLen &&
        (places.kind[i]! & 0x7f) === frame.kind;
      if (same || (places.kind[i]! & 0x80) === 0) continue;
      const id = places.hex(i);
      const error = corrupt(`another chunk lies where the index has ${id}`, { file: this.#path, offset });
      this.#check.findings.blame(this.#found(error, undefined), id);
    }
  }

  #isTrailed(buf: Uint8Array, frame: ChunkFrame, offset: number): VarveError | undefined {
    const trailer = this.#trailer;
    if (trailer === undefined) return undefined;
    const i = this.#entry++;
    const same =
      i < trailer.count &&
      trailer.off8[i]! * 8 === offset &&
      trailer.storedLen[i] === frame.storedLen &&
      trailer.rawLen[i] === frame.rawLen &&
      trailer.kind[i] === frame.kind &&
      trailer.codec[i] === frame.codec &&
      compareRange(trailer.ids, i * 32, i * 32 + 32, buf, frame.idAt, frame.idAt + 32) === 0;
    return same ? undefined : corrupt('frame and trailer do not agree', { file: this.#path, offset });
  }

  /** What is wrong with the bytes of a list node. */
  #shape(buf: Uint8Array, frame: ChunkFrame, offset: number): VarveError | undefined {
    if (frame.kind !== chunkKinds.list) return undefined;
    try {
      parseListNode(buf.subarray(frame.payloadFrom, frame.payloadTo), { file: this.#path, offset });
      return undefined;
    } catch (error) {
      if (!isDamage(error)) throw error;
      return error;
    }
  }

  #found(error: VarveError, length: number | undefined): Finding | undefined {
    return this.#check.findings.add('chunk', error, length === undefined ? {} : { length });
  }
}
