/** Shapes of queries: what callers give and get. */
import type { IndexValue } from '../../format/index-key.ts';
import type { IndexField } from '../../format/index-rows.ts';
import type { Condition, FieldBounds } from '../../secondary/conditions.ts';
import type { At } from '../history/point.ts';
import type { Key, KeyEntry } from '../types.ts';

/** What every query takes. */
interface QueryBase {
  /** Last first. */
  reverse?: boolean;
  /** At most this many entries. */
  limit?: number;
  /** The `cursor` of an entry: the query goes on behind it. The rest must be as it was. */
  after?: string;
  /** A point in time, see ReadOptions. */
  at?: At;
  /** Read the values (default true). */
  values?: boolean;
  /** Add `stat` to each entry (default false). */
  stats?: boolean;
  /** Tell how the query would be answered instead. */
  explain?: boolean;
  signal?: AbortSignal;
}

/** A value; for an index on several fields a tuple, or the beginning of one. */
export type IndexTuple = IndexValue | readonly IndexValue[];

/**
 * Entries of one index, in its order: one for each value of a key that is within the bounds, which hold
 * together. All values are in one order: null, false, true, numbers (NaN first), dates, strings and bytes by
 * their bytes. So `gte: 5` alone has dates and strings behind the numbers.
 */
export interface IndexQuery extends QueryBase {
  index: string;
  eq?: IndexTuple;
  gt?: IndexTuple;
  gte?: IndexTuple;
  lt?: IndexTuple;
  lte?: IndexTuple;
  /** Strings or bytes that begin with this, in the first field or the one behind those of `eq`. */
  prefix?: string | Uint8Array;
}

/** Conditions on keys; all must hold. A key without a field meets no condition on it. */
export interface Where {
  /** Of keys. */
  prefix?: Key;
  contentType?: Condition;
  /** A tag the key has, all of several, or bounds that one of its tags meets. */
  tags?: string | readonly string[] | FieldBounds;
  digest?: Condition;
  size?: Condition;
  modified?: Condition;
  created?: Condition;
  /** By path, as `'author.name'`. Of an array, one element must meet the condition. */
  metadata?: { readonly [path: string]: Condition };
}

/** Each key that meets the conditions, once. */
export interface WhereQuery extends QueryBase {
  where?: Where;
  /**
   * Keys without the field are left out; of an array the first element within the conditions counts, in the
   * direction of the query. VARVE_INVALID_ARGUMENT where no index has the order and there is no `limit`.
   */
  orderBy?: IndexField | 'key';
}

/** What `query` takes. */
export type QueryOptions = IndexQuery | WhereQuery;

/** A query of one state, which has its point in time. */
export type StateQuery = Omit<IndexQuery, 'at'> | Omit<WhereQuery, 'at'>;

/** A key found by a query. */
export interface QueryEntry<K extends Key = string> extends KeyEntry<K> {
  /** The value, or tuple, the index has for it; where an index was used. */
  indexKey?: IndexValue | IndexValue[];
  /** For `after`; absent where entries were sorted. */
  cursor?: string;
}

/** How a query is answered. */
export interface QueryPlan {
  /** The index used; null: the keys are gone through. */
  index: string | null;
  /** Bounds that the index (or the range of keys) stands for, by field. */
  bounds: { [field: string]: FieldBounds };
  /** Conditions that each row is asked for. */
  filter: { [field: string]: FieldBounds };
  /** 'served': rows come in the order asked for. 'sorted': `limit` rows are kept and sorted. */
  order: 'any' | 'served' | 'sorted';
  /** Rows gone through, about, without regard to `limit`. */
  estimatedRows: number;
  /** What else could have been used; null is the keys. */
  considered: { index: string | null; estimatedRows: number }[];
}
