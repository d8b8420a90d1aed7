/**
 * The segments of a damaged store: which are whole, and those that are not, or never were sealed, written
 * anew from their whole frames. Every chunk is compared with its id on the way, unless the check before the
 * repair has done that.
 *
 * Whole is what a catalog calls sealed: it was on disk before. A segment that only its own footer calls so
 * may have bytes that are in the cache of the kernel alone, also behind a sync that failed, and no later
 * sync would tell. Without any catalog all segments are like that: to write everything anew would take as
 * much room again, so they are synced and taken.
 *
 * Memory: one window of 4 MiB, the ids of list nodes, and 47 B for each frame of a segment written anew.
 */
import type { FileNo } from '../base/brands.ts';
import { compareRange, toHex } from '../base/bytes.ts';
import { isDamage } from '../base/errors.ts';
import type { Catalog, CatalogSegment } from '../format/catalog.ts';
import type { ChunkFrame } from '../format/chunk-frame.ts';
import { chunkIdBytes, chunkKinds, codecs } from '../format/chunk-ref.ts';
import { filePath } from '../format/file-names.ts';
import { segmentDataFrom, streamClasses, type Trailer, TrailerBuilder } from '../format/segment.ts';
import { hasErrno } from '../fs/dirs.ts';
import type { FsPort } from '../fs/port.ts';
import { sha256Into } from '../kernels/hash/sha256.ts';
import { SegmentReader } from '../segment/segment-reader.ts';
import { type ScanResult, scanSegment } from '../segment/segment-scan.ts';
import { SegmentWriter } from '../segment/segment-writer.ts';

/** Where a frame lies that is whole. */
export interface FramePlace {
  readonly segment: FileNo;
  readonly off8: number;
  readonly storedLen: number;
}

/** A segment whose frames may be used, as it is to be named. */
export interface UsableSegment {
  readonly info: CatalogSegment;
  /** Frames in memory where the file does not (yet) have this trailer; else they are read from it. */
  readonly trailer: Trailer | undefined;
  /** Some frame of it is needed where it says; decided later for those nobody named. */
  isNamed: boolean;
}

export interface SegmentRepair {
  readonly fs: FsPort;
  readonly dbUuid: Uint8Array;
  readonly random: (n: number) => Uint8Array;
  readonly takeFileNo: () => FileNo;
  readonly dryRun: boolean;
  /** Sealed segments that are known to be whole: their trailers say what they hold. */
  readonly sound: ReadonlySet<FileNo>;
  readonly pause: () => Promise<void> | undefined;
  readonly onAction: (what: string) => void;
  readonly onBytes: (bytes: number) => void;
}

export interface RepairedSegments {
  readonly usable: UsableSegment[];
  /** List nodes by id (hex). */
  readonly nodes: Map<string, FramePlace>;
  /** Files replaced by others. */
  readonly replaced: FileNo[];
  /** Chunks of damaged segments were told of: whether anything needs them is known when rows are counted. */
  hasDamage: boolean;
}

/**
 * Goes through every file of `numbers`, named ones first. `ends`: how far a segment that is not sealed counts
 * at least.
 */
export async function repairSegments(
  numbers: readonly FileNo[],
  catalog: Catalog | undefined,
  ends: ReadonlyMap<FileNo, number>,
  work: SegmentRepair,
): Promise<RepairedSegments> {
  const out: RepairedSegments = { usable: [], nodes: new Map(), replaced: [], hasDamage: false };
  const sealed = new Map(catalog?.sealed.map((info) => [info.no, info]));
  const open = new Map(catalog?.unsealed.map((info) => [info.no, info]));
  const isNamed = (no: FileNo): boolean =>
    catalog === undefined || sealed.has(no) || open.has(no) || ends.has(no);
  const ordered = [...numbers].sort((a, b) => Number(isNamed(b)) - Number(isNamed(a)) || a - b);
  for (const no of ordered) {
    const info = sealed.get(no);
    const named: Named = {
      no,
      info,
      committedEnd: Math.max((open.get(no)?.committedOff8 ?? 0) * 8, ends.get(no) ?? 0),
      streamClass: info?.class ?? open.get(no)?.class ?? streamClasses.data0,
      isNamed: isNamed(no),
      byFooter: catalog === undefined,
    };
    await one(named, work, out);
  }
  return out;
}

