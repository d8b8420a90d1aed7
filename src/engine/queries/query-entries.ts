/** What a query gives for a row. */
import { toHex } from '../../base/bytes.ts';
import { keyBytesMax } from '../../base/limits.ts';
import { decodeTuple, type IndexValue, indexIdBytes } from '../../format/index-key.ts';
import { type IndexField, type IndexRow, indexKinds } from '../../format/index-rows.ts';
import { encodeInternalKey, writeUserKey } from '../../format/internal-key.ts';
import { userKeyOut } from '../key-args.ts';
import { statOf } from '../reading/reads.ts';
import type { Key } from '../types.ts';
import { type Common, encodeCursor, type TupleRange } from './query-args.ts';
import type { QueryRow, QueryState } from './query-rows.ts';
import type { QueryEntry } from './query-types.ts';

/** The entry of a row, with what the index has for it and the cursor to go on behind it. */
export async function entryOf(
  state: QueryState,
  common: Common,
  row: QueryRow,
  index: IndexRow | undefined,
  range: TupleRange | undefined,
): Promise<QueryEntry<Key>> {
  const { entry: from, tuple } = row;
  const entry = await bareEntry(state, common, row);
  entry.cursor = encodeCursor({ index: index?.name ?? null, at: from.slice(indexIdBytes) });
  if (index === undefined || tuple === undefined) return entry;
  const values = index.kind === indexKinds.hash ? range?.exact : tuple;
  if (values === undefined) return entry;
  const decoded = decodeTuple(values, { file: 'index tree' }).map((value, i) =>
    valueOut(index.on[i]!, value),
  );
  entry.indexKey = index.on.length === 1 ? decoded[0]! : decoded;
  return entry;
}

function valueOut(field: IndexField, value: IndexValue): IndexValue {
  return field === 'digest' && value instanceof Uint8Array ? toHex(value) : value;
}

/** The entry of a key, without index and cursor. */
export async function bareEntry(
  { store, reads }: QueryState,
  common: Common,
  { keyPrefix, found }: Pick<QueryRow, 'keyPrefix' | 'found'>,
): Promise<QueryEntry<Key>> {
  const internal = encodeInternalKey(keyPrefix, 0);
  const length = writeUserKey(userKey, internal, 0, internal.length, { file: 'key tree' });
  const key = userKeyOut(userKey, length, store.keyEncoding);
  const entry: QueryEntry<Key> = { key, seq: found.seq, size: found.record.size };
  if (common.stats) entry.stat = statOf(found);
  if (common.values) entry.value = await reads.value(found.record);
  return entry;
}

/** The key an entry is made of, for the length of a call. */
const userKey: Buffer = Buffer.alloc(keyBytesMax + 1);
