/** A table file, block by block, with the rows in each. */
import type { FileNo } from '../../base/brands.ts';
import { align8, compareBytes, toHex } from '../../base/bytes.ts';
import { corrupt, VarveError } from '../../base/errors.ts';
import { decodeLayout } from '../../codec/layout.ts';
import { chunkIdBytes, chunkKinds, codecs } from '../../format/chunk-ref.ts';
import {
  ChunkColumns,
  checkChunkBlock,
  chunkBlockBytes,
  chunkBlockEntries,
  chunkBlockHead,
  chunkEntryAt,
} from '../../format/chunk-table.ts';
import { checkDataBlock, EntrySpot } from '../../format/data-block.ts';
import { type CheckedHeader, decodeFileHeader, fileHeader } from '../../format/file-header.ts';
import {
  dataBlockBytesMax,
  decodeTableFooter,
  openBlock,
  type TableFooter,
  tableBytesMax,
  tableFooter,
  tableProps,
} from '../../format/table.ts';
import { decodeTopIndex, TableIndex } from '../../format/table-index.ts';
import { trees } from '../../format/trees.ts';
import type { FsFile } from '../../fs/port.ts';
import { type Detail, damageRecord, type Emit, faultOf, layoutRecord, readUpTo } from './file-record.ts';
import { nameOf, rowFields, treeName } from './rows.ts';

/** Longest top index that is read: 16-byte entries for every block of the largest table. */
const topIndexBytesMax = 64 * 1024 * 1024;

interface OpenTable {
  readonly file: FsFile;
  readonly header: CheckedHeader;
  readonly footer: TableFooter;
  readonly emit: Emit;
  readonly detail: Detail;
}

/** Emits header, footer, properties and index; then every block, and with 'records' every row. */
export async function tableRecords(file: FsFile, no: FileNo, detail: Detail, emit: Emit): Promise<void> {
  const size = await file.size();
  const head = await readUpTo(file, 0, fileHeader.size);
  await emit(layoutRecord(fileHeader, head, 0, 0));
  const footerAt = Math.max(0, size - tableFooter.size);
  const tail = await readUpTo(file, footerAt, tableFooter.size);
  await emit(layoutRecord(tableFooter, tail, 0, footerAt));
  let table: OpenTable;
  try {
    if (size > tableBytesMax) throw corrupt('the file is longer than any table', { file: file.path });
    const header = decodeFileHeader(head, { kind: 'table', fileNo: no }, file.path);
    const dataFrom = header.subKind === trees.C ? chunkBlockBytes : fileHeader.size;
    const footer = decodeTableFooter(tail, header.seed, dataFrom, size, file.path);
    table = { file, header, footer, detail, emit };
  } catch (error) {
    await emit(damageRecord('table', 0, error));
    return;
  }
  await propsRecord(table);
  if (table.header.subKind === trees.C) await chunkBlocks(table);
  else await dataBlocks(table);
}

async function propsRecord(table: OpenTable): Promise<void> {
  const { propsOff, propsLen } = table.footer;
  try {
    const raw = await block(table, propsOff, propsLen);
    await table.emit(layoutRecord(tableProps, raw, 0, propsOff));
  } catch (error) {
    await table.emit(damageRecord('table properties', propsOff, error));
  }
}

/** Reads and checks a block with trailer; its length is bounded here. */
async function block(
  { file, header }: OpenTable,
  offset: number,
  length: number,
  bytesMax: number = dataBlockBytesMax,
): Promise<Uint8Array> {
  if (length > bytesMax) throw corrupt('block is longer than any', { file: file.path, offset });
  return openBlock(await readUpTo(file, offset, align8(length)), length, header.seed, offset, file.path);
}

