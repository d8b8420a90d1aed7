/**
 * Reads whole values back.
 *
 * The source answers for the bytes of a chunk (frame checksum, id); what is checked here is that the parts
 * make the value: each list node's level and totals against its parent, each chunk's length against its
 * place. VARVE_CORRUPT otherwise.
 *
 * Records are borrowed: `record.buf` must not change before the read has ended.
 */
import { invalid, type VarveError } from '../base/errors.ts';
import { KiB } from '../base/limits.ts';
import { chunkIdBytes, chunkKinds } from '../format/chunk-ref.ts';
import { chunkRefBytes, chunkRefOff8, chunkRefRawLen, chunkRefSegment } from '../format/chunk-ref-bytes.ts';
import { plainListFrom, plainValueFrom } from '../format/plain-value.ts';
import { recordForms, refIdAt, type ValueRecord } from '../format/value-record.ts';
import { type BulkOptions, BulkReader } from './bulk-reader.ts';
import { type ChunkSource, LeafWalker, steps } from './leaf-walker.ts';
import type { PlacedSource } from './placed-leaves.ts';
import { type Ahead, bytesOf, inlineBytes, type RangeOptions, RangeReader, settle } from './range-reader.ts';
import { copyOut, newArray } from './value-copy.ts';

/** Longest value `readValue` returns as one array. */
export const valueBytesMax = 2 ** 32 - 1;

/** Chunks of values up to this size are kept in memory once read: larger ones would drive out many others. */
const keptValueBytesMax = 64 * KiB;

/**
 * The whole value of a PUT record, a fresh array that belongs to the caller. VARVE_INVALID_ARGUMENT when it
 * is too long for one array.
 */
export async function readValue(
  record: ValueRecord,
  source: ChunkSource,
  options: RangeOptions = {},
): Promise<Uint8Array> {
  refuseTooLong(record);
  if (record.form === recordForms.inline) return inlineBytes(record, 0, record.size);
  if (isSmall(record)) return readSmall(record, source);
  const reader = new RangeReader(record, 0, record.size, source, options);
  let out: Uint8Array | undefined;
  // Memory is taken after the first chunk: by then the root has been checked against the size.
  for (let piece = await reader.next(); piece !== undefined; piece = await reader.next()) {
    out ??= allocate(record.size);
    out.set(piece.chunk, piece.at);
  }
  return out ?? new Uint8Array(0);
}

/** As readValue, for values of many chunks: in long reads. */
export async function readLongValue(
  record: ValueRecord,
  source: PlacedSource,
  options: BulkOptions = {},
): Promise<Uint8Array> {
  refuseTooLong(record);
  const reader = new BulkReader(record, 0, record.size, source, options);
  let out: Uint8Array | undefined;
  let at = 0;
  for (let batch = await reader.next(); batch !== undefined; batch = await reader.next()) {
    out ??= allocate(record.size);
    const to = at + batch.left;
    batch.copyTo(out.subarray(at, to));
    at = to;
  }
  return out ?? new Uint8Array(0);
}

/** As readValue, blocking: for sources whose chunks come from memory or a synchronous read. */
export function readValueSync(record: ValueRecord, source: ChunkSource): Uint8Array {
  refuseTooLong(record);
  if (record.form === recordForms.inline) return inlineBytes(record, 0, record.size);
  const small = isSmall(record);
  const now = small ? cachedValue(record, source) : undefined;
  if (now !== undefined) return now;
  const walker = new LeafWalker(record, 0, record.size, source);
  let out: Uint8Array | undefined;
  for (let step = walker.step(); step !== steps.end; step = walker.step()) {
    if (step === steps.node) {
      walker.give(source.readSync(walker.id(), walker.hint, chunkKinds.list));
      continue;
    }
    const { leafFrom, leafTo } = walker;
    const id = walker.id();
    const chunk = source.readSync(id, walker.hint, chunkKinds.data);
    walker.checkLeaf(id, chunk, leafTo - leafFrom);
    if (small) source.keep?.(id, walker.hint, chunk);
    out ??= small ? newArray(record.size) : allocate(record.size);
    out.set(chunk, leafFrom);
  }
  return out ?? new Uint8Array(0);
}

