/** What a query asks for, checked; and the cursor by which it goes on later. */
import { concatBytes, encodeUtf8 } from '../../base/bytes.ts';
import { invalid, isVarveError } from '../../base/errors.ts';
import { queryHeapRowsMax } from '../../base/limits.ts';
import { checkFlags, checkNames } from '../../base/names.ts';
import { decodeMsgpack, encodeMsgpack } from '../../codec/msgpack.ts';
import { encodeComponent, encodeOpenComponent, hashComponent } from '../../format/index-key.ts';
import { type IndexField, type IndexRow, indexKinds } from '../../format/index-rows.ts';
import {
  type Condition,
  checkCondition,
  everything,
  type FieldCondition,
  fieldValue,
  type Interval,
  intervalOf,
  narrowed,
  prefixValue,
} from '../../secondary/conditions.ts';
import { checkField, checkIndexName, checkPath } from '../../secondary/definition.ts';
import { keyBytes } from '../key-args.ts';
import type { IndexQuery, QueryOptions, Where, WhereQuery } from './query-types.ts';

const commonNames = ['limit', 'reverse', 'after', 'at', 'values', 'stats', 'signal', 'explain'] as const;
const indexNames = ['index', 'eq', 'gt', 'gte', 'lt', 'lte', 'prefix', ...commonNames] as const;
const whereNames = ['where', 'orderBy', ...commonNames] as const;
const fieldNames = ['contentType', 'tags', 'digest', 'size', 'modified', 'created'] as const;
const boundNames = ['eq', 'gt', 'gte', 'lt', 'lte'] as const;

/** What both kinds of query have. */
export interface Common {
  readonly limit: number;
  readonly reverse: boolean;
  readonly after: Cursor | undefined;
  readonly values: boolean;
  readonly stats: boolean;
  readonly signal: AbortSignal | undefined;
}

/** Checks the options both kinds have, and their names. VARVE_INVALID_ARGUMENT. */
export function checkCommon(options: QueryOptions): Common {
  if (typeof options !== 'object' || options === null) throw invalid('query takes an object');
  const byIndex = isIndexQuery(options);
  if (!byIndex && !('where' in options) && !('orderBy' in options)) {
    throw invalid('a query names an index, or says where');
  }
  checkNames(options, byIndex ? indexNames : whereNames, 'query option');
  checkFlags(options, ['reverse', 'values', 'stats', 'explain']);
  const { limit, reverse = false, after, values = true, stats = false, signal } = options;
  if (limit !== undefined && (!Number.isInteger(limit) || limit < 0)) {
    throw invalid('limit must be a whole number, 0 or more', { actual: limit });
  }
  return {
    limit: limit ?? Number.MAX_SAFE_INTEGER,
    reverse,
    after: after === undefined ? undefined : decodeCursor(after),
    values,
    stats,
    signal,
  };
}

export function isIndexQuery(options: QueryOptions): options is IndexQuery {
  return 'index' in options;
}

/** The tuples an index query asks for. */
export interface TupleRange extends Interval {
  /** Of a hash index: the whole tuple, since others may have its hash. */
  readonly exact: Uint8Array | undefined;
}

/** Bounds on the tuples of an index. VARVE_INVALID_ARGUMENT for what cannot be one. */
export function tupleRange(index: IndexRow, query: IndexQuery): TupleRange {
  checkIndexName(query.index);
  if (index.kind === indexKinds.hash) return hashRange(index, query);
  let within = everything;
  for (const bound of boundNames) {
    const given = query[bound];
    if (given !== undefined) within = narrowed(within, intervalOf(bound, tupleOf(index, given, bound)));
  }
  if (query.prefix !== undefined) {
    const equal = query.eq === undefined ? new Uint8Array(0) : tupleOf(index, query.eq, 'eq');
    const field = index.on[query.eq === undefined ? 0 : listOf(query.eq).length];
    if (field === undefined) throw invalid('prefix is of the field behind those of eq, and there is none');
    const open = encodeOpenComponent(prefixValue(field, query.prefix));
    within = narrowed(within, intervalOf('prefix', concatBytes([equal, open])));
  }
  return { ...within, exact: undefined };
}

