/** Chunks that a log payload names, in the segments their copies lie in. */
import type { FileNo } from '../base/brands.ts';
import type { Place } from '../base/errors.ts';
import { framePayloadBytesMax } from '../base/limits.ts';
import { ByteReader } from '../codec/byte-reader.ts';
import { ByteWriter } from '../codec/byte-writer.ts';
import { varintBytes } from '../codec/varint.ts';
import { chunkIdBytes } from './chunk-ref.ts';
import { type FrameFields, frameTypes } from './log-frame.ts';
import { beginTxn, endTxn, type OpVisitor, silentOps, visitOps, visitStage } from './log-ops.ts';

/** Most that another number of a segment can add to an op. */
const growthMax = 4;

/**
 * The payload of a BATCH or STAGE frame in which CHUNK and MOVE ops name segment `moved.get(n)` in the place
 * of segment n, at the same offset; nothing else differs. `payload` itself (borrowed) where no op changes,
 * and where the result would be longer than a frame may be; else new bytes. VARVE_CORRUPT and
 * VARVE_FORMAT_VERSION as visitOps.
 */
export function withMovedChunks(
  { type, seqFirst, count }: Pick<FrameFields, 'type' | 'seqFirst' | 'count'>,
  payload: Uint8Array,
  moved: ReadonlyMap<FileNo, FileNo>,
  place: Place,
): Uint8Array {
  // Where a number of a segment lies, and that number: pairs in rising order.
  const named: number[] = [];
  const note = (idAt: number, segment: FileNo): void => {
    if (moved.has(segment)) named.push(idAt + chunkIdBytes, segment);
  };
  const visitor: OpVisitor = {
    ...silentOps,
    chunk: (_seq, _buf, idAt, segment) => note(idAt, segment),
    move: (_seq, _buf, idAt, segment) => note(idAt, segment),
  };
  const isStage = type === frameTypes.stage;
  if (isStage) visitStage(payload, 0, payload.length, seqFirst, visitor, place);
  else visitOps(payload, 0, payload.length, seqFirst, count, visitor, place);
  if (named.length === 0) return payload;
  const out = new ByteWriter(payload.length + (named.length / 2) * growthMax);
  const r = new ByteReader(payload, place);
  let next = 0;
  for (let i = isStage ? 1 : count; i > 0; i--) {
    const end = r.u32() + r.pos;
    const start = beginTxn(out);
    for (; next < named.length && named[next]! < end; next += 2) {
      out.raw(r.view(named[next]! - r.pos));
      r.skip(varintBytes(named[next + 1]!));
      out.varint(moved.get(named[next + 1]!)!);
    }
    out.raw(r.view(end - r.pos));
    endTxn(out, start);
  }
  return out.pos > framePayloadBytesMax ? payload : out.bytes.subarray(0, out.pos);
}
