/** Shared by the tests of segments: ids, payloads, writers on a file system in memory. */

import { Prng } from '../../src/base/prng.ts';
import type { BulkWrites } from '../../src/chunk/segment-lanes.ts';
import { frameBytes } from '../../src/format/chunk-frame.ts';
import { filePath } from '../../src/format/file-names.ts';
import type { SealedSegment } from '../../src/format/segment.ts';
import { MemoryFileSystem } from '../../src/fs/memory-file-system.ts';
import { type OnFrame, scanSegment } from '../../src/segment/segment-scan.ts';
import { SegmentSet } from '../../src/segment/segment-set.ts';
import { SegmentWriter } from '../../src/segment/segment-writer.ts';
import { DirectBuffers } from '../../src/segment/write-buffer.ts';

export const dbUuid: Uint8Array = new Prng(1).bytes(16);
export const salt: Uint8Array = new Prng(2).bytes(12);
export const segmentPath = (no: number): string => filePath('seg', no);

/** A frame appended, as the test remembers it. */
export interface Known {
  id: Uint8Array;
  payload: Uint8Array;
  off8: number;
  kind: number;
  codec: number;
  rawLen: number;
}

export function createWriter(
  fs: MemoryFileSystem,
  no = 1,
  bufferBytes?: number,
  streamClass = 0,
): Promise<SegmentWriter> {
  return SegmentWriter.create(fs, { no, class: streamClass, dbUuid, salt, bufferBytes });
}

/** Appends a raw data frame of `length` random bytes. */
export function append(writer: SegmentWriter, prng: Prng, length: number): Known {
  const id = prng.bytes(32);
  const payload = prng.bytes(length);
  const off8 = writer.append(id, 0, payload, 0, length, 0, 0, length);
  return { id, payload, off8, kind: 0, codec: 0, rawLen: length };
}

export const endOf = (known: Known): number => known.off8 * 8 + frameBytes(known.payload.length);

/** A sealed segment with frames of these payload lengths. */
export async function sealedSegment(
  lengths: number[],
  no = 1,
): Promise<{ fs: MemoryFileSystem; known: Known[]; sealed: SealedSegment }> {
  const fs = new MemoryFileSystem();
  const writer = await createWriter(fs, no);
  const prng = new Prng(lengths.length + no);
  const known = lengths.map((length) => append(writer, prng, length));
  const sealed = await writer.seal();
  await writer.close();
  return { fs, known, sealed };
}

export function segmentSet(
  fs: MemoryFileSystem,
  handlesMax?: number,
): { set: SegmentSet; damage: unknown[] } {
  const damage: unknown[] = [];
  const set = new SegmentSet(fs, { dbUuid, handlesMax, onDamage: (error) => damage.push(error) });
  return { set, damage };
}

/** Scans segment `no` and keeps what was found. */
export async function scanAll(fs: MemoryFileSystem, no = 1, upTo?: number) {
  const found: { offset: number; id: Uint8Array; payload: Uint8Array; resynced: boolean }[] = [];
  const gaps: [number, number][] = [];
  const onFrame: OnFrame = (buf, _pos, frame, offset, resynced) => {
    const id = buf.slice(frame.idAt, frame.idAt + 32);
    found.push({ offset, id, payload: buf.slice(frame.payloadFrom, frame.payloadTo), resynced });
  };
  const options = { dbUuid, upTo, onDamage: (from: number, to: number) => void gaps.push([from, to]) };
  const result = await scanSegment(fs, no, segmentPath(no), options, onFrame);
  return { ...result, found, gaps };
}

/** Values of more than `fromBytes` are written in blocks, so small that many fit into a segment of a test. */
export function bulkWrites(fromBytes: number, bufferBytes: number): BulkWrites {
  return { fromBytes, buffers: new DirectBuffers(bufferBytes, 512, (n) => new Uint8Array(n)) };
}
