/** What the system tree of a store says of range deletes and of versions whose chunks can be given back. */
import { compareBytes, startsWith, toHex, viewOf } from '../../src/base/bytes.ts';
import { decodeSysKey, encodeRowPrefix } from '../../src/format/internal-key.ts';
import { rowKindAt, rowKinds } from '../../src/format/row-kinds.ts';
import {
  decodeQueueKey,
  decodeRangeRow,
  expiryPrefix,
  isRangeKey,
  type RangeRow,
  rangeSeqOf,
  trashPrefix,
} from '../../src/format/system-rows.ts';
import { OK, settle } from '../../src/tree/cursor.ts';
import type { Forest } from '../../src/tree/forest.ts';
import type { Row } from './row.ts';

export interface SystemRows {
  /** Range deletes that are not carried out. */
  readonly pending: readonly RangeRow[];
  /** Numbers of all range deletes met, carried out or not. */
  readonly rangeSeqs: readonly number[];
  /** By `versionName`: the commits said to have superseded it. */
  readonly trash: ReadonlyMap<string, readonly number[]>;
  /** Versions, by `versionName`, that wait for their time to come. */
  readonly expiring: ReadonlySet<string>;
}

const versionName = (prefix: Uint8Array, seq: number): string => `${toHex(prefix)} ${seq}`;

/** Names the version a row is about. */
export const versionOf = ({ space, key, seq }: Pick<Row, 'space' | 'key' | 'seq'>): string =>
  versionName(encodeRowPrefix(space, new Uint8Array(Buffer.from(key, 'hex'))), seq);

/** `range` covers the key, whatever the versions. */
export function covers({ from, to }: RangeRow, space: number, key: string): boolean {
  const prefix = encodeRowPrefix(space, new Uint8Array(Buffer.from(key, 'hex')));
  return compareBytes(from, prefix) <= 0 && (to === undefined || compareBytes(prefix, to) < 0);
}

export async function readSystem(forest: Forest): Promise<SystemRows> {
  const newest = new Map<number, RangeRow | undefined>();
  const rangeSeqs = new Set<number>();
  const trash = new Map<string, number[]>();
  const expiring = new Set<string>();
  const met = new Set<string>();
  const view = forest.system.view();
  const cursor = view.cursor();
  let step = await settle(cursor, () => cursor.first());
  while (step === OK) {
    const { keyBytes, keyFrom, keyTo, valueBytes, valueFrom, valueTo } = cursor;
    const { sysKey } = decodeSysKey(keyBytes, keyFrom, keyTo, { file: 'system tree' });
    const isPut = rowKindAt(valueBytes, valueFrom) === rowKinds.put;
    if (isRangeKey(sysKey)) {
      const seq = rangeSeqOf(sysKey);
      const row = isPut ? decodeRangeRow(sysKey, valueBytes.slice(valueFrom + 1, valueTo)) : undefined;
      if (!newest.has(seq)) newest.set(seq, row);
      if (isPut) rangeSeqs.add(seq);
    } else if (startsWith(sysKey, trashPrefix) || startsWith(sysKey, expiryPrefix)) {
      const name = toHex(sysKey);
      if (isPut && !met.has(name)) {
        if (startsWith(sysKey, trashPrefix)) noteTrash(trash, sysKey);
        else noteExpiring(expiring, sysKey);
      }
      met.add(name);
    }
    step = await settle(cursor, () => cursor.next());
  }
  view.release();
  const pending = Array.from(newest.values()).filter((row) => row !== undefined);
  return { pending, rangeSeqs: Array.from(rangeSeqs), trash, expiring };
}

function noteExpiring(expiring: Set<string>, sysKey: Uint8Array): void {
  const { rowPrefix, seq } = decodeQueueKey(expiryPrefix, sysKey);
  expiring.add(versionName(rowPrefix, seq));
}

function noteTrash(trash: Map<string, number[]>, sysKey: Uint8Array): void {
  const view = viewOf(sysKey);
  const at = trashPrefix.length;
  const end = sysKey.length - 8;
  const name = versionName(sysKey.subarray(at + 8, end), Number(view.getBigUint64(end)));
  trash.set(name, [...(trash.get(name) ?? []), Number(view.getBigUint64(at))]);
}

/**
 * A version with chunks is in the trash once, or purged, when a newer row of its key is there, neither when
 * it is the newest one; any, while a range delete that hides it is pending. `rows` are all of the key tree.
 */
export function trashProblems(rows: readonly Row[], { pending, trash }: SystemRows): string[] {
  const problems: string[] = [];
  const newest = new Map<string, number>();
  for (const { space, key, seq } of rows) newest.set(`${space} ${key}`, seq);
  const known = new Set<string>();
  for (const row of rows) {
    const { space, key, seq, isPut, record, goneSeq } = row;
    if (!isPut || record[0] === '0') continue;
    const name = versionOf(row);
    known.add(name);
    const times = (trash.get(name)?.length ?? 0) + (goneSeq === undefined ? 0 : 1);
    if (goneSeq !== undefined && goneSeq <= seq)
      problems.push(`version ${seq} of ${key} was purged before it was`);
    const isHidden = pending.some((range) => range.seq > seq && covers(range, space, key));
    const isOld = newest.get(`${space} ${key}`)! > seq;
    if (isHidden ? times > 1 : times !== (isOld ? 1 : 0))
      problems.push(`version ${seq} of ${key} is ${times} times in the trash or purged`);
  }
  for (const name of trash.keys()) if (!known.has(name)) problems.push(`trash of no version: ${name}`);
  return problems;
}
