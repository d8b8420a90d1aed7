/**
 * Decides where the rows of a query come from: an index whose first fields the conditions bound, or the keys
 * themselves. Pure: how many rows a range holds is given.
 *
 * - An index is of use only where every row that meets the conditions has an entry in it: each of its fields
 *   is one that every row has, or one that the query asks for.
 * - Conditions narrow it field by field: equal values first, then one range.
 * - The order asked for is served where the rows come in it. If they do not, the rows must be sorted, which
 *   is done for a `limit` only, with that many rows in memory.
 * - Of the sources that are left the one with the fewest rows is taken.
 */
import { concatBytes, prefixEnd } from '../base/bytes.ts';
import { hashComponent } from '../format/index-key.ts';
import { type IndexField, type IndexRow, indexKinds } from '../format/index-rows.ts';
import { everything, type FieldCondition, type Interval } from './conditions.ts';
import { fieldName } from './definition.ts';

/** What is asked for. */
export interface Question {
  readonly conditions: readonly FieldCondition[];
  /** Undefined: any order. */
  readonly orderBy: IndexField | 'key' | undefined;
  readonly isLimited: boolean;
}

/** Where rows may come from. */
export interface Source {
  /** Undefined: the keys, in their order. */
  readonly index: IndexRow | undefined;
  /** Of tuples of the index; of keys where there is none. */
  readonly range: Interval;
  /** Conditions that the range already stands for. */
  readonly used: readonly FieldCondition[];
  readonly isOrdered: boolean;
}

/** A source with what it holds, about. */
export interface Measured extends Source {
  readonly rows: number;
}

const inEveryRow: ReadonlySet<IndexField> = new Set(['digest', 'size', 'modified', 'created'] as const);

/** Every source that can answer, the keys among them. `keys`: the range of keys that is asked for. */
export function sourcesOf(question: Question, indexes: readonly IndexRow[], keys: Interval): Source[] {
  const { orderBy } = question;
  const fromKeys: Source = {
    index: undefined,
    range: keys,
    used: [],
    isOrdered: orderBy === undefined || orderBy === 'key',
  };
  const fromIndexes = indexes.map((index) => sourceOf(question, index));
  return [fromKeys, ...fromIndexes.filter((source) => source !== undefined)];
}

function sourceOf({ conditions, orderBy }: Question, index: IndexRow): Source | undefined {
  const has = (field: IndexField): boolean => {
    const name = fieldName(field);
    if (inEveryRow.has(field) || conditions.some((condition) => condition.name === name)) return true;
    return orderBy !== undefined && orderBy !== 'key' && fieldName(orderBy) === name;
  };
  if (!index.on.every(has)) return undefined;
  const used: FieldCondition[] = [];
  const equal: Uint8Array[] = [];
  let range: FieldCondition | undefined;
  let at = 0;
  for (; at < index.on.length; at++) {
    const ofField = conditions.filter(({ name }) => name === fieldName(index.on[at]!));
    const condition = ofField.find(({ eq }) => eq !== undefined) ?? ofField[0];
    if (condition === undefined) break;
    used.push(condition);
    if (condition.eq === undefined) {
      range = condition;
      break;
    }
    equal.push(condition.eq);
  }
  if (index.kind === indexKinds.hash) {
    if (equal.length < index.on.length) return undefined;
    const hash = hashComponent(concatBytes(equal));
    return {
      index,
      range: prefixed(hash, undefined),
      used,
      isOrdered: isOrdered(index, equal.length, orderBy),
    };
  }
  const ordered = isOrdered(index, equal.length, orderBy);
  if (used.length === 0 && !(ordered && orderBy !== undefined)) return undefined;
  return { index, range: prefixed(concatBytes(equal), range), used, isOrdered: ordered };
}

/** The tuples that begin with `start` and go on within the range. */
function prefixed(start: Uint8Array, range: Interval | undefined): Interval {
  if (start.length === 0) return range ?? everything;
  const from = range === undefined ? start : concatBytes([start, range.from]);
  const to = range?.to === undefined ? prefixEnd(start) : concatBytes([start, range.to]);
  return { from, to };
}

/** With the first `equal` fields fixed, entries come in the order of the next one, in the end of keys. */
function isOrdered(index: IndexRow, equal: number, orderBy: Question['orderBy']): boolean {
  if (orderBy === undefined) return true;
  if (orderBy === 'key') return equal === index.on.length;
  const name = fieldName(orderBy);
  const fixed = index.on.slice(0, equal).some((field) => fieldName(field) === name);
  if (fixed) return true;
  if (index.kind === indexKinds.hash) return false;
  const next = index.on[equal];
  return next !== undefined && fieldName(next) === name;
}

/** The source to take; undefined when the rows of none may be sorted. */
export function chooseSource(question: Question, sources: readonly Measured[]): Measured | undefined {
  const usable = sources.filter(({ isOrdered: ordered }) => ordered || question.isLimited);
  let best: Measured | undefined;
  for (const source of usable) if (best === undefined || isBetter(source, best)) best = source;
  return best;
}

/** Fewer rows; of as many, rows in order, then rows of an index, then more of the conditions. */
function isBetter(a: Measured, b: Measured): boolean {
  if (a.rows !== b.rows) return a.rows < b.rows;
  if (a.isOrdered !== b.isOrdered) return a.isOrdered;
  return a.used.length > b.used.length;
}
