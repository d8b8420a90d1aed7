/** What of the keys a repair keeps, and which need a chunk that is nowhere. */
import { toHex } from '../base/bytes.ts';
import { chunkIdBytes } from '../format/chunk-ref.ts';
import { decodeInternalKey, seqBytes } from '../format/internal-key.ts';
import { rowKinds } from '../format/row-kinds.ts';
import { recordKind, recordSize, visitRecordRefs } from '../format/value-record.ts';
import type { RowSource } from '../tree/cursor.ts';
import { RangeSet } from '../tree/range-rows.ts';
import { keyName } from './affected-keys.ts';
import { walkRows } from './key-walk.ts';
import type { SystemRows } from './repair-system.ts';

/** Keys listed as lost. */
const lostKeysMax = 10_000;

export interface CountedRows {
  /** Keys whose newest version is whole, and its bytes. */
  readonly kept: { keys: number; bytes: number };
  readonly keys: string[];
  moreKeys: number;
  versions: number;
}

/** `lost`: ids (hex) of chunks that are nowhere and of the nodes above them. */
export async function countRows(
  rows: RowSource,
  lost: ReadonlySet<string>,
  { spaces, ranges }: SystemRows,
  pause: () => Promise<void> | undefined,
): Promise<CountedRows> {
  const out: CountedRows = { kept: { keys: 0, bytes: 0 }, keys: [], moreKeys: 0, versions: 0 };
  const hidden = new RangeSet(ranges, { tables: [], error: undefined });
  await walkRows(
    rows,
    ({ keyBytes, keyFrom, keyTo, valueBytes: buf, valueFrom, valueTo, seq, newerSeq, isGone }) => {
      if (isGone || recordKind(buf, valueFrom) !== rowKinds.put) return;
      const isNewest = newerSeq === 0;
      if (isNewest && hidden.hides(keyBytes, keyFrom, keyTo - seqBytes, seq, Number.MAX_SAFE_INTEGER)) return;
      let isLost = false;
      if (lost.size > 0) {
        visitRecordRefs(buf, valueFrom, valueTo, (at) => {
          isLost ||= lost.has(toHex(buf.subarray(at, at + chunkIdBytes)));
        });
      }
      if (!isLost && isNewest) {
        out.kept.keys++;
        out.kept.bytes += recordSize(buf, valueFrom);
      } else if (isLost && !isNewest) out.versions++;
      else if (isLost && out.keys.length >= lostKeysMax) out.moreKeys++;
      else if (isLost) {
        const { space, userKey } = decodeInternalKey(keyBytes, keyFrom, keyTo);
        out.keys.push(keyName(space, userKey, (number) => spaces.get(number)));
      }
    },
    pause,
  );
  return out;
}
