/**
 * Checks one table whole: header, footer, index, filter, every block, and that rows are in order, in their
 * bounds and found by the filter. A damaged block is a finding and the blocks behind it are checked.
 *
 * Memory: what an open table takes, and one block.
 */
import { compareBytes, compareRange } from '../base/bytes.ts';
import { corrupt, isDamage, isVarveError, type VarveError } from '../base/errors.ts';
import { BlockCache } from '../cache/block-cache.ts';
import { hashKey32 } from '../codec/key-hash.ts';
import type { CatalogTable } from '../format/catalog.ts';
import { chunkIdBytes } from '../format/chunk-ref.ts';
import {
  ChunkColumns,
  chunkBlockBytes,
  chunkBlockCount,
  chunkEntryAt,
  compareChunkIds,
} from '../format/chunk-table.ts';
import { EntrySpot, entriesEnd } from '../format/data-block.ts';
import { filePath } from '../format/file-names.ts';
import { decodeInternalKey, decodeSysKey, seqBytes, seqOf } from '../format/internal-key.ts';
import { isTree, trees } from '../format/trees.ts';
import { parseValueRecord } from '../format/value-record.ts';
import type { FsPort } from '../fs/port.ts';
import { ChunkTable } from '../tree/chunk-table-reader.ts';
import { KeyTable } from '../tree/table-reader.ts';
import type { Findings } from './findings.ts';

export interface TableCheck {
  readonly fs: FsPort;
  readonly dbUuid: Uint8Array;
  readonly findings: Findings;
  /** Text of a row key of tree K, for the range of keys a damaged block held. */
  readonly keyText: (rowKey: Uint8Array) => string;
  /** Looked at between blocks; throws when the check is to end. */
  readonly pause: () => Promise<void> | undefined;
}

/**
 * Checks the table `meta` names; resolves with the rows that were checked. Damage goes to the findings;
 * VARVE_IO with errno ENOENT when the file is not there.
 */
export async function checkTable(meta: CatalogTable, check: TableCheck): Promise<number> {
  const { fs, dbUuid, findings } = check;
  const cache = new BlockCache(0);
  try {
    if (!isTree(meta.tree)) throw corrupt('table of an unknown tree', { file: filePath('tab', meta.no) });
    if (meta.tree === trees.C)
      return await checkChunks(await ChunkTable.open(fs, meta, { dbUuid, cache }), check);
    return await checkRows(await KeyTable.open(fs, meta, { dbUuid, cache }), check);
  } catch (error) {
    if (!isDamage(error)) throw error;
    findings.add('table', error, {
      length: meta.size,
      ...(meta.tree === trees.K ? { keyRange: rangeOf(meta.minKey, meta.maxKey, check) } : {}),
    });
    return 0;
  }
}

async function checkRows(table: KeyTable, check: TableCheck): Promise<number> {
  const { meta, index } = table;
  const { findings } = check;
  let rows = 0;
  try {
    for (const problem of table.problems) findings.add('filter', problem);
    const keys = new KeyWalk(table);
    for (let block = 0; block < index.blocks; block++) {
      const pause = check.pause();
      if (pause !== undefined) await pause;
      const place = { file: filePath('tab', meta.no), offset: index.offsetOf(block) };
      try {
        rows += keys.block(await table.loadBlock(block), block, place);
      } catch (error) {
        if (!isDamage(error)) throw error;
        const located = error.offset === undefined ? corrupt(error.message, place) : error;
        const from = block === 0 ? meta.minKey : index.separatorOf(block);
        const to = block + 1 === index.blocks ? meta.maxKey : index.separatorOf(block + 1);
        const length = index.lengthOf(block);
        findings.add('table', located, {
          length,
          ...(meta.tree === trees.K ? { keyRange: rangeOf(from, to, check) } : {}),
        });
        keys.skip();
      }
    }
  } finally {
    table.release();
    await table.closed();
  }
  return rows;
}

function rangeOf(from: Uint8Array, to: Uint8Array, check: TableCheck): { from: string; to: string } {
  return { from: check.keyText(from), to: check.keyText(to) };
}

/** Goes through the rows of a table's blocks and checks each against its neighbours and its table. */
class KeyWalk {
  readonly #table: KeyTable;
  readonly #spot = new EntrySpot();
  #key = new Uint8Array(512);
  #keyTo = 0;
  #last = new Uint8Array(512);
  #lastTo = 0;
  #started = false;

  constructor(table: KeyTable) {
    this.#table = table;
  }

  /** A block could not be read: what comes next has no row before it. */
  skip(): void {
    this.#started = false;
  }

