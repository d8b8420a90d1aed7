/**
 * Declarative fixed-size layouts: one table per on-disk structure, from which encoding, decoding,
 * the dump tool and docs/FORMAT.md all come.
 *
 * Little-endian. A u64 that must be an exact integer in JavaScript is type `u64` and is refused above
 * 2^53-1; a 64-bit checksum is type `hash64` and is a bigint (never used per chunk or per key on a hot path).
 * Fields named `reserved…` are written as zero and must read as zero.
 */

import { assert } from '../base/assert.ts';
import { isZero, viewOf } from '../base/bytes.ts';
import { corrupt, type Place } from '../base/errors.ts';

export type FieldType = 'u8' | 'u16' | 'u32' | 'i32' | 'u48' | 'u64' | 'i64' | 'hash64' | 'bytes';

export interface FieldSpec {
  readonly type: FieldType;
  readonly offset: number;
  readonly size: number;
  /** What the field holds and which fault it guards against. */
  readonly doc: string;
}

const widths = { u8: 1, u16: 2, u32: 4, i32: 4, u48: 6, u64: 8, i64: 8, hash64: 8 } as const;

/**
 * One row of a layout table: `f(offset, 'u32', 'what it is')`, or `f(offset, 16, 'doc')` for 16 raw bytes.
 */
export function f<T extends Exclude<FieldType, 'bytes'>>(
  offset: number,
  type: T,
  doc: string,
): FieldSpec & { readonly type: T };
export function f(offset: number, size: number, doc: string): FieldSpec & { readonly type: 'bytes' };
export function f(offset: number, type: Exclude<FieldType, 'bytes'> | number, doc: string): FieldSpec {
  return typeof type === 'number'
    ? { type: 'bytes', offset, size: type, doc }
    : { type, offset, size: widths[type], doc };
}

type ValueOf<T extends FieldType> = T extends 'bytes' ? Uint8Array : T extends 'hash64' ? bigint : number;
type Fields = Readonly<Record<string, FieldSpec>>;
type Hidden = `reserved${string}`;

/** Values of a layout's fields by name; reserved fields do not appear. */
export type Values<F extends Fields> = {
  -readonly [K in Exclude<keyof F, Hidden>]: ValueOf<F[K]['type']>;
};

export interface Layout<F extends Fields = Fields> {
  readonly name: string;
  readonly title: string;
  readonly size: number;
  readonly fields: F;
  /** Offset of every field, for code that reads single fields in place. */
  readonly at: { readonly [K in keyof F]: number };
  /** The fields in order, as encoding and decoding walk them. */
  readonly plan: readonly FieldStep[];
  /** Every field but the reserved ones, without a value yet: decoded records start as copies of it. */
  readonly blank: Readonly<Record<string, unknown>>;
}

/** One field of a plan. */
export interface FieldStep {
  readonly name: string;
  readonly type: FieldType;
  readonly offset: number;
  readonly size: number;
  readonly reserved: boolean;
}

/** Checks at load time that the fields are contiguous and fill `size`. */
export function defineLayout<const F extends Fields>(
  name: string,
  title: string,
  size: number,
  fields: F,
): Layout<F> {
  let end = 0;
  const at: Record<string, number> = {};
  const plan: FieldStep[] = [];
  for (const [field, spec] of Object.entries(fields)) {
    assert(spec.offset === end, `layout ${name}: ${field} is not contiguous`);
    end += spec.size;
    at[field] = spec.offset;
    const reserved = field.startsWith('reserved');
    plan.push({ name: field, type: spec.type, offset: spec.offset, size: spec.size, reserved });
  }
  assert(end === size, `layout ${name}: fields do not fill it`);
  // Not by assignments: after a dozen V8 turns an object into a hash table, ten times as slow to copy.
  const blank = Object.fromEntries(plan.flatMap((step) => (step.reserved ? [] : [[step.name, undefined]])));
  return { name, title, size, fields, at: at as { readonly [K in keyof F]: number }, plan, blank };
}

/** Writes every field at `pos`; reserved fields become zero. Values are trusted (our own). */
export function encodeLayout<F extends Fields>(
  layout: Layout<F>,
  values: Values<F>,
  out: Uint8Array,
  pos = 0,
): void {
  const view = viewOf(out);
  const given = values as Record<string, number | bigint | Uint8Array>;
  for (const step of layout.plan) {
    const at = pos + step.offset;
    if (step.reserved) out.fill(0, at, at + step.size);
    else writeField(view, out, at, step, given[step.name]!);
  }
}