async function readIndex(table: OpenTable): Promise<TableIndex> {
  const { file, footer } = table;
  const place = { file: file.path, offset: footer.topIndexOff };
  if (footer.dataBlocks * 24 > footer.dataLen) throw corrupt('more blocks than bytes for them', place);
  const props = decodeLayout(tableProps, await block(table, footer.propsOff, footer.propsLen), 0, {
    file: file.path,
    offset: footer.propsOff,
  });
  const top = await block(table, footer.topIndexOff, footer.topIndexLen, topIndexBytesMax);
  const partitions = decodeTopIndex(top, props.indexPartitions, props.indexOff, footer.topIndexOff, place);
  const index = new TableIndex(footer.dataBlocks, fileHeader.size);
  for (const partition of partitions) {
    const raw = await block(table, partition.offset, partition.length);
    index.addPartition(raw, partition, { file: file.path, offset: partition.offset });
  }
  index.complete(footer, place);
  return index;
}

async function dataBlocks(table: OpenTable): Promise<void> {
  const { file, emit, detail, footer } = table;
  let index: TableIndex;
  try {
    index = await readIndex(table);
  } catch (error) {
    await emit(damageRecord('table index', footer.topIndexOff, error));
    return;
  }
  await emit({ offset: footer.topIndexOff, what: 'table index', fields: { blocks: index.blocks } });
  if (detail === 'check') return;
  for (let i = 0; i < index.blocks; i++) {
    const offset = index.offsetOf(i);
    const rows = index.rowsOf(i);
    try {
      const raw = await block(table, offset, index.lengthOf(i));
      checkDataBlock(raw, rows, { file: file.path, offset });
      await emit({ offset, what: 'data block', fields: { rows, bytes: raw.length } });
      if (detail === 'records') await emitRows(table, raw, rows, offset);
    } catch (error) {
      await emit(damageRecord('data block', offset, error));
    }
  }
}

async function emitRows(table: OpenTable, raw: Uint8Array, rows: number, offset: number): Promise<void> {
  const tree = table.header.subKind;
  const spot = new EntrySpot();
  let at = 0;
  let key = new Uint8Array(0);
  for (let i = 0; i < rows; i++) {
    spot.read(raw, at);
    const next = new Uint8Array(spot.keyBytes);
    next.set(key.subarray(0, spot.shared));
    next.set(raw.subarray(spot.suffixFrom, spot.suffixTo), spot.shared);
    const inOrder = i === 0 || compareBytes(key, next) < 0;
    key = next;
    const value = raw.slice(spot.valueFrom, spot.valueTo);
    const place = { file: table.file.path, offset: offset + at };
    try {
      if (!inOrder) throw corrupt('rows are not in order', place);
      const fields = { tree: treeName(tree), ...rowFields(tree, key, value, place) };
      await table.emit({ offset: place.offset, what: 'row', fields });
    } catch (error) {
      if (!(error instanceof VarveError)) throw error;
      await table.emit(damageRecord('row', place.offset, error));
    }
    at = spot.valueTo;
  }
}

async function chunkBlocks(table: OpenTable): Promise<void> {
  const { file, footer, header, emit, detail } = table;
  if (detail === 'check') return;
  for (let i = 0; i < footer.dataBlocks; i++) {
    const offset = chunkBlockBytes * (i + 1);
    const raw = await readUpTo(file, offset, chunkBlockBytes);
    const last = i === footer.dataBlocks - 1;
    const count = last ? footer.entries - i * chunkBlockEntries : chunkBlockEntries;
    const error = faultOf(() => checkChunkBlock(raw, count, header.seed, offset, file.path));
    await emit({ ...layoutRecord(chunkBlockHead, raw, 0, offset, error), what: 'chunk block' });
    if (error === undefined && detail === 'records') await emitEntries(table, raw, count, offset);
  }
}

async function emitEntries(table: OpenTable, raw: Uint8Array, count: number, offset: number): Promise<void> {
  const columns = new ChunkColumns();
  for (let i = 0; i < count; i++) {
    const at = chunkEntryAt(i);
    columns.read(raw, at);
    const { segment, off8, storedLen, rawLen, refs, kind, codec, flags } = columns;
    const id = toHex(raw.subarray(at, at + chunkIdBytes));
    const names = { kind: nameOf(chunkKinds, kind), codec: nameOf(codecs, codec) };
    const fields = { id, segment, at: off8 * 8, storedLen, rawLen, refs, ...names, flags };
    await table.emit({ offset: offset + at, what: 'chunk entry', fields });
  }
}
