/**
 * Are the counts of the chunk index those a recount gives, and do the parts of every value add up?
 *
 * References are counted from the rows of the key tree and from the list nodes in the index; the index says
 * its own. The two are compared without holding either: ids are spread over 65,536 buckets, and each bucket
 * has sums over its references, the words of the ids as weights. Sums that agree agree for every id but by
 * chance of 2^-128. Lengths are compared the same way, the length a parent gives a chunk as a further factor.
 * Only where sums differ is a bucket looked into, id by id, in a second pass.
 *
 * Memory: 3 MiB for the sums, one list node; in the second pass 100 B for each id of the buckets looked into,
 * `idsMax` ids at most (further buckets are told by their number).
 */
import { i32le, toHex } from '../base/bytes.ts';
import { corrupt, isDamage, type VarveError } from '../base/errors.ts';
import { chunkIdBytes, chunkKinds } from '../format/chunk-ref.ts';
import { chunkEntryFlags } from '../format/chunk-table.ts';
import { filePath } from '../format/file-names.ts';
import { parseListNode } from '../format/list-node.ts';
import { rowKinds } from '../format/row-kinds.ts';
import { parseValueRecord, recordForms, refIdAt, refRawLen } from '../format/value-record.ts';
import type { SegmentSet } from '../segment/segment-set.ts';
import type { ChunkCursor } from '../tree/chunk-cursor.ts';
import type { Forest } from '../tree/forest.ts';
import { type Findings, isGone } from './findings.ts';
import { rowsOfTables, walkRows } from './key-walk.ts';

const buckets = 65_536;
/** Sums of a bucket: four of counts, two of lengths. */
const sumsEach = 6;
const idsMax = 100_000;
/** What a level of a list node takes in the factor of a length: chunks of data have none. */
const levels = 8;
const dataLevel = 7;

export interface Recount {
  readonly forest: Forest;
  readonly segments: SegmentSet;
  readonly findings: Findings;
  readonly pause: () => Promise<void> | undefined;
  /** A writer beside has installed another catalog: a file that is gone was let go, and is no damage. */
  readonly isOutdated: () => Promise<boolean>;
}

/**
 * Entries of the index that were compared; undefined where damage does not let anything be said. The error of
 * a segment that a writer has let go meanwhile: the count is to be begun anew.
 */
export async function recount(work: Recount): Promise<number | undefined> {
  const sums = new Uint32Array(buckets * sumsEach);
  const counted = await countBoth(work, (id, idAt, refs, lengths) => addTo(sums, id, idAt, refs, lengths));
  const bad = new Set<number>();
  for (let bucket = 0; bucket < buckets; bucket++) {
    for (let i = 0; i < sumsEach; i++) if (sums[bucket * sumsEach + i] !== 0) bad.add(bucket);
  }
  if (bad.size > 0) await compareIds(work, bad, counted);
  return counted.entries;
}

/** Adds references of an id, or takes them away: `refs` of them, whose lengths add up to `lengths`. */
function addTo(sums: Uint32Array, id: Uint8Array, idAt: number, refs: number, lengths: number): void {
  const at = bucketOf(id, idAt) * sumsEach;
  for (let i = 0; i < 4; i++) sums[at + i]! += Math.imul(i32le(id, idAt + 4 + 4 * i), refs);
  for (let i = 0; i < 2; i++) sums[at + 4 + i]! += Math.imul(i32le(id, idAt + 20 + 4 * i), lengths);
}

function bucketOf(id: Uint8Array, idAt: number): number {
  return (id[idAt]! << 8) | id[idAt + 1]!;
}

/** Length and level of a chunk as one factor, modulo 2^32. */
function factorOf(length: number, level: number): number {
  return ((length % 2 ** 29) * levels + level) | 0;
}

/** Told of references of an id: how many, and the sum of the factors of their lengths. */
type OnRefs = (id: Uint8Array, idAt: number, refs: number, lengths: number) => void;

interface Counted {
  entries: number;
  /** List nodes that could not be read: what they name is not counted. */
  unread: number;
  /** Ids (hex) whose count reached its bound, or whose length the index does not have; the first `idsMax`. */
  readonly saturated: Set<string>;
  readonly lengthless: Set<string>;
}

