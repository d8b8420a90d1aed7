/**
 * The log of a damaged store, applied into memory: every frame that is whole, in order, also behind damage.
 *
 * As in recovery, commits that nothing proves to be on disk end at the first whose chunks are not there, and
 * its number is free again; in full durability there are none such.
 */
import type { FileNo, Seq } from '../base/brands.ts';
import { isDamage } from '../base/errors.ts';
import { BlockCache } from '../cache/block-cache.ts';
import type { CatalogTable } from '../format/catalog.ts';
import { frameBytes } from '../format/chunk-frame.ts';
import { frameTypes, lastSeqOf } from '../format/log-frame.ts';
import { durabilityCodes, type OpVisitor, visitOps, visitStage } from '../format/log-ops.ts';
import type { FsPort } from '../fs/port.ts';
import { type LogChain, readLogChain } from '../log/log-chain.ts';
import type { LogFrame } from '../log/log-reader.ts';
import { SegmentSet } from '../segment/segment-set.ts';
import { Forest } from '../tree/forest.ts';
import { Applier } from '../txn/applier.ts';

export interface LogRepair {
  readonly fs: FsPort;
  readonly dbUuid: Uint8Array;
  /** Of the catalog, as its number; 0 where there is none: then everything that is there is applied. */
  readonly walFirstNo: FileNo;
  readonly catalogNo: FileNo;
  readonly checkpointSeq: Seq;
  readonly closedEpoch: number | undefined;
  /** Tables of the system tree that are whole: what they say of ranges and history the log goes on from. */
  readonly system: readonly CatalogTable[];
}

export interface RepairedLog {
  /** Rows of the log in memory. Its chunk tree is of no use. Close it. */
  readonly forest: Forest;
  /** For each segment the log names: the end of the last frame named in it. */
  readonly named: ReadonlyMap<FileNo, number>;
  readonly lastSeq: Seq;
  readonly lastTimeMs: number;
  readonly writerEpoch: number;
  readonly highestNo: FileNo;
  /** Commits that are lost. */
  readonly missing: readonly { readonly from: Seq; readonly to?: Seq }[];
  /** Something of the log is damaged, whether or not anything is lost with it. */
  readonly isDamaged: boolean;
}

/** Reads and applies the log. Damage is in the result; VARVE_FORMAT_VERSION, VARVE_IO. */
export async function replayLog(work: LogRepair): Promise<RepairedLog> {
  const { fs, dbUuid, walFirstNo, catalogNo, checkpointSeq, closedEpoch } = work;
  const options = { dbUuid, cache: new BlockCache(0), memtableBytes: 2 ** 30 };
  const { forest } = await Forest.open(fs, work.system, options);
  // What of them is damaged is reported with the tables.
  await forest.ranges.load(forest.system);
  await forest.history.load(forest.system);
  const chain = await readLogChain(fs, {
    dbUuid,
    walFirstNo,
    catalogNo,
    checkpointSeq,
    ...(closedEpoch === undefined ? {} : { closedEpoch }),
  });
  const named = new Map<FileNo, number>();
  const missing: { from: Seq; to?: Seq }[] = [];
  let lastSeq: Seq = checkpointSeq;
  try {
    for (const { missingFrom: from, missingTo: to } of chain.damage) {
      missing.push(to === undefined ? { from } : { from, to });
      lastSeq = Math.max(lastSeq, to ?? from);
    }
    const { lost, upTo } = await applyFrames(work, chain, forest, named);
    missing.push(...lost);
    lastSeq = Math.max(lastSeq, upTo);
  } finally {
    await chain.close();
  }
  return {
    forest,
    named,
    lastSeq,
    lastTimeMs: chain.lastTimeMs,
    writerEpoch: chain.writerEpoch,
    highestNo: chain.highestNo,
    missing,
    isDamaged: missing.length > 0 || chain.problems.length > 0,
  };
}

async function applyFrames(
  { fs, dbUuid }: LogRepair,
  chain: LogChain,
  forest: Forest,
  named: Map<FileNo, number>,
): Promise<{ lost: { from: Seq; to: Seq }[]; upTo: Seq }> {
  const lost: { from: Seq; to: Seq }[] = [];
  let upTo = chain.lastSeq;
  const ignore = (): void => undefined;
  const applier = new Applier(forest, {
    // Counts are made anew from rows and nodes, so no node is needed here.
    nodes: () => undefined,
    onNodeBorn: ignore,
    onNodeDied: ignore,
    onNodeMissing: ignore,
    onTrash: ignore,
  });
  const isFull = (chain.durability ?? durabilityCodes.full) === durabilityCodes.full;
  const segments = new SegmentSet(fs, { dbUuid, handlesMax: 16, onDamage: ignore });
  try {
    for (const frame of chain.frames) {
      if (frame.type !== frameTypes.batch && frame.type !== frameTypes.stage) continue;
      let payload: Uint8Array;
      const places: Place[] = [];
      try {
        payload = await chain.readPayload(frame);
        visit(frame, payload, placesOf(places));
      } catch (error) {
        if (!isDamage(error)) throw error;
        lost.push({ from: frame.seqFirst, to: lastSeqOf(frame) });
        continue;
      }
      const isUnproven = !isFull && lastSeqOf(frame) > chain.durableSeq;
      if (isUnproven && !(await areThere(segments, places))) {
        upTo = frame.seqFirst - 1;
        break;
      }
      applier.timeMs = frame.commitTimeMs;
      visit(frame, payload, applier);
      for (const { segment, off8, storedLen } of places) {
        const end = off8 * 8 + frameBytes(storedLen);
        if (end > (named.get(segment) ?? 0)) named.set(segment, end);
      }
    }
  } finally {
    await segments.close();
  }
  return { lost, upTo };
}

interface Place {
  readonly id: Uint8Array;
  readonly segment: FileNo;
  readonly off8: number;
  readonly storedLen: number;
}

function visit(frame: LogFrame, payload: Uint8Array, visitor: OpVisitor): void {
  const place = { file: frame.path, offset: frame.offset };
  if (frame.type === frameTypes.stage) visitStage(payload, 0, payload.length, frame.seqFirst, visitor, place);
  else visitOps(payload, 0, payload.length, frame.seqFirst, frame.count, visitor, place);
}

const nothing = (): void => undefined;

function placesOf(places: Place[]): OpVisitor {
  const note = (
    _seq: Seq,
    buf: Uint8Array,
    idAt: number,
    segment: FileNo,
    off8: number,
    storedLen: number,
  ): void => {
    places.push({ id: buf.slice(idAt, idAt + 32), segment, off8, storedLen });
  };
  return {
    put: nothing,
    del: nothing,
    chunk: note,
    move: note,
    trash: nothing,
    purge: nothing,
    listDrop: nothing,
    sys: nothing,
  };
}

async function areThere(segments: SegmentSet, places: readonly Place[]): Promise<boolean> {
  for (const { id, segment, off8, storedLen } of places) {
    if (!segments.has(segment)) segments.add(segment);
    try {
      if ((await segments.readFrame(segment, off8, storedLen, id)) === undefined) return false;
    } catch (error) {
      if (!isDamage(error)) throw error;
      return false;
    }
  }
  return true;
}