/** The whole value if memory has it, as `readValue` returns it; undefined when something must be read. */
export function readValueNow(record: ValueRecord, source: ChunkSource): Uint8Array | undefined {
  if (record.form === recordForms.inline) return inlineBytes(record, 0, record.size);
  return isSmall(record) ? cachedValue(record, source) : undefined;
}

/**
 * The value of the record in buf[from..to), as `readValue` returns it, if it is one of the plain ones
 * (format/plain-value.ts) and memory has it; undefined: parse the record. Parses nothing else.
 */
export function readPlainNow(
  buf: Uint8Array,
  from: number,
  to: number,
  source: ChunkSource,
): Uint8Array | undefined {
  const inline = plainValueFrom(buf, from, to);
  if (inline >= 0) return copyOut(buf, inline, to);
  const refs = plainListFrom(buf, from, to);
  return refs < 0 ? undefined : cachedList(buf, refs, to, source);
}

/** The chunks of such values are offered for keeping. */
function isSmall(record: ValueRecord): boolean {
  return record.form === recordForms.list && record.size <= keptValueBytesMax;
}

function cachedValue(record: ValueRecord, source: ChunkSource): Uint8Array | undefined {
  const from = refIdAt(record, 0);
  return cachedList(record.buf, from, from + record.chunks * chunkRefBytes, source);
}

/** The chunks of the references in buf[from..to), one behind the other, if all are kept. */
function cachedList(buf: Uint8Array, from: number, to: number, source: ChunkSource): Uint8Array | undefined {
  const first = cachedAt(buf, from, source);
  if (first === undefined) return undefined;
  if (from + chunkRefBytes === to) return copyOut(first, chunkIdBytes, first.length);
  let size = 0;
  for (let ref = from; ref < to; ref += chunkRefBytes) size += chunkRefRawLen(buf, ref);
  const out = newArray(size);
  let kept: Uint8Array | undefined = first;
  let at = 0;
  for (let ref = from; ; kept = cachedAt(buf, ref, source)) {
    if (kept === undefined) return undefined;
    out.set(kept.subarray(chunkIdBytes), at);
    at += kept.length - chunkIdBytes;
    ref += chunkRefBytes;
    if (ref === to) return out;
  }
}

/** Id and bytes of the chunk of a reference, if they are kept. */
function cachedAt(buf: Uint8Array, ref: number, source: ChunkSource): Uint8Array | undefined {
  const kept = source.cached?.(buf, ref, chunkRefSegment(buf, ref), chunkRefOff8(buf, ref));
  return kept?.length === chunkIdBytes + chunkRefRawLen(buf, ref) ? kept : undefined;
}

/** All chunks of a small value at once. */
async function readSmall(record: ValueRecord, source: ChunkSource): Promise<Uint8Array> {
  const walker = new LeafWalker(record, 0, record.size, source);
  const reads: Ahead[] = [];
  while (walker.step() !== steps.end) {
    const { leafFrom, leafTo, hint } = walker;
    const id = walker.id();
    const kept = hint === undefined ? undefined : source.cached?.(id, 0, hint.segment, hint.off8);
    const read =
      kept === undefined
        ? source.read(id, hint, chunkKinds.data)
        : Promise.resolve(kept.subarray(chunkIdBytes));
    reads.push({ leafFrom, leafTo, hint, id, outcome: settle(read) });
  }
  const out = allocate(record.size);
  for (const { leafFrom, leafTo, hint, id, outcome } of reads) {
    const chunk = bytesOf(await outcome);
    walker.checkLeaf(id, chunk, leafTo - leafFrom);
    source.keep?.(id, hint, chunk);
    out.set(chunk, leafFrom);
  }
  return out;
}

function refuseTooLong(record: ValueRecord): void {
  if (record.size > valueBytesMax) throw tooLong(record.size);
}

function allocate(size: number): Uint8Array {
  try {
    return new Uint8Array(size);
  } catch (error) {
    if (error instanceof RangeError) throw tooLong(size, error);
    throw error;
  }
}

function tooLong(size: number, cause?: unknown): VarveError {
  return invalid(`a value of ${size} bytes does not fit into one array: use stream()`, { cause });
}
