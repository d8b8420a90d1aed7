/**
 * Recovery of segments that were open when the writer stopped: their frames move to new, sealed segments.
 * Nothing is ever appended to a file from before, and no byte is relied on whose sync may have failed.
 *
 * Invariants (test/engine/recovery.test.ts):
 * - every frame below the committed end, or named by the log, is in a sealed segment afterwards, bit for bit;
 * - a frame that fails its check there is damage and is reported; what lies behind is referenced by nothing.
 */
import type { FileNo, Seq } from '../../base/brands.ts';
import type { CatalogSegment, CatalogUnsealed, NumberedFile } from '../../format/catalog.ts';
import { segmentDataFrom } from '../../format/segment.ts';
import type { FsPort } from '../../fs/port.ts';
import { rescueSegment } from '../../segment/segment-scan.ts';
import type { SegmentSet } from '../../segment/segment-set.ts';
import { SegmentWriter } from '../../segment/segment-writer.ts';
import { ChunkHit } from '../../tree/chunk-table-reader.ts';
import type { ChunkTree } from '../../tree/chunk-tree.ts';
import { OK } from '../../tree/cursor.ts';
import type { HealthBook } from '../health/health-book.ts';

export interface RescueContext {
  readonly fs: FsPort;
  readonly dbUuid: Uint8Array;
  readonly random: (n: number) => Uint8Array;
  readonly takeFileNo: () => FileNo;
  readonly segments: SegmentSet;
  readonly chunks: ChunkTree;
  /** Last number recovered: a table of nothing but moved locations must be newer than those before it. */
  readonly lastSeq: Seq;
  readonly health: HealthBook;
}

export interface Rescued {
  readonly sealed: CatalogSegment[];
  /** The old files: the next install drops them. */
  readonly dropped: NumberedFile[];
  readonly damaged: boolean;
  /** Old segments and the new ones that hold the same frames at the same offsets. */
  readonly moved: ReadonlyMap<FileNo, FileNo>;
}

/** A segment to be rescued and how far it counts. */
export interface OpenSegment {
  readonly no: FileNo;
  readonly class: number;
  readonly end: number;
}

/** Segments that are not sealed: those the catalog lists as open, and those only the log names. */
export function openSegments(
  unsealed: readonly CatalogUnsealed[],
  sealed: readonly CatalogSegment[],
  named: ReadonlyMap<FileNo, number>,
): OpenSegment[] {
  const known = new Set(sealed.map(({ no }) => no));
  const open = new Map<FileNo, OpenSegment>();
  for (const { no, class: streamClass, committedOff8 } of unsealed) {
    const end = Math.max(committedOff8 * 8, named.get(no) ?? 0, segmentDataFrom);
    open.set(no, { no, class: streamClass, end });
  }
  for (const [no, end] of named) if (!known.has(no) && !open.has(no)) open.set(no, { no, class: 0, end });
  return Array.from(open.values()).sort((a, b) => a.no - b.no);
}

/** Copies every segment of `open` into a new sealed one; durable when it resolves. */
export async function rescueSegments(open: readonly OpenSegment[], context: RescueContext): Promise<Rescued> {
  const sealed: CatalogSegment[] = [];
  const dropped: NumberedFile[] = [];
  const moved = new Map<FileNo, FileNo>();
  let damaged = false;
  for (const segment of open) {
    dropped.push({ kind: 'seg', no: segment.no });
    if (segment.end <= segmentDataFrom) continue;
    const { info, isDamaged, isAlike } = await rescueOne(segment, context);
    if (info !== undefined) {
      sealed.push(info);
      if (isAlike) moved.set(segment.no, info.no);
    }
    damaged ||= isDamaged;
  }
  return { sealed, dropped, damaged, moved };
}

async function rescueOne(
  segment: OpenSegment,
  context: RescueContext,
): Promise<{ info: CatalogSegment | undefined; isDamaged: boolean; isAlike: boolean }> {
  const { fs, dbUuid, random, takeFileNo, segments, chunks, lastSeq, health } = context;
  const no = takeFileNo();
  const writer = await SegmentWriter.create(fs, { no, class: segment.class, dbUuid, salt: random(12) });
  const row = new ChunkHit();
  let isDamaged = false;
  let isAlike = true;
  try {
    await rescueSegment(fs, {
      from: segment.no,
      committedEnd: segment.end,
      to: writer,
      dbUuid,
      onMoved: (buf, idAt, oldOff8, newOff8, frame) => {
        if (newOff8 !== oldOff8) isAlike = false;
        if (chunks.findSync(buf, idAt, row) !== OK) return;
        if (row.segment !== segment.no || row.off8 !== oldOff8) return;
        chunks.moveLocation(buf, idAt, no, newOff8, frame.storedLen, frame.codec);
        chunks.note(lastSeq);
      },
      onDamage: (error) => {
        isDamaged = true;
        health.note(error);
      },
    });
    const info = await writer.seal({ byRecovery: true });
    segments.add(no, info);
    return { info, isDamaged, isAlike: isAlike && !isDamaged };
  } finally {
    await writer.close();
  }
}
