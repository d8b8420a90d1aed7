/**
 * Rows of the system tree that belong to secondary indexes.
 *
 *   index/ <space u32 BE> <name UTF-8>   the definition: head, then what it orders
 *   indexat/ <index u32 BE>              row prefix of the last key whose entries a build has made
 *   indexdrop/ <index u32 BE>            empty: entries of a number no definition has any more, being removed
 *   indexes                              u32 lowest number no index ever had; absent = 1
 */
import type { Seq } from '../base/brands.ts';
import { concatBytes, decodeUtf8, encodeUtf8, startsWith, viewOf } from '../base/bytes.ts';
import { corrupt, type Place } from '../base/errors.ts';
import { indexFieldsMax } from '../base/limits.ts';
import { decodeLayout, defineLayout, f, layoutBytes } from '../codec/layout.ts';
import { decodeMsgpack, encodeMsgpack, type PackValue } from '../codec/msgpack.ts';
import { newerFormat } from './format-ladder.ts';

export const indexRowPrefix: Uint8Array = encodeUtf8('index/');
export const indexAtPrefix: Uint8Array = encodeUtf8('indexat/');
export const indexDropPrefix: Uint8Array = encodeUtf8('indexdrop/');
export const nextIndexKey: Uint8Array = encodeUtf8('indexes');

/** Never changed, never reused. */
export const indexKinds = { range: 1, hash: 2 } as const;
export const indexStates = { building: 1, ready: 2, failed: 3 } as const;
const uniqueFlag = 1;

export const indexRowHead = defineLayout('indexrow', 'index definition head', 24, {
  index: f(0, 'u32', 'number of the index: its keys in tree X begin with it'),
  kind: f(4, 'u8', '1 range, 2 hash'),
  flags: f(5, 'u8', '1 unique. guards: newer format (an unknown bit is refused)'),
  state: f(6, 'u8', '1 building, 2 ready, 3 failed'),
  reserved: f(7, 1, 'zero'),
  definedSeq: f(
    8,
    'u64',
    'commit of the definition; rows put later have their entries from their own commits',
  ),
  readySeq: f(16, 'u64', 'commit from which on every row has its entries; 0 while that is not so'),
});

/** What one component of an index is taken from. */
export type IndexField =
  | 'digest'
  | 'contentType'
  | 'tags'
  | 'modified'
  | 'size'
  | 'created'
  | { readonly metadata: string };

export const plainFields = ['digest', 'contentType', 'tags', 'modified', 'size', 'created'] as const;

/** The content of a definition row. */
export interface IndexRow {
  readonly space: number;
  readonly name: string;
  readonly index: number;
  /** One of indexKinds. */
  readonly kind: number;
  readonly unique: boolean;
  /** One of indexStates. */
  readonly state: number;
  readonly definedSeq: Seq;
  readonly readySeq: Seq;
  readonly on: readonly IndexField[];
  /** Why it could not be built. */
  readonly reason: string | undefined;
}

export function indexRowKey(space: number, name: string): Uint8Array {
  return concatBytes([numbered(indexRowPrefix, space), encodeUtf8(name, 'index name')]);
}

export function indexAtKey(index: number): Uint8Array {
  return numbered(indexAtPrefix, index);
}

export function indexDropKey(index: number): Uint8Array {
  return numbered(indexDropPrefix, index);
}

/** Number of the index from the key of an `indexat/` or `indexdrop/` row; VARVE_CORRUPT when it has none. */
export function numberedIndex(prefix: Uint8Array, key: Uint8Array): number {
  if (key.length !== prefix.length + 4 || !startsWith(key, prefix)) {
    throw corrupt('index row has the wrong shape', systemTree);
  }
  return viewOf(key).getUint32(prefix.length);
}

function numbered(prefix: Uint8Array, number: number): Uint8Array {
  const out = new Uint8Array(prefix.length + 4);
  out.set(prefix);
  viewOf(out).setUint32(prefix.length, number);
  return out;
}

/** Value of a definition row, a fresh array. */
export function encodeIndexRow(row: IndexRow): Uint8Array {
  const { index, kind, unique, state, definedSeq, readySeq, on, reason } = row;
  const flags = unique ? uniqueFlag : 0;
  const head = layoutBytes(indexRowHead, { index, kind, flags, state, definedSeq, readySeq });
  return concatBytes([head, encodeMsgpack([on, reason ?? null], 'index definition')]);
}

/** A definition from its row; VARVE_CORRUPT, or VARVE_FORMAT_VERSION where a newer version wrote it. */
export function decodeIndexRow(key: Uint8Array, value: Uint8Array): IndexRow {
  const nameFrom = indexRowPrefix.length + 4;
  const name = key.length > nameFrom ? decodeUtf8(key.subarray(nameFrom)) : undefined;
  if (name === undefined || !startsWith(key, indexRowPrefix) || value.length < indexRowHead.size) {
    throw corrupt('index definition has the wrong shape', systemTree);
  }
  const { index, kind, flags, state, definedSeq, readySeq } = decodeLayout(
    indexRowHead,
    value,
    0,
    systemTree,
  );
  if (flags > uniqueFlag || kind < 1 || kind > indexKinds.hash || state < 1 || state > indexStates.failed) {
    throw newerFormat('index definition of a kind that is not known to this build', systemTree);
  }
  const [on, reason, ...more] = listOf(decodeMsgpack(value, systemTree, indexRowHead.size));
  if (reason === undefined || more.length > 0) throw corrupt('index definition is not a pair', systemTree);
  if (reason !== null && typeof reason !== 'string') throw corrupt('index reason is no text', systemTree);
  const space = viewOf(key).getUint32(indexRowPrefix.length);
  const unique = flags === uniqueFlag;
  const fields = fieldsOf(on);
  return {
    space,
    name,
    index,
    kind,
    unique,
    state,
    definedSeq,
    readySeq,
    on: fields,
    reason: reason ?? undefined,
  };
}

const systemTree: Place = { file: 'system tree' };

function listOf(value: PackValue | undefined): readonly PackValue[] {
  if (!Array.isArray(value)) throw corrupt('index definition is not a list', systemTree);
  return value as readonly PackValue[];
}

function fieldsOf(value: PackValue | undefined): IndexField[] {
  const list = listOf(value);
  if (list.length === 0 || list.length > indexFieldsMax) {
    throw corrupt('index definition has a number of fields out of range', systemTree);
  }
  return list.map((item) => {
    const plain = plainFields.find((name) => name === item);
    if (plain !== undefined) return plain;
    if (typeof item === 'string')
      throw newerFormat('index on a field that is not known to this build', systemTree);
    const [[name, path] = [], ...more] =
      typeof item === 'object' && item !== null ? Object.entries(item) : [];
    if (name !== 'metadata' || typeof path !== 'string' || path === '' || more.length > 0) {
      throw corrupt('index definition has no field', systemTree);
    }
    return { metadata: path };
  });
}

/** The lowest number no index ever had, from the row `indexes`; VARVE_CORRUPT when it has the wrong shape. */
export function decodeNextIndex(value: Uint8Array): number {
  if (value.length !== 4) throw corrupt('row of the next index has the wrong shape', systemTree);
  return viewOf(value).getUint32(0, true);
}

export function encodeNextIndex(next: number): Uint8Array {
  const out = new Uint8Array(4);
  viewOf(out).setUint32(0, next, true);
  return out;
}