export function layoutBytes<F extends Fields>(layout: Layout<F>, values: Values<F>): Uint8Array {
  const out = new Uint8Array(layout.size);
  encodeLayout(layout, values, out);
  return out;
}

/**
 * Reads every field at `pos`. VARVE_CORRUPT when the structure does not fit into `bytes`, a u64 exceeds
 * 2^53-1 or a reserved field is not zero. Byte fields are copies.
 */
export function decodeLayout<F extends Fields>(
  layout: Layout<F>,
  bytes: Uint8Array,
  pos: number,
  place: Place,
): Values<F> {
  if (pos < 0 || pos + layout.size > bytes.length) {
    throw corrupt(`${layout.title} is cut off`, placeAt(place, pos));
  }
  const view = viewOf(bytes);
  // A copy has the final shape at once: the fields it is then given add none.
  const out: Record<string, unknown> = { ...layout.blank };
  for (const step of layout.plan) {
    const at = pos + step.offset;
    if (step.reserved) {
      if (!isZero(bytes, at, at + step.size))
        throw corrupt(`${layout.title}.${step.name} is not zero`, placeAt(place, at));
      continue;
    }
    const value = readField(view, bytes, at, step);
    if (value === undefined)
      throw corrupt(`${layout.title}.${step.name} is out of range`, placeAt(place, at));
    out[step.name] = value;
  }
  return out as Values<F>;
}

function placeAt(place: Place, at: number): Place {
  return { file: place.file, offset: (place.offset ?? 0) + at };
}

function writeField(
  view: DataView,
  out: Uint8Array,
  at: number,
  spec: FieldStep,
  value: number | bigint | Uint8Array,
): void {
  switch (spec.type) {
    case 'u8':
      view.setUint8(at, value as number);
      break;
    case 'u16':
      view.setUint16(at, value as number, true);
      break;
    case 'u32':
      view.setUint32(at, value as number, true);
      break;
    case 'i32':
      view.setInt32(at, value as number, true);
      break;
    case 'u48':
      writeU48(view, at, value as number);
      break;
    case 'u64':
      writeU64(view, at, value as number);
      break;
    case 'i64':
      view.setBigInt64(at, BigInt(value as number), true);
      break;
    case 'hash64':
      view.setBigUint64(at, value as bigint, true);
      break;
    case 'bytes':
      assert((value as Uint8Array).length === spec.size, 'byte field has its size');
      out.set(value as Uint8Array, at);
      break;
  }
}

/** Undefined when an integer is out of range. */
function readField(
  view: DataView,
  bytes: Uint8Array,
  at: number,
  spec: FieldStep,
): number | bigint | Uint8Array | undefined {
  switch (spec.type) {
    case 'u8':
      return view.getUint8(at);
    case 'u16':
      return view.getUint16(at, true);
    case 'u32':
      return view.getUint32(at, true);
    case 'i32':
      return view.getInt32(at, true);
    case 'u48':
      return readU48(view, at);
    case 'u64': {
      const value = readU64(view, at);
      return value > Number.MAX_SAFE_INTEGER ? undefined : value;
    }
    case 'i64': {
      const value = Number(view.getBigInt64(at, true));
      return Number.isSafeInteger(value) ? value : undefined;
    }
    case 'hash64':
      return view.getBigUint64(at, true);
    case 'bytes':
      return bytes.slice(at, at + spec.size);
  }
}

/** Writes an exact integer up to 2^53-1 as u64. */
export function writeU64(view: DataView, at: number, value: number): void {
  view.setUint32(at, value % 2 ** 32, true);
  view.setUint32(at + 4, Math.floor(value / 2 ** 32), true);
}

/** Reads a u64; the result is inexact above 2^53-1, so compare with the maximum before use. */
export function readU64(view: DataView, at: number): number {
  return view.getUint32(at, true) + view.getUint32(at + 4, true) * 2 ** 32;
}

export function writeU48(view: DataView, at: number, value: number): void {
  view.setUint32(at, value % 2 ** 32, true);
  view.setUint16(at + 4, Math.floor(value / 2 ** 32), true);
}

export function readU48(view: DataView, at: number): number {
  return view.getUint32(at, true) + view.getUint16(at + 4, true) * 2 ** 32;
}
