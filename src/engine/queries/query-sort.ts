/** The first rows by a field, kept in order in memory. */
import { compareBytes } from '../../base/bytes.ts';
import { isWithin } from '../../secondary/conditions.ts';
import { fieldName } from '../../secondary/definition.ts';
import type { Asked, Common } from './query-args.ts';
import type { QueryRow } from './query-rows.ts';

/** A row kept to be sorted. */
export interface Kept {
  readonly order: Uint8Array;
  readonly keyPrefix: Uint8Array;
}

/** The component that gives a row its place; of several the first in the direction. */
export function orderOf(
  row: QueryRow,
  { orderBy, conditions }: Asked,
  reverse: boolean,
): Uint8Array | undefined {
  if (orderBy === undefined || orderBy === 'key') return row.keyPrefix.slice();
  const own = conditions.filter(({ name }) => name === fieldName(orderBy));
  const components = row.fields
    .components(orderBy)
    .filter((component) => own.every((condition) => isWithin(condition, component)));
  return reverse ? components.at(-1) : components[0];
}

/** Adds a row where it belongs; beyond `limit` the last one goes. */
export function keep(kept: Kept[], row: Kept, { limit, reverse }: Common): void {
  const sign = reverse ? -1 : 1;
  const compare = (a: Kept, b: Kept): number =>
    sign * (compareBytes(a.order, b.order) || compareBytes(a.keyPrefix, b.keyPrefix));
  if (kept.length === limit && compare(row, kept[limit - 1]!) >= 0) return;
  let low = 0;
  let high = kept.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (compare(kept[middle]!, row) < 0) low = middle + 1;
    else high = middle;
  }
  kept.splice(low, 0, row);
  if (kept.length > limit) kept.pop();
}
