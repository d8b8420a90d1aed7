/**
 * What inspect and dump say of a file: one record per structure found in it, read without trusting anything.
 */
import { toHex, viewOf } from '../../base/bytes.ts';
import { VarveError } from '../../base/errors.ts';
import type { FieldSpec, Layout } from '../../codec/layout.ts';
import { readExact } from '../../fs/dirs.ts';
import type { FsFile } from '../../fs/port.ts';

/** How much is read: headers and ends, every structure, or every record inside them as well. */
export type Detail = 'check' | 'structures' | 'records';

/** One structure or record of a file. */
export interface FileRecord {
  readonly offset: number;
  /** What it is: 'log frame', 'put', 'segment footer'. */
  readonly what: string;
  readonly fields: Readonly<Record<string, unknown>>;
  /** Where the fields come from, for their descriptions. */
  readonly layout?: Layout;
  /** Why it is not sound. */
  readonly error?: string;
  /** Expected in a store that was not closed in order; no damage. */
  readonly note?: string;
}

/** Receives records in the order they are found; the next one is not read before it resolves. */
export type Emit = (record: FileRecord) => Promise<void>;

/**
 * The fields of a structure at `pos` of `bytes` as they are, checked or not; those beyond the end are
 * missing.
 */
export function rawFields(layout: Layout, bytes: Uint8Array, pos: number): Record<string, unknown> {
  const fields: Record<string, unknown> = {};
  for (const [name, spec] of Object.entries(layout.fields)) {
    if (name.startsWith('reserved')) continue;
    if (pos + spec.offset + spec.size <= bytes.length)
      fields[name] = rawField(bytes, pos + spec.offset, spec);
  }
  return fields;
}

function rawField(bytes: Uint8Array, at: number, spec: FieldSpec): number | string {
  if (spec.type === 'bytes') return toHex(bytes.subarray(at, at + spec.size));
  if (spec.type === 'i32') return viewOf(bytes).getInt32(at, true);
  if (spec.type === 'i64') return exact(viewOf(bytes).getBigInt64(at, true));
  let value = 0n;
  for (let i = spec.size - 1; i >= 0; i--) value = (value << 8n) | BigInt(bytes[at + i]!);
  return spec.type === 'hash64' ? value.toString(16).padStart(16, '0') : exact(value);
}

function exact(value: bigint): number | string {
  const number = Number(value);
  return Number.isSafeInteger(number) ? number : `0x${value.toString(16)}`;
}

/** A record of a fixed structure. */
export function layoutRecord(
  layout: Layout,
  bytes: Uint8Array,
  pos: number,
  offset: number,
  error?: string,
): FileRecord {
  const record = { offset, what: layout.title, fields: rawFields(layout, bytes, pos), layout };
  return error === undefined ? record : { ...record, error };
}

/** A record of damage at `offset`. */
export function damageRecord(what: string, offset: number, error: unknown): FileRecord {
  return { offset: placeOf(error) ?? offset, what, fields: {}, error: damageText(error) };
}

function placeOf(error: unknown): number | undefined {
  return error instanceof VarveError ? error.offset : undefined;
}

/** What a check found; only errors about the bytes are findings, anything else is thrown on. */
export function damageText(error: unknown): string {
  if (
    error instanceof VarveError &&
    (error.code === 'VARVE_CORRUPT' || error.code === 'VARVE_FORMAT_VERSION')
  )
    return error.message;
  throw error;
}

/** Runs a check; the text of what it found, or undefined. */
export function faultOf(check: () => unknown): string | undefined {
  try {
    check();
    return undefined;
  } catch (error) {
    return damageText(error);
  }
}

/** Up to `length` bytes at `offset`; fewer at the end of the file. `length` is bounded by the caller. */
export async function readUpTo(file: FsFile, offset: number, length: number): Promise<Uint8Array> {
  const size = await file.size();
  const buf = new Uint8Array(Math.max(0, Math.min(length, size - offset)));
  await readExact(file, buf, offset);
  return buf;
}