function hashRange(index: IndexRow, query: IndexQuery): TupleRange {
  const { eq, gt, gte, lt, lte, prefix } = query;
  const isRange = [gt, gte, lt, lte, prefix].some((bound) => bound !== undefined);
  if (eq === undefined || isRange || listOf(eq).length !== index.on.length) {
    throw invalid(
      `index ${JSON.stringify(index.name)} is of kind 'hash': give eq, with a value for each field`,
    );
  }
  const exact = tupleOf(index, eq, 'eq');
  const hash = hashComponent(exact);
  const { from = hash, to } = intervalOf('eq', hash);
  return { from, to, exact };
}

function listOf(given: unknown): readonly unknown[] {
  return Array.isArray(given) ? given : [given];
}

function tupleOf(index: IndexRow, given: unknown, bound: string): Uint8Array {
  const values = listOf(given);
  if (values.length === 0 || values.length > index.on.length) {
    throw invalid(`${bound}: index ${JSON.stringify(index.name)} has ${index.on.length} fields`);
  }
  return concatBytes(values.map((value, i) => encodeComponent(fieldValue(index.on[i]!, value))));
}

/** A checked `where` and `orderBy`. */
export interface Asked {
  readonly conditions: readonly FieldCondition[];
  readonly orderBy: IndexField | 'key' | undefined;
  readonly keyPrefix: Uint8Array;
}

/** VARVE_INVALID_ARGUMENT names what is not acceptable. */
export function checkWhere({ where = {}, orderBy, limit }: WhereQuery): Asked {
  if (typeof where !== 'object' || where === null) throw invalid('where takes an object');
  checkNames(where, ['prefix', 'metadata', ...fieldNames], 'condition');
  const conditions = fieldNames.flatMap((field) => conditionsOn(field, where));
  const { metadata = {} } = where;
  if (typeof metadata !== 'object' || metadata === null || Array.isArray(metadata)) {
    throw invalid('where.metadata takes an object of conditions by path');
  }
  for (const [path, condition] of Object.entries(metadata)) {
    conditions.push(checkCondition({ metadata: checkPath(path) }, condition));
  }
  if (orderBy === 'tags') throw invalid('a key has any number of tags: they are no order');
  if (orderBy !== undefined && orderBy !== 'key') checkField(orderBy);
  if (orderBy !== undefined && limit !== undefined && limit > queryHeapRowsMax) {
    throw invalid(`with orderBy, limit is at most ${queryHeapRowsMax}; go on with after`);
  }
  const keyPrefix = where.prefix === undefined ? new Uint8Array(0) : keyBytes(where.prefix, 'prefix');
  return { conditions, orderBy, keyPrefix };
}

function conditionsOn(field: (typeof fieldNames)[number], where: Where): FieldCondition[] {
  const given = where[field];
  if (given === undefined) return [];
  if (field !== 'tags' || !Array.isArray(given)) return [checkCondition(field, given as Condition)];
  return (given as readonly string[]).map((tag) => checkCondition('tags', tag));
}

/** Where a query has come to. */
export interface Cursor {
  /** Name of the index; null: the keys. */
  readonly index: string | null;
  /** Behind the number of the index, or of the space: the rest of the row prefix. */
  readonly at: Uint8Array;
}

export function encodeCursor({ index, at }: Cursor): string {
  return Buffer.from(encodeMsgpack([index, at], 'cursor', cursorLimits)).toString('base64url');
}

const cursorLimits = { bytesMax: 1024 * 1024, depthMax: 1 };

function decodeCursor(given: string): Cursor {
  if (typeof given !== 'string') throw invalid('after is the cursor of an entry');
  encodeUtf8(given, 'after');
  try {
    const bytes = new Uint8Array(Buffer.from(given, 'base64url'));
    const value = decodeMsgpack(bytes, { file: 'cursor' }, 0, bytes.length, cursorLimits);
    const [index, at, ...more] = Array.isArray(value) ? value : [];
    const isIndex = index === null || typeof index === 'string';
    if (isIndex && at instanceof Uint8Array && at.length > 1 && more.length === 0) return { index, at };
  } catch (error) {
    if (!isVarveError(error, 'VARVE_CORRUPT')) throw error;
  }
  throw invalid('after is not the cursor of an entry');
}
