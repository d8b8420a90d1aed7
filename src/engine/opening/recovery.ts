/**
 * Replay: the log behind the checkpoint is applied to the trees by the visitor that applied it live.
 *
 * Before a frame is applied its list nodes are read (their children are counted at birth). In `os` and group
 * mode the chunks of frames that were never proven durable are checked too, and the log is cut at the first
 * frame whose chunks are missing, or lie behind a hole in their segment; in `full` mode that is damage.
 *
 * Invariants (test/engine/recovery.test.ts, test/crash):
 * - recovery is a function of what is durable: repeating it, or crashing inside it, gives the same state;
 * - nothing is written here.
 */
import type { FileNo, Seq } from '../../base/brands.ts';
import { toHex } from '../../base/bytes.ts';
import { isDamage, isPassing, isVarveError, type VarveError } from '../../base/errors.ts';
import type { CatalogSegment } from '../../format/catalog.ts';
import { frameBytes } from '../../format/chunk-frame.ts';
import { chunkIdBytes, chunkKinds } from '../../format/chunk-ref.ts';
import { filePath } from '../../format/file-names.ts';
import { frameTypes, lastSeqOf } from '../../format/log-frame.ts';
import { type OpVisitor, silentOps, visitOps, visitStage } from '../../format/log-ops.ts';
import { segmentDataFrom } from '../../format/segment.ts';
import type { FsPort } from '../../fs/port.ts';
import type { LogChain } from '../../log/log-chain.ts';
import type { LogFrame } from '../../log/log-reader.ts';
import { scanSegment } from '../../segment/segment-scan.ts';
import type { SegmentSet } from '../../segment/segment-set.ts';
import type { Forest } from '../../tree/forest.ts';
import { Applier } from '../../txn/applier.ts';
import type { HealthBook } from '../health/health-book.ts';
import { zerosWhereUnreadable } from './unreadable.ts';

export interface ReplayOptions {
  readonly fs: FsPort;
  readonly dbUuid: Uint8Array;
  readonly chain: LogChain;
  readonly forest: Forest;
  readonly segments: SegmentSet;
  /** Segments that the catalog knows as sealed, and so as whole. */
  readonly sealed: readonly CatalogSegment[];
  readonly health: HealthBook;
}

export interface Replayed {
  /** Frames applied: all of them, or those before the cut. */
  readonly frames: number;
  readonly lastSeq: Seq;
  /** For each segment a frame of the log names: the end of the last frame named in it. */
  readonly named: ReadonlyMap<FileNo, number>;
  /** Something is missing that was durable. */
  readonly damaged: boolean;
}

interface NamedFrame {
  readonly id: Uint8Array;
  readonly segment: FileNo;
  readonly off8: number;
  readonly storedLen: number;
  readonly isList: boolean;
}

/** Applies every frame of the chain. VARVE_FORMAT_VERSION on an op this build does not know. */
export async function replay(options: ReplayOptions): Promise<Replayed> {
  const { chain, forest, segments, health } = options;
  const named = new Map<FileNo, number>();
  let nodes = new Map<string, Uint8Array>();
  let damaged = false;
  const applier = new Applier(forest, {
    nodes: (id) => nodes.get(toHex(id)),
    onNodeBorn: () => undefined,
    onNodeDied: () => undefined,
    onTrash: () => undefined,
    onNodeMissing: (error) => {
      damaged = true;
      health.note(error);
    },
  });
  const lost = (error: unknown, frame: LogFrame): void => {
    damaged = true;
    health.note(error);
    health.noteMissing(frame.seqFirst, lastSeqOf(frame));
  };
  const wholeUpTo = wholeEnds(options, (error) => {
    damaged = true;
    health.note(error);
  });
  let frames = 0;
  let lastSeq = 0;
  for (; frames < chain.frames.length; frames++) {
    const frame = chain.frames.at(frames);
    if (frame.type !== frameTypes.batch && frame.type !== frameTypes.stage) {
      lastSeq = lastSeqOf(frame);
      continue;
    }
    const payload = await payloadOf(chain, frame, lost);
    if (payload === undefined) continue;
    const unproven = chain.isUnproven(frame);
    if (unproven && !(await isReached(frame, payload, wholeUpTo))) break;
    const wanted = framesNamed(frame, payload, unproven);
    const read = await readNamed(wanted, segments, health, unproven);
    if (unproven && read.missing) break;
    if (read.unreadable) damaged = true;
    nodes = read.nodes;
    if (frame.type === frameTypes.batch) applier.begin(frame.seqFirst, frame.commitTimeMs);
    else applier.timeMs = frame.commitTimeMs;
    try {
      visitFrame(frame, payload, applier);
    } catch (error) {
      // A chunk that moved is looked up in the tables, and one of them may be damaged.
      if (!isDamage(error)) throw error;
      lost(error, frame);
    }
    noteNamed(frame, payload, named);
    lastSeq = lastSeqOf(frame);
  }
  return { frames, lastSeq, named, damaged };
}

/** Undefined, and told to `lost`, when the disk no longer gives what it gave when the log was listed. */
async function payloadOf(
  chain: LogChain,
  frame: LogFrame,
  lost: (error: unknown, frame: LogFrame) => void,
): Promise<Uint8Array | undefined> {
  try {
    return await chain.readPayload(frame);
  } catch (error) {
    if (!isDamage(error)) throw error;
    lost(error, frame);
    return undefined;
  }
}

