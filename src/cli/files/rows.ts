/** Rows of the trees as fields: decoded keys and values, for dump. */
import { toHex } from '../../base/bytes.ts';
import { decodeInternalKey, decodeSysKey, seqOf } from '../../format/internal-key.ts';
import { rowKinds } from '../../format/row-kinds.ts';
import { type TreeId, trees } from '../../format/trees.ts';
import { parseValueRecord, recordForms } from '../../format/value-record.ts';
import { keyText } from '../text.ts';

const shownBytes = 32;

/** Hex of at most the first 32 bytes. */
export function someHex(bytes: Uint8Array): string {
  const hex = toHex(bytes.subarray(0, shownBytes));
  return bytes.length > shownBytes ? `${hex}... (${bytes.length} bytes)` : hex;
}

/** Name of a code in an `as const` table, or the code itself. */
export function nameOf(table: Readonly<Record<string, number>>, code: number): string | number {
  return Object.keys(table).find((name) => table[name] === code) ?? code;
}

/**
 * Fields of a row whose key, ending in a sequence number or (with `seq` given) without one, and value are
 * these. VARVE_CORRUPT when they do not parse. `place.offset` is the offset of the row.
 */
export function rowFields(
  tree: number,
  key: Uint8Array,
  value: Uint8Array,
  place: { file: string; offset: number },
): Record<string, unknown> {
  if (tree === trees.K) {
    const { space, userKey, seq } = decodeInternalKey(key, 0, key.length, place);
    return { space, key: keyText(userKey), seq, ...valueFields(value, place) };
  }
  if (tree === trees.S) {
    const { sysKey, seq } = decodeSysKey(key, 0, key.length, place);
    return { key: keyText(sysKey), seq, value: someHex(value) };
  }
  return { key: someHex(key), seq: seqOf(key, key.length), value: someHex(value) };
}

/** Fields of a value record. VARVE_CORRUPT when it does not parse. */
export function valueFields(
  value: Uint8Array,
  place: { file: string; offset: number },
): Record<string, unknown> {
  const record = parseValueRecord(value, 0, value.length, place);
  const fields = { kind: nameOf(rowKinds, record.kind), time: new Date(record.timeMs).toISOString() };
  if (record.kind !== rowKinds.put) return fields;
  const { size, chunks, metadataFrom, metadataTo } = record;
  const metadataBytes = metadataTo - metadataFrom;
  return { ...fields, form: nameOf(recordForms, record.form), size, chunks, metadataBytes };
}

/** Name of a tree. */
export function treeName(tree: TreeId | number): string | number {
  return nameOf(trees, tree);
}
