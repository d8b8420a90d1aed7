/** A catalog file, record by record. */
import type { FileNo } from '../../base/brands.ts';
import { toHex } from '../../base/bytes.ts';
import { catalogFileBytesMax, decodeCatalogFile } from '../../format/catalog.ts';
import { fileHeader } from '../../format/file-header.ts';
import { frameHeaderBytes, logFrame } from '../../format/log-frame.ts';
import type { FsFile } from '../../fs/port.ts';
import { type Detail, damageRecord, type Emit, layoutRecord, readUpTo } from './file-record.ts';

/** Emits header, body and, in full detail, every file the catalog names. */
export async function catalogRecords(file: FsFile, no: FileNo, detail: Detail, emit: Emit): Promise<void> {
  const bytes = await readUpTo(file, 0, catalogFileBytesMax);
  await emit(layoutRecord(fileHeader, bytes, 0, 0));
  if (bytes.length >= fileHeader.size + frameHeaderBytes)
    await emit({ ...layoutRecord(logFrame, bytes, fileHeader.size, fileHeader.size), what: 'catalog frame' });
  let decoded: ReturnType<typeof decodeCatalogFile>;
  try {
    decoded = decodeCatalogFile(bytes, { no, dbUuid: uuidIn(bytes) }, file.path);
  } catch (error) {
    await emit(damageRecord('catalog', 0, error));
    return;
  }
  const { tables, sealed, unsealed, dropped, ...head } = decoded.catalog;
  const offset = fileHeader.size + frameHeaderBytes;
  const counts = { tables: tables.length, sealed: sealed.length };
  const more = { unsealed: unsealed.length, dropped: dropped.length, bodyChecksum: decoded.bodyChecksum };
  await emit({ offset, what: 'catalog', fields: { ...head, ...counts, ...more } });
  if (decoded.damage !== undefined) await emit(damageRecord('catalog body', offset, decoded.damage));
  if (detail !== 'records') return;
  for (const { minKey, maxKey, ...table } of tables) {
    const fields = { ...table, minKey: toHex(minKey), maxKey: toHex(maxKey) };
    await emit({ offset, what: 'table', fields });
  }
  for (const segment of sealed) await emit({ offset, what: 'sealed segment', fields: { ...segment } });
  for (const segment of unsealed) await emit({ offset, what: 'unsealed segment', fields: { ...segment } });
  for (const one of dropped) await emit({ offset, what: 'dropped file', fields: { ...one } });
}

/** The store a file says it belongs to: inspect looks at files on their own. */
function uuidIn(bytes: Uint8Array): Uint8Array {
  return bytes.slice(fileHeader.at.dbUuid, fileHeader.at.salt);
}