function visitFrame(frame: LogFrame, payload: Uint8Array, visitor: OpVisitor): void {
  const place = { file: frame.path, offset: frame.offset };
  if (frame.type === frameTypes.stage) visitStage(payload, 0, payload.length, frame.seqFirst, visitor, place);
  else visitOps(payload, 0, payload.length, frame.seqFirst, frame.count, visitor, place);
}

/** Chunk frames that must be read before the log frame can be applied: list nodes, or all when asked. */
function framesNamed(frame: LogFrame, payload: Uint8Array, all: boolean): NamedFrame[] {
  const wanted: NamedFrame[] = [];
  visitFrame(frame, payload, {
    ...silentOps,
    chunk: (_seq, buf, idAt, segment, off8, storedLen, _rawLen, kind) => {
      const isList = kind === chunkKinds.list;
      if (!isList && !all) return;
      wanted.push({ id: buf.slice(idAt, idAt + chunkIdBytes), segment, off8, storedLen, isList });
    },
    move: (_seq, buf, idAt, segment, off8, storedLen) => {
      if (!all) return;
      wanted.push({ id: buf.slice(idAt, idAt + chunkIdBytes), segment, off8, storedLen, isList: false });
    },
  });
  return wanted;
}

async function readNamed(
  wanted: readonly NamedFrame[],
  segments: SegmentSet,
  health: HealthBook,
  mayBeMissing: boolean,
): Promise<{ nodes: Map<string, Uint8Array>; missing: boolean; unreadable: boolean }> {
  const nodes = new Map<string, Uint8Array>();
  let unreadable = false;
  for (const { id, segment, off8, storedLen, isList } of wanted) {
    if (!segments.has(segment)) segments.add(segment);
    let bytes: Uint8Array | undefined;
    try {
      bytes = await segments.readFrame(segment, off8, storedLen, id);
    } catch (error) {
      if (!isVarveError(error, 'VARVE_CORRUPT', 'VARVE_IO') || isPassing(error)) throw error;
      // A read that failed says nothing of what is there: the log is not to be cut for it.
      const failed = isVarveError(error, 'VARVE_IO');
      if (failed) unreadable = true;
      if (failed || !mayBeMissing) health.note(error);
      if (failed) continue;
    }
    if (bytes === undefined && mayBeMissing) return { nodes, missing: true, unreadable };
    if (bytes !== undefined && isList) nodes.set(toHex(id), bytes);
  }
  return { nodes, missing: false, unreadable };
}

/**
 * How far a segment is whole from its front, header included; each is scanned once, sealed ones never. One
 * that cannot be read counts as whole and goes to `unreadable`: the log is not to be cut for it.
 */
function wholeEnds(
  { fs, dbUuid, sealed }: ReplayOptions,
  unreadable: (error: VarveError) => void,
): (segment: FileNo) => Promise<number> {
  const ends = new Map<FileNo, number>(sealed.map(({ no, dataLen }) => [no, segmentDataFrom + dataLen]));
  return async (segment) => {
    let end = ends.get(segment);
    if (end === undefined) {
      end = await wholeEnd(fs, dbUuid, segment, unreadable);
      ends.set(segment, end);
    }
    return end;
  };
}

async function wholeEnd(
  fs: FsPort,
  dbUuid: Uint8Array,
  segment: FileNo,
  unreadable: (error: VarveError) => void,
): Promise<number> {
  const path = filePath('seg', segment);
  let isReadable = true;
  const holed = zerosWhereUnreadable(fs, (error) => {
    isReadable = false;
    unreadable(error);
  });
  if ((await holed.stat(path)) === null) return isReadable ? 0 : Number.MAX_SAFE_INTEGER;
  const scanned = await scanSegment(holed, segment, path, { dbUuid }, () => undefined);
  if (!isReadable) return Number.MAX_SAFE_INTEGER;
  return scanned.headerDamage === undefined ? (scanned.firstInvalid ?? scanned.end) : 0;
}

/**
 * Every segment the frame names is whole up to there: a hole below a named frame would read as damage of an
 * open segment, and only a power cut before the sync can have left it.
 */
async function isReached(
  frame: LogFrame,
  payload: Uint8Array,
  wholeUpTo: (segment: FileNo) => Promise<number>,
): Promise<boolean> {
  const ends = new Map<FileNo, number>();
  noteNamed(frame, payload, ends);
  for (const [segment, end] of ends) if (end > (await wholeUpTo(segment))) return false;
  return true;
}

function noteNamed(frame: LogFrame, payload: Uint8Array, named: Map<FileNo, number>): void {
  const note = (segment: FileNo, off8: number, storedLen: number): void => {
    const end = off8 * 8 + frameBytes(storedLen);
    if (end > (named.get(segment) ?? 0)) named.set(segment, end);
  };
  visitFrame(frame, payload, {
    ...silentOps,
    chunk: (_seq, _buf, _idAt, segment, off8, storedLen) => note(segment, off8, storedLen),
    move: (_seq, _buf, _idAt, segment, off8, storedLen) => note(segment, off8, storedLen),
  });
}