/** What rows and list nodes name counts up, what the index says counts down. */
async function countBoth(work: Recount, add: OnRefs): Promise<Counted> {
  const { forest, findings, pause } = work;
  const counted: Counted = { entries: 0, unread: 0, saturated: new Set(), lengthless: new Set() };
  await walkRows(
    rowsOfTables(forest.keys.tables),
    ({ valueBytes, valueFrom, valueTo, isGone }) => {
      if (!isGone) countRecord(valueBytes, valueFrom, valueTo, add);
    },
    pause,
  );
  await forest.chunks.scanAll(async (entry) => {
    const { columns, idBytes, idAt } = entry;
    counted.entries++;
    const { flags, refs, rawLen, kind } = columns;
    const isPresent = (flags & chunkEntryFlags.hasLocation) !== 0;
    const note = (set: Set<string>): void => {
      if (set.size < idsMax) set.add(toHex(idBytes.subarray(idAt, idAt + chunkIdBytes)));
    };
    if ((flags & chunkEntryFlags.saturated) !== 0) note(counted.saturated);
    if (!isPresent && refs !== 0) note(counted.lengthless);
    let factor = factorOf(rawLen, dataLevel);
    if (isPresent && kind === chunkKinds.list) {
      const id = idBytes.slice(idAt, idAt + chunkIdBytes);
      const node = await readNode(work, entry, id);
      if (node === undefined) {
        counted.unread++;
        note(counted.lengthless);
      } else {
        factor = factorOf(node.totalBytes, node.level);
        for (let i = 0; i < node.count; i++) {
          const length = node.childEnd(i) - node.childStart(i);
          add(
            node.bytes,
            node.childIdAt(i),
            1,
            factorOf(length, node.level === 0 ? dataLevel : node.level - 1),
          );
        }
      }
      add(id, 0, -refs, Math.imul(factor, -refs));
    } else if (refs !== 0 || isPresent) add(idBytes, idAt, -refs, Math.imul(factor, -refs));
    if (refs < 0) findings.add('references', badCount(idBytes, idAt, 0, refs));
    const waiting = counted.entries % 4096 === 0 ? pause() : undefined;
    if (waiting !== undefined) await waiting;
  });
  return counted;
}

function countRecord(buf: Uint8Array, from: number, to: number, add: OnRefs): void {
  const record = parseValueRecord(buf, from, to, { file: 'key tree' });
  if (record.kind !== rowKinds.put || record.form === recordForms.inline) return;
  if (record.form === recordForms.tree) {
    add(buf, refIdAt(record, 0), 1, factorOf(record.size, record.height - 1));
    return;
  }
  for (let i = 0; i < record.chunks; i++)
    add(buf, refIdAt(record, i), 1, factorOf(refRawLen(record, i), dataLevel));
}

async function readNode(
  { segments, findings, isOutdated }: Recount,
  { columns }: ChunkCursor,
  id: Uint8Array,
) {
  const { segment, off8, storedLen } = columns;
  const place = { file: filePath('seg', segment), offset: off8 * 8 };
  try {
    const bytes = await segments.readFrame(segment, off8, storedLen, id);
    if (bytes === undefined) throw corrupt(`list node ${toHex(id)} is not where the index says`, place);
    return parseListNode(bytes, place);
  } catch (error) {
    if (!isDamage(error) || (isGone(error) && (await isOutdated()))) throw error;
    findings.blame(findings.add('chunk', error), toHex(id));
    return undefined;
  }
}

interface Compared {
  refs: number;
  lengths: number;
}

/** The second pass: ids of the buckets that differ. */
async function compareIds(work: Recount, bad: ReadonlySet<number>, first: Counted): Promise<void> {
  const ids = new Map<string, Compared>();
  let more = false;
  const { findings } = work;
  await countBoth(work, (id, idAt, refs, lengths) => {
    if (!bad.has(bucketOf(id, idAt))) return;
    const name = toHex(id.subarray(idAt, idAt + chunkIdBytes));
    const known = ids.get(name);
    if (known !== undefined) {
      known.refs += refs;
      known.lengths = (known.lengths + lengths) | 0;
    } else if (ids.size < idsMax) ids.set(name, { refs, lengths: lengths | 0 });
    else more = true;
  });
  for (const [id, { refs, lengths }] of ids) {
    if (first.saturated.has(id)) continue;
    // Nodes that could not be read would have counted more: only what is counted too low is certain then.
    if (refs > 0 || (refs < 0 && first.unread === 0)) {
      const how = `${Math.abs(refs)} references ${refs > 0 ? 'more' : 'fewer'}`;
      const what = `chunk ${id}: a recount gives ${how} than the index has`;
      findings.add('references', corrupt(what, { file: 'chunk index' }));
    } else if (refs === 0 && lengths !== 0 && first.unread === 0 && !first.lengthless.has(id)) {
      const error = corrupt(`chunk ${id} has another length than the values it is part of say`, {
        file: 'chunk index',
      });
      findings.blame(findings.add('value', error), id);
    }
  }
  if (more) {
    const error = corrupt(
      `references of more chunks differ than are listed (${bad.size} of ${buckets} parts)`,
      {
        file: 'chunk index',
      },
    );
    findings.add('references', error);
  }
}

function badCount(ids: Uint8Array, at: number, expected: number, found: number): VarveError {
  const id = toHex(ids.subarray(at, at + chunkIdBytes));
  return corrupt(`chunk ${id} has a negative count`, { file: 'chunk index' }, expected, found);
}
