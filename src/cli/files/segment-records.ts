/** A segment file, frame by frame, with the trailer of a sealed one. */
import type { FileNo } from '../../base/brands.ts';
import { equalBytes, toHex } from '../../base/bytes.ts';
import { FileSeed } from '../../codec/checksum.ts';
import { chunkIdBytes, chunkKinds, codecs } from '../../format/chunk-ref.ts';
import { decodeFileHeader, fileHeader } from '../../format/file-header.ts';
import {
  decodeSegmentFooter,
  decodeTrailer,
  type SegmentFooter,
  segmentFooter,
  type Trailer,
  trailerEntry,
} from '../../format/segment.ts';
import type { FsFile, FsPort } from '../../fs/port.ts';
import { scanSegment } from '../../segment/segment-scan.ts';
import { type Detail, damageRecord, type Emit, faultOf, layoutRecord, readUpTo } from './file-record.ts';
import { nameOf } from './rows.ts';

const footerMagic = new TextEncoder().encode('VRSEGEND');

/** Emits header, trailer and footer, and unless only ends are checked every frame. */
export async function segmentRecords(
  fs: FsPort,
  path: string,
  no: FileNo,
  detail: Detail,
  emit: Emit,
): Promise<void> {
  const file = await fs.open(path, 'read');
  let sealed: boolean;
  let dbUuid: Uint8Array;
  try {
    const head = await readUpTo(file, 0, fileHeader.size);
    const error = faultOf(() => decodeFileHeader(head, { kind: 'segment', fileNo: no }, path));
    await emit(layoutRecord(fileHeader, head, 0, 0, error));
    if (head.length < fileHeader.size) return;
    const saltAt = fileHeader.at.salt;
    const seed = new FileSeed(head.subarray(saltAt, saltAt + fileHeader.fields.salt.size));
    dbUuid = head.slice(fileHeader.at.dbUuid, saltAt);
    sealed = await endRecords(file, seed, detail, emit);
  } finally {
    await file.close();
  }
  if (detail !== 'check') await frameRecords(fs, path, no, dbUuid, sealed, emit);
}

/** Footer and trailer; false when the segment has none because it was never sealed. */
async function endRecords(file: FsFile, seed: FileSeed, detail: Detail, emit: Emit): Promise<boolean> {
  const size = await file.size();
  const offset = Math.max(0, size - segmentFooter.size);
  const tail = await readUpTo(file, offset, segmentFooter.size);
  if (!equalBytes(tail.subarray(0, footerMagic.length), footerMagic)) {
    const note = 'open, or its writer was killed before it was sealed';
    await emit({ offset, what: 'unsealed segment', fields: { bytes: size }, note });
    return false;
  }
  let footer: SegmentFooter;
  try {
    footer = decodeSegmentFooter(tail, seed, size, file.path);
  } catch (error) {
    await emit(layoutRecord(segmentFooter, tail, 0, offset, damageRecord('', offset, error).error));
    return true;
  }
  await emit(layoutRecord(segmentFooter, tail, 0, offset));
  await trailerRecords(file, footer, detail, emit);
  return true;
}

async function trailerRecords(
  file: FsFile,
  footer: SegmentFooter,
  detail: Detail,
  emit: Emit,
): Promise<void> {
  const { trailerOff, trailerLen } = footer;
  let trailer: Trailer;
  try {
    trailer = decodeTrailer(await readUpTo(file, trailerOff, trailerLen), footer, file.path);
  } catch (error) {
    await emit(damageRecord('segment trailer', trailerOff, error));
    return;
  }
  await emit({ offset: trailerOff, what: 'segment trailer', fields: { entries: trailer.count } });
  if (detail !== 'records') return;
  for (let i = 0; i < trailer.count; i++) {
    const fields = {
      id: toHex(trailer.ids.subarray(i * chunkIdBytes, (i + 1) * chunkIdBytes)),
      at: trailer.off8[i]! * 8,
      storedLen: trailer.storedLen[i],
      rawLen: trailer.rawLen[i],
      kind: nameOf(chunkKinds, trailer.kind[i]!),
      codec: nameOf(codecs, trailer.codec[i]!),
    };
    await emit({ offset: trailerOff + i * trailerEntry.size, what: 'trailer entry', fields });
  }
}

async function frameRecords(
  fs: FsPort,
  path: string,
  no: FileNo,
  dbUuid: Uint8Array,
  sealed: boolean,
  emit: Emit,
): Promise<void> {
  const damaged: { from: number; to: number; message: string }[] = [];
  const emitDamage = async (limit: number): Promise<void> => {
    for (const { from, to, message } of damaged.splice(0)) {
      const record = { offset: from, what: 'no frame', fields: { bytes: to - from } };
      const expected = !sealed && to >= limit;
      await emit(
        expected ? { ...record, note: 'after the last whole frame' } : { ...record, error: message },
      );
    }
  };
  const onDamage = (from: number, to: number, error: Error): void => {
    damaged.push({ from, to, message: error.message });
  };
  try {
    const result = await scanSegment(fs, no, path, { dbUuid, onDamage }, async (buf, pos, frame, offset) => {
      await emitDamage(Number.POSITIVE_INFINITY);
      const fields = {
        id: toHex(buf.subarray(frame.idAt, frame.idAt + chunkIdBytes)),
        storedLen: frame.storedLen,
        rawLen: frame.rawLen,
        kind: nameOf(chunkKinds, frame.kind),
        codec: nameOf(codecs, frame.codec),
        bytes: frame.next - pos,
      };
      await emit({ offset, what: 'chunk frame', fields });
    });
    await emitDamage(result.limit);
  } catch (error) {
    await emit(damageRecord('segment', 0, error));
  }
}
