/** Range deletes as the model has them: which keys bounds cover, and which number a space has at a commit. */
import { fromHex, toHex } from '../../src/base/bytes.ts';
import { boundsOf, type KeyRange } from '../../src/format/internal-key.ts';
import type { BoundsSpec } from './plan.ts';

const boundNames = ['prefix', 'gt', 'gte', 'lt', 'lte'] as const;

/** Bounds on row keys of the store, as hex; `to` undefined: to the end. */
export interface RowBounds {
  readonly from: string;
  readonly to: string | undefined;
}

/** True for a key (hex) that the bounds cover. Hex has the order of its bytes. */
export function isWithin(key: string, { prefix = '', gt, gte, lt, lte }: BoundsSpec): boolean {
  return (
    key.startsWith(prefix) &&
    (gt === undefined || key > gt) &&
    (gte === undefined || key >= gte) &&
    (lt === undefined || key < lt) &&
    (lte === undefined || key <= lte)
  );
}

/** The bounds as deleteRange takes them. */
export function keyRangeOf(bounds: BoundsSpec): KeyRange {
  const range: KeyRange = {};
  for (const name of boundNames) {
    const hex = bounds[name];
    if (hex !== undefined) range[name] = fromHex(hex);
  }
  return range;
}

/** What the range row of such a call says in the space of that number. */
export function rowBoundsOf(bounds: BoundsSpec, space: number): RowBounds {
  const { from, to } = boundsOf(keyRangeOf(bounds), space);
  return { from: toHex(from), to: to === undefined ? undefined : toHex(to) };
}

/** True where no key can be within the bounds: such a call makes no commit. */
export function coversNothing(bounds: BoundsSpec): boolean {
  const { from, to } = rowBoundsOf(bounds, 0);
  return to !== undefined && from >= to;
}

/** True when the row key (hex, without its number) lies in the bounds. */
export function isCovered(rowKey: string, { from, to }: RowBounds): boolean {
  return rowKey >= from && (to === undefined || rowKey < to);
}

/** Numbers and names of spaces, commit after commit. */
export class SpaceBook {
  readonly #nameOf = new Map<number, string>([[0, '']]);
  readonly #numberOf = new Map<string, number>([['', 0]]);
  readonly #dropped = new Set<number>();

  /** Name of a number that had rows, dropped since or not. */
  nameOf(number: number): string | undefined {
    return this.#nameOf.get(number);
  }

  /** The name of a number that stands; undefined for one never written to. Throws for a dropped one. */
  standing(number: number, what: string): string | undefined {
    if (this.#dropped.has(number)) throw new Error(`${what} is in space ${number}, which was dropped before`);
    return this.#nameOf.get(number);
  }

  has(name: string): boolean {
    return this.#numberOf.has(name);
  }

  /** Named spaces that were written to and not dropped since. */
  get names(): string[] {
    return Array.from(this.#numberOf.keys()).filter((name) => name !== '');
  }

  /** A call to the space `name` has put a row under `number`. */
  take(number: number, name: string, what: string): void {
    const known = this.standing(number, what);
    if (known !== undefined && known !== name) throw new Error(`space ${number} is ${known} and ${name}`);
    const other = this.#numberOf.get(name);
    if (other !== undefined && other !== number)
      throw new Error(`${what}: "${name}" is space ${other} and ${number}`);
    this.#nameOf.set(number, name);
    this.#numberOf.set(name, number);
  }

  /** The space with that number is dropped. */
  drop(number: number, what: string): void {
    const name = this.standing(number, what);
    if (name === undefined || number === 0) throw new Error(`${what} drops space ${number}, which is none`);
    this.#dropped.add(number);
    this.#numberOf.delete(name);
  }
}