/** What is known of a segment without its file. */
interface Named {
  readonly no: FileNo;
  /** Of the catalog that calls it sealed. */
  readonly info: CatalogSegment | undefined;
  readonly committedEnd: number;
  readonly streamClass: number;
  readonly isNamed: boolean;
  /** There is no catalog: its footer is believed. */
  readonly byFooter: boolean;
}

const digest = new Uint8Array(32);

/** The chunk is what its id says, as far as its codec lets that be seen. */
function isGood(buf: Uint8Array, frame: ChunkFrame): boolean {
  if (frame.codec !== codecs.raw) return true;
  sha256Into(buf, frame.payloadFrom, frame.payloadTo, digest, 0);
  return compareRange(digest, 0, 32, buf, frame.idAt, frame.idAt + 32) === 0;
}

/** What a segment holds. */
interface Held {
  readonly frames: TrailerBuilder;
  readonly places: { readonly id: string; readonly place: FramePlace }[];
  /** Frames that are not what their ids say. */
  bad: number;
  /** Theirs, and those that belong to no whole frame. */
  damagedBytes: number;
}

async function one(
  { no, info: known, committedEnd, streamClass, isNamed, byFooter }: Named,
  work: SegmentRepair,
  out: RepairedSegments,
): Promise<void> {
  const { onAction } = work;
  const path = filePath('seg', no);
  if (known !== undefined && work.sound.has(no)) {
    await takeSound(no, known, isNamed, work, out);
    return;
  }
  const held: Held = { frames: new TrailerBuilder(), places: [], bad: 0, damagedBytes: 0 };
  let scanned: ScanResult;
  try {
    scanned = await scanHeld(no, known, held, work);
  } catch (error) {
    if (!isDamage(error) && !hasErrno(error, 'ENOENT')) throw error;
    onAction(`segment ${path} cannot be read: its chunks are looked for elsewhere`);
    out.hasDamage = true;
    return;
  }
  const { frames, places, bad, damagedBytes } = held;
  const take = (info: CatalogSegment, trailer: Trailer | undefined): void => {
    out.usable.push({ info, trailer, isNamed });
    for (const { id, place } of places) if (!out.nodes.has(id)) out.nodes.set(id, place);
  };
  const mayStay = damagedBytes === 0 && (known !== undefined || byFooter);
  const whole = mayStay ? await sealedInfo(no, known, work) : undefined;
  if (whole !== undefined) {
    take(whole, undefined);
    return;
  }
  const isCut = scanned.firstInvalid !== undefined && scanned.firstInvalid < committedEnd;
  const wasSealed = known !== undefined || (byFooter && scanned.footer !== undefined);
  if (wasSealed || isCut || bad > 0 || scanned.headerDamage !== undefined) {
    const rest = damagedBytes > 0 ? `${damagedBytes} damaged bytes are left behind` : 'no chunk is damaged';
    onAction(`${path} is damaged: its ${frames.count} whole chunks are written to a new segment, ${rest}`);
    out.hasDamage = true;
  }
  if (frames.count === 0) {
    if (isNamed) out.replaced.push(no);
    return;
  }
  out.replaced.push(no);
  if (!work.dryRun) {
    await rewrite(no, streamClass, isNamed, work, out);
    return;
  }
  const trailer = frames.toTrailer(true);
  const info = { no, class: streamClass, size: 0, frames: trailer.count, dataLen: 0, trailerChecksum: 0n };
  take(info, trailer);
}

