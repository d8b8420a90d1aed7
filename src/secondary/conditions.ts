/**
 * What a query asks of a row, as intervals of encoded components: pure data, so that an index and a row are
 * asked the same question. A row meets a condition when one of the field's components lies in its interval;
 * a row without the field meets none.
 */
import { compareBytes, fromHex, prefixEnd } from '../base/bytes.ts';
import { invalid } from '../base/errors.ts';
import {
  checkIndexValue,
  encodeComponent,
  encodeOpenComponent,
  type IndexValue,
} from '../format/index-key.ts';
import type { IndexField } from '../format/index-rows.ts';
import { checkField, fieldName } from './definition.ts';
import type { RowFields } from './derive.ts';

/** Bounds on one field; they hold together. `prefix` is for strings and bytes. */
export interface FieldBounds {
  eq?: IndexValue;
  gt?: IndexValue;
  gte?: IndexValue;
  lt?: IndexValue;
  lte?: IndexValue;
  prefix?: string | Uint8Array;
}

/** A value the field must have, or bounds on it. */
export type Condition = IndexValue | FieldBounds;

/** from <= component < to. */
export interface Interval {
  readonly from: Uint8Array;
  /** Undefined: no upper bound. */
  readonly to: Uint8Array | undefined;
}

/** The interval that has every component. */
export const everything: Interval = { from: new Uint8Array(0), to: undefined };

/** What two intervals have in common. */
export function narrowed({ from, to }: Interval, by: Partial<Interval>): Interval {
  return {
    from: by.from !== undefined && compareBytes(by.from, from) > 0 ? by.from : from,
    to: by.to !== undefined && (to === undefined || compareBytes(by.to, to) < 0) ? by.to : to,
  };
}

export interface FieldCondition extends Interval {
  readonly field: IndexField;
  /** fieldName of it. */
  readonly name: string;
  /** The one component that meets it, if it is an equality. */
  readonly eq: Uint8Array | undefined;
  /** As it was given, for `explain`. */
  readonly given: FieldBounds;
}

const boundNames = ['eq', 'gt', 'gte', 'lt', 'lte', 'prefix'] as const;

/** VARVE_INVALID_ARGUMENT for what is no condition on the field. */
export function checkCondition(field: IndexField, given: Condition): FieldCondition {
  const name = fieldName(checkField(field));
  const bounds = isBounds(given) ? given : { eq: given };
  const names = Object.keys(bounds);
  if (names.length === 0) throw invalid(`${name}: give a value, or bounds`);
  let within = everything;
  for (const bound of names) {
    if (!(boundNames as readonly string[]).includes(bound)) {
      throw invalid(`${name}: unknown bound ${JSON.stringify(bound)}; known: ${boundNames.join(', ')}`);
    }
    within = narrowed(within, intervalOf(bound as keyof FieldBounds, componentOf(field, bound, bounds)));
  }
  const eq = bounds.eq === undefined ? undefined : encodeComponent(conditionValue(field, bounds.eq));
  return { field, name, ...within, eq, given: bounds };
}

function isBounds(given: Condition): given is FieldBounds {
  if (typeof given !== 'object' || given === null) return false;
  return !(given instanceof Date) && !(given instanceof Uint8Array);
}

function componentOf(field: IndexField, bound: string, bounds: FieldBounds): Uint8Array {
  const value = bounds[bound as keyof FieldBounds];
  if (bound !== 'prefix') return encodeComponent(conditionValue(field, value));
  return encodeOpenComponent(prefixValue(field, value));
}

/** The interval that one bound leaves, given the component (or tuple) it is a bound at. */
export function intervalOf(bound: keyof FieldBounds, at: Uint8Array): Partial<Interval> {
  const behind = prefixEnd(at);
  switch (bound) {
    case 'gte':
      return { from: at };
    case 'gt':
      return behind === undefined ? { from: at, to: at } : { from: behind };
    case 'lt':
      return { to: at };
    case 'lte':
      return behind === undefined ? {} : { to: behind };
    default:
      return behind === undefined ? { from: at } : { from: at, to: behind };
  }
}

/**
 * A value as the field has it: digests may be given in hex, times in ms. It may be of any type: a bound is a
 * place in the one order of all values.
 */
export function fieldValue(field: IndexField, given: unknown): IndexValue {
  const value = checkIndexValue(given, fieldName(field));
  if (field === 'digest' && typeof value === 'string') return fromHex(value);
  if ((field === 'modified' || field === 'created') && typeof value === 'number') {
    return checkIndexValue(new Date(value), fieldName(field));
  }
  return value;
}

/**
 * The same for a condition: what no row can have in the field is VARVE_INVALID_ARGUMENT. Only metadata is of
 * any type.
 */
function conditionValue(field: IndexField, given: unknown): IndexValue {
  const value = fieldValue(field, given);
  if (typeof field !== 'string' || isOfField[field](value)) return value;
  throw invalid(`${field} is never a value like this`, { actual: given });
}

const isText = (value: IndexValue): boolean => typeof value === 'string';
const isTime = (value: IndexValue): boolean => value instanceof Date;
const isOfField: Readonly<Record<IndexField & string, (value: IndexValue) => boolean>> = {
  digest: (value) => value instanceof Uint8Array,
  size: (value) => typeof value === 'number',
  modified: isTime,
  created: isTime,
  contentType: isText,
  tags: isText,
};

/** The beginning of a string or of bytes. */
export function prefixValue(field: IndexField, given: unknown): string | Uint8Array {
  if (field === 'digest' && typeof given === 'string') return fromHex(given);
  if (typeof given === 'string' || given instanceof Uint8Array) return given;
  throw invalid(`${fieldName(field)}: prefix must be a string or a Uint8Array`);
}

/** True when a component lies in the interval. */
export function isWithin({ from, to }: Interval, component: Uint8Array): boolean {
  if (compareBytes(component, from) < 0) return false;
  return to === undefined || compareBytes(component, to) < 0;
}

/** True when the row meets the condition. */
export function meets(row: RowFields, condition: FieldCondition): boolean {
  return row.components(condition.field).some((component) => isWithin(condition, component));
}
