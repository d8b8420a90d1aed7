/** What an index is: the definition as callers give and get it, checked. */
import type { Seq } from '../base/brands.ts';
import { encodeUtf8 } from '../base/bytes.ts';
import { invalid } from '../base/errors.ts';
import { indexFieldsMax, indexNameBytesMax, metadataDepthMax } from '../base/limits.ts';
import { checkFlags } from '../base/names.ts';
import {
  type IndexField,
  type IndexRow,
  indexKinds,
  indexStates,
  plainFields,
} from '../format/index-rows.ts';

/** A definition as it is given to `indexes.define`. */
export interface IndexDefinition {
  name: string;
  /** 'range': in the order of values. 'hash': for equality only; smaller, and values may be of any length. */
  kind: 'range' | 'hash';
  /** No two live keys have the same value. Default false. */
  unique?: boolean;
  /** What it orders: one field, or several in one tuple order. */
  on: IndexField | readonly IndexField[];
}

/** An index as `indexes.list` tells it. */
export interface IndexInfo {
  name: string;
  kind: 'range' | 'hash';
  unique: boolean;
  on: IndexField[];
  /** 'building': entries of older rows are being made. 'failed': they cannot be; `reason` says why. */
  state: 'building' | 'ready' | 'failed';
  reason?: string;
}

/** An index and its size, of the moment of the call. */
export interface IndexStats extends IndexInfo {
  /** Pairs of a value and a key that has it. Keys deleted by a range count until that is carried out. */
  entries: number;
  /** Bytes of the rows in the index tree, superseded ones included, before blocks are encoded. */
  bytes: number;
  /** Different values, or tuples of them. */
  distinct: number;
  /** Share of different values among the entries: 1 = each value is that of one key. */
  selectivity: number;
}

/** A checked definition. */
export interface IndexSpec {
  readonly name: string;
  /** One of indexKinds. */
  readonly kind: number;
  readonly unique: boolean;
  readonly on: readonly IndexField[];
}

/** VARVE_INVALID_ARGUMENT for what is no definition. */
export function checkDefinition(given: IndexDefinition): IndexSpec {
  const { name, kind, unique = false, on } = given;
  checkIndexName(name);
  if (kind !== 'range' && kind !== 'hash')
    throw invalid("an index has kind 'range' or 'hash'", { actual: kind });
  checkFlags(given, ['unique']);
  const fields = (Array.isArray(on) ? on : [on]) as readonly IndexField[];
  if (fields.length === 0 || fields.length > indexFieldsMax) {
    throw invalid(`an index is on 1 to ${indexFieldsMax} fields`);
  }
  const checked = fields.map(checkField);
  const names = checked.map(fieldName);
  if (new Set(names).size !== names.length) throw invalid('an index has each field once');
  return { name, kind: indexKinds[kind], unique, on: checked };
}

export function checkIndexName(name: string): void {
  if (typeof name !== 'string' || name === '') throw invalid('an index has a name of at least one character');
  if (encodeUtf8(name, 'index name').length > indexNameBytesMax) {
    throw invalid(`an index name has at most ${indexNameBytesMax} bytes`);
  }
}

/** VARVE_INVALID_ARGUMENT for what is no field. */
export function checkField(field: IndexField): IndexField {
  if (typeof field === 'string') {
    if (plainFields.includes(field)) return field;
    throw invalid(`an index is on ${plainFields.join(', ')} or { metadata: 'path' }`, { actual: field });
  }
  if (typeof field !== 'object' || field === null || Object.keys(field).join() !== 'metadata') {
    throw invalid(`a field is one of ${plainFields.join(', ')} or { metadata: 'path' }`);
  }
  return { metadata: checkPath(field.metadata) };
}

/** A path of names between dots. */
export function checkPath(path: string): string {
  if (typeof path !== 'string' || path === '') throw invalid('a metadata path is a text like a.b.c');
  encodeUtf8(path, 'metadata path');
  const names = path.split('.');
  if (names.length > metadataDepthMax || names.includes('')) {
    throw invalid(`a metadata path has 1 to ${metadataDepthMax} names between dots`, { actual: path });
  }
  return path;
}

/** A name that differs between fields: `metadata.` and the path, or the field itself. */
export function fieldName(field: IndexField): string {
  return typeof field === 'string' ? field : `metadata.${field.metadata}`;
}

/** The same index, whatever became of it. */
export function isSameSpec(a: IndexSpec, b: IndexSpec): boolean {
  const names = (spec: IndexSpec): string => spec.on.map(fieldName).join('\n');
  return a.kind === b.kind && a.unique === b.unique && names(a) === names(b);
}

/** What a caller is told who sees the store as of `visibleSeq`. */
export function infoOf(row: IndexRow, visibleSeq: Seq): IndexInfo {
  const { name, kind, unique, on, state, readySeq, reason } = row;
  const isReady = state === indexStates.ready && readySeq <= visibleSeq;
  const info: IndexInfo = {
    name,
    kind: kind === indexKinds.hash ? 'hash' : 'range',
    unique,
    on: [...on],
    state: isReady ? 'ready' : state === indexStates.failed ? 'failed' : 'building',
  };
  if (reason !== undefined) info.reason = reason;
  return info;
}
