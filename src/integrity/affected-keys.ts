/**
 * Which keys need chunks that were found damaged: by one walk over the list nodes for each level of a value
 * that has any, and one over the rows of the key tree. Nothing is read where nothing is damaged.
 *
 * Memory: the damaged ids and the nodes above them (`Findings` bounds both), one list node.
 */
import { decodeUtf8, toHex, u32be } from '../base/bytes.ts';
import { isDamage, type VarveError } from '../base/errors.ts';
import { listHeightMax } from '../base/limits.ts';
import { chunkIdBytes, chunkKinds } from '../format/chunk-ref.ts';
import { chunkEntryFlags } from '../format/chunk-table.ts';
import { filePath } from '../format/file-names.ts';
import { decodeInternalKey } from '../format/internal-key.ts';
import { parseListNode } from '../format/list-node.ts';
import { visitRecordRefs } from '../format/value-record.ts';
import type { SegmentSet } from '../segment/segment-set.ts';
import type { ChunkTree } from '../tree/chunk-tree.ts';
import type { RowSource } from '../tree/cursor.ts';
import { type Finding, type Findings, isGone } from './findings.ts';
import { walkRows } from './key-walk.ts';

/** Keys listed in one finding. */
export const affectedKeysMax = 1000;

/** A named snapshot and its number. */
export interface SnapshotName {
  readonly name: string;
  readonly seq: number;
}

export interface Attribution {
  readonly findings: Findings;
  readonly chunks: ChunkTree;
  readonly segments: SegmentSet;
  /** All rows of the key tree. */
  readonly rows: () => RowSource;
  readonly spaceName: (space: number) => string | undefined;
  readonly snapshots: readonly SnapshotName[];
  readonly pause: () => Promise<void> | undefined;
}

/** A key of space `space` as findings list it. */
export function keyName(space: number, key: Uint8Array, spaceName: Attribution['spaceName']): string {
  const text = decodeUtf8(key) ?? `hex:${toHex(key)}`;
  return space === 0 ? text : `${spaceName(space) ?? `space ${space}`}\n${text}`;
}

/** The same for the row key of tree K, or anything that sorts among them. */
export function rowKeyName(rowKey: Uint8Array, spaceName: Attribution['spaceName']): string {
  try {
    const { space, userKey } = decodeInternalKey(rowKey, 0, rowKey.length);
    return keyName(space, userKey, spaceName);
  } catch (error) {
    if (!isDamage(error)) throw error;
    // A separator is cut off wherever it tells two keys apart.
    const space = rowKey.length < 4 ? 0 : u32be(rowKey, 0);
    return keyName(space, rowKey.slice(4), spaceName);
  }
}

/**
 * Fills the keys of the findings that name chunks. Returns what kept it from seeing everything: damage of the
 * index itself.
 */
export async function attribute(work: Attribution): Promise<VarveError | undefined> {
  const { ids } = work.findings;
  if (ids.size === 0) return undefined;
  try {
    for (let level = 0; level < listHeightMax; level++) if (!(await addParents(work))) break;
    await addKeys(work);
    return undefined;
  } catch (error) {
    if (!isDamage(error) || isGone(error)) throw error;
    return error;
  }
}

/** Puts list nodes with a damaged child among the damaged; true when there were any new. */
async function addParents({ findings, chunks, segments, pause }: Attribution): Promise<boolean> {
  const { ids } = findings;
  let grown = false;
  let seen = 0;
  await chunks.scanAll(async ({ columns, idBytes, idAt }) => {
    const waiting = ++seen % 4096 === 0 ? pause() : undefined;
    if (waiting !== undefined) await waiting;
    const { kind, flags, segment, off8, storedLen } = columns;
    if (kind !== chunkKinds.list || (flags & chunkEntryFlags.hasLocation) === 0) return;
    const id = idBytes.slice(idAt, idAt + chunkIdBytes);
    let node: ReturnType<typeof parseListNode>;
    try {
      const bytes = await segments.readFrame(segment, off8, storedLen, id);
      if (bytes === undefined) return;
      node = parseListNode(bytes, { file: filePath('seg', segment), offset: off8 * 8 });
    } catch (error) {
      // A damaged node is a finding of its own, whose keys are found by its id.
      if (!isDamage(error)) throw error;
      return;
    }
    const name = toHex(id);
    const before = ids.get(name)?.length ?? 0;
    for (let i = 0; i < node.count; i++) {
      const at = node.childIdAt(i);
      for (const finding of ids.get(toHex(node.bytes.subarray(at, at + chunkIdBytes))) ?? [])
        findings.blame(finding, name);
    }
    if ((ids.get(name)?.length ?? 0) > before) grown = true;
  });
  return grown;
}

async function addKeys(work: Attribution): Promise<void> {
  const { findings, rows, spaceName, snapshots, pause } = work;
  const { ids } = findings;
  const prefixes = new Set<number>();
  for (const id of ids.keys()) prefixes.add(Number.parseInt(id.slice(0, 8), 16));
  const hit = new Set<Finding>();
  await walkRows(
    rows(),
    (row) => {
      if (row.isGone) return;
      const { valueBytes: buf, valueFrom, valueTo, keyBytes, keyFrom, keyTo } = row;
      hit.clear();
      visitRecordRefs(buf, valueFrom, valueTo, (at) => {
        const prefix = u32be(buf, at);
        if (!prefixes.has(prefix)) return;
        for (const finding of ids.get(toHex(buf.subarray(at, at + chunkIdBytes))) ?? []) hit.add(finding);
      });
      if (hit.size === 0) return;
      const { space, userKey } = decodeInternalKey(keyBytes, keyFrom, keyTo);
      const name = keyName(space, userKey, spaceName);
      for (const finding of hit) {
        if (row.newerSeq === 0) addKey(finding, name);
        else finding.olderVersions = (finding.olderVersions ?? 0) + 1;
        const to = row.newerSeq === 0 ? Number.POSITIVE_INFINITY : row.newerSeq;
        for (const { name: snapshot, seq } of snapshots)
          if (row.seq <= seq && seq < to) addSnapshot(finding, snapshot);
      }
    },
    pause,
  );
}

function addKey(finding: Finding, name: string): void {
  finding.keys ??= [];
  if (finding.keys.length < affectedKeysMax) finding.keys.push(name);
  else finding.moreKeys = (finding.moreKeys ?? 0) + 1;
}

function addSnapshot(finding: Finding, name: string): void {
  finding.snapshots ??= [];
  if (!finding.snapshots.includes(name)) finding.snapshots.push(name);
}