/** Takes a segment as it is, by its trailer. VARVE_CORRUPT when that is damaged since it was checked. */
async function takeSound(
  no: FileNo,
  info: CatalogSegment,
  isNamed: boolean,
  { fs, dbUuid, onBytes, pause }: SegmentRepair,
  out: RepairedSegments,
): Promise<void> {
  const reader = await SegmentReader.open(fs, no, dbUuid);
  try {
    const { count, ids, off8, storedLen, kind } = await reader.readTrailer(info);
    for (let i = 0; i < count; i++) {
      if (kind[i] !== chunkKinds.list) continue;
      const id = toHex(ids.subarray(i * chunkIdBytes, (i + 1) * chunkIdBytes));
      const place = { segment: no, off8: off8[i]!, storedLen: storedLen[i]! };
      if (!out.nodes.has(id)) out.nodes.set(id, place);
    }
  } finally {
    await reader.close();
  }
  out.usable.push({ info, trailer: undefined, isNamed });
  onBytes(info.dataLen);
  await pause();
}

/** Goes through the frames of a segment. */
async function scanHeld(
  no: FileNo,
  known: CatalogSegment | undefined,
  held: Held,
  { fs, dbUuid, onBytes, pause }: SegmentRepair,
): Promise<ScanResult> {
  const { frames, places } = held;
  const options = {
    dbUuid,
    ...(known === undefined ? {} : { upTo: segmentDataFrom + known.dataLen }),
    onDamage: (from: number, to: number): void => {
      held.damagedBytes += to - from;
    },
  };
  return await scanSegment(fs, no, filePath('seg', no), options, (buf, pos, frame, offset) => {
    onBytes(frame.next - pos);
    if (!isGood(buf, frame)) {
      held.bad++;
      held.damagedBytes += frame.next - pos;
      return pause();
    }
    const { idAt, storedLen, rawLen, kind, codec } = frame;
    frames.add(buf, idAt, offset / 8, storedLen, rawLen, kind, codec);
    if (kind === chunkKinds.list) {
      const place = { segment: no, off8: offset / 8, storedLen };
      places.push({ id: toHex(buf.subarray(idAt, idAt + 32)), place });
    }
    return pause();
  });
}

/**
 * A segment as the catalog is to name it, on disk; undefined when header, trailer or footer are not whole.
 */
async function sealedInfo(
  no: FileNo,
  known: CatalogSegment | undefined,
  { fs, dbUuid, dryRun }: SegmentRepair,
): Promise<CatalogSegment | undefined> {
  if (known === undefined && !dryRun) await syncFile(fs, filePath('seg', no));
  const reader = await SegmentReader.open(fs, no, dbUuid);
  try {
    const info = known ?? (await reader.describe());
    if (info === undefined) return undefined;
    await reader.readTrailer(info);
    return info;
  } catch (error) {
    if (!isDamage(error)) throw error;
    return undefined;
  } finally {
    await reader.close();
  }
}

async function syncFile(fs: FsPort, path: string): Promise<void> {
  const file = await fs.open(path, 'rw');
  try {
    await file.sync();
  } finally {
    await file.close();
  }
}

/** Copies the whole frames of a segment into a new, sealed one. */
async function rewrite(
  from: FileNo,
  streamClass: number,
  isNamed: boolean,
  work: SegmentRepair,
  out: RepairedSegments,
): Promise<void> {
  const { fs, dbUuid, random, takeFileNo } = work;
  const no = takeFileNo();
  const writer = await SegmentWriter.create(fs, { no, class: streamClass, dbUuid, salt: random(12) });
  try {
    await scanSegment(fs, from, filePath('seg', from), { dbUuid }, async (buf, pos, frame) => {
      if (!isGood(buf, frame)) return;
      const off8 = writer.appendFrame(buf, pos, frame);
      if (frame.kind === chunkKinds.list) {
        const id = toHex(buf.subarray(frame.idAt, frame.idAt + 32));
        if (!out.nodes.has(id)) out.nodes.set(id, { segment: no, off8, storedLen: frame.storedLen });
      }
      if (writer.needsDrain) await writer.drain();
    });
    const info = await writer.seal({ byRecovery: true });
    out.usable.push({ info, trailer: undefined, isNamed });
  } finally {
    await writer.close();
  }
}
