/** The first rows by a field, kept in order in memory. */
import { compareBytes } from '../../base/bytes.ts';
import { invalid } from '../../base/errors.ts';
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

/** Bytes of memory that a kept row takes beside its two arrays. */
const rowOverheadBytes = 300;

/** The first rows in an order, within a budget. */
export class SortedRows {
  readonly #rows: Kept[] = [];
  readonly #common: Common;
  readonly #bytesMax: number;
  #bytes = 0;

  /** `bytesMax`: of all rows kept. */
  constructor(common: Common, bytesMax: number) {
    this.#common = common;
    this.#bytesMax = bytesMax;
  }

  get rows(): readonly Kept[] {
    return this.#rows;
  }

  /**
   * Adds a row where it belongs (taken); beyond `limit` the last one goes. VARVE_INVALID_ARGUMENT when what
   * the limit allows takes more than the budget.
   */
  add(row: Kept): void {
    const rows = this.#rows;
    const { limit, reverse } = this.#common;
    const sign = reverse ? -1 : 1;
    const compare = (a: Kept, b: Kept): number =>
      sign * (compareBytes(a.order, b.order) || compareBytes(a.keyPrefix, b.keyPrefix));
    if (rows.length === limit && compare(row, rows[limit - 1]!) >= 0) return;
    let low = 0;
    let high = rows.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (compare(rows[middle]!, row) < 0) low = middle + 1;
      else high = middle;
    }
    rows.splice(low, 0, row);
    this.#bytes += bytesOf(row);
    if (rows.length > limit) this.#bytes -= bytesOf(rows.pop()!);
    if (this.#bytes > this.#bytesMax) {
      const bound = `memory.sortBytes (${this.#bytesMax})`;
      throw invalid(`sorting takes more than ${bound}: ask for fewer rows, or index the field`);
    }
  }
}

function bytesOf({ order, keyPrefix }: Kept): number {
  return order.length + keyPrefix.length + rowOverheadBytes;
}