  /**
   * Checks the rows of a block that validates; VARVE_CORRUPT at the first that is wrong. Returns how many.
   */
  block(raw: Uint8Array, number: number, place: { file: string; offset: number }): number {
    const { meta, index } = this.#table;
    const end = entriesEnd(raw);
    const spot = this.#spot;
    let rows = 0;
    this.#keyTo = 0;
    for (let at = 0; at < end; at = spot.valueTo) {
      spot.read(raw, at);
      this.#extend(raw);
      const here = { file: place.file, offset: place.offset + at };
      const key = this.#key.subarray(0, this.#keyTo);
      if (this.#started && compareRange(this.#last, 0, this.#lastTo, key, 0, key.length) > 0)
        throw corrupt('rows are out of order', here);
      if (number === 0 && rows === 0 && compareBytes(key, meta.minKey) !== 0)
        throw corrupt('first row is not the one the catalog names', here);
      if (rows === 0 && number > 0 && compareBytes(index.separatorOf(number), key) > 0)
        throw corrupt('row lies before its block', here);
      this.#row(raw, key, here);
      this.#remember();
      rows++;
    }
    const isLast = number + 1 === index.blocks;
    const last = this.#last.subarray(0, this.#lastTo);
    if (
      isLast ? compareBytes(last, meta.maxKey) !== 0 : compareBytes(last, index.separatorOf(number + 1)) >= 0
    )
      throw corrupt('last row of the block does not fit the index', place);
    return rows;
  }

  #row(raw: Uint8Array, key: Uint8Array, place: { file: string; offset: number }): void {
    const { meta } = this.#table;
    const seq = seqOf(key, key.length);
    if (seq < meta.minSeq || seq > meta.maxSeq) throw corrupt('row has a number outside its table', place);
    if (!this.#table.mayContain(hashKey32(key, 0, key.length - seqBytes)))
      throw corrupt('filter does not know a row of its table', place);
    const { valueFrom, valueTo } = this.#spot;
    try {
      if (meta.tree === trees.K) {
        decodeInternalKey(key, 0, key.length, place);
        parseValueRecord(raw, valueFrom, valueTo, { file: place.file });
      } else if (meta.tree === trees.S) decodeSysKey(key, 0, key.length, place);
    } catch (error) {
      // Positions in a record are of the block, which was put together in memory.
      throw isVarveError(error, 'VARVE_CORRUPT') ? corrupt(whatOf(error), place) : error;
    }
  }

  #extend(raw: Uint8Array): void {
    const { shared, suffixFrom, suffixTo, keyBytes } = this.#spot;
    if (keyBytes > this.#key.length) {
      const grown = new Uint8Array(keyBytes * 2);
      grown.set(this.#key.subarray(0, shared));
      this.#key = grown;
    }
    for (let i = suffixFrom, to = shared; i < suffixTo; i++, to++) this.#key[to] = raw[i]!;
    this.#keyTo = keyBytes;
  }

  #remember(): void {
    if (this.#keyTo > this.#last.length) this.#last = new Uint8Array(this.#keyTo * 2);
    this.#last.set(this.#key.subarray(0, this.#keyTo));
    this.#lastTo = this.#keyTo;
    this.#started = true;
  }
}

function whatOf(error: VarveError): string {
  return error.message.slice(error.message.lastIndexOf(': ') + 2);
}

async function checkChunks(table: ChunkTable, check: TableCheck): Promise<number> {
  const { findings } = check;
  const { footer, meta } = table;
  let entries = 0;
  try {
    for (const problem of table.problems) findings.add('filter', problem);
    const last = new Uint8Array(chunkIdBytes);
    let started = false;
    let whole = true;
    let sumRefs = 0;
    const columns = new ChunkColumns();
    const prefixes = await table.prefixes.once(0);
    for (let block = 0; block < footer.dataBlocks; block++) {
      const pause = check.pause();
      if (pause !== undefined) await pause;
      const place = { file: filePath('tab', meta.no), offset: (block + 1) * chunkBlockBytes };
      try {
        const raw = await table.loadBlock(block);
        const count = chunkBlockCount(raw);
        if (started && compareChunkIds(last, 0, raw, chunkEntryAt(0)) >= 0)
          throw corrupt('chunk blocks are not in order', place);
        for (let i = 0; i < count; i++) {
          const at = chunkEntryAt(i);
          if (!table.mayContain(raw, at) || prefixes.blockFor(raw, at) < block)
            throw corrupt('index does not know an entry of its table', {
              ...place,
              offset: place.offset + at,
            });
          columns.read(raw, at);
          sumRefs += columns.refs;
        }
        entries += count;
        const end = chunkEntryAt(count - 1);
        last.set(raw.subarray(end, end + chunkIdBytes));
        started = true;
      } catch (error) {
        if (!isDamage(error)) throw error;
        const located = error.offset === undefined ? corrupt(error.message, place) : error;
        findings.add('table', located, { length: chunkBlockBytes });
        whole = false;
        started = false;
      }
    }
    if (whole && (entries !== footer.entries || sumRefs !== footer.sumRefs))
      findings.add('table', corrupt('sums differ from the footer', { file: filePath('tab', meta.no) }));
  } finally {
    table.release();
    await table.closed();
  }
  return entries;
}
