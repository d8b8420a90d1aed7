/**
 * The index of a chunk table: the first 4 bytes of the first id of each block. One piece, read when a lookup
 * asks for it: 64 KiB for a table of 64 MiB.
 */
import { viewOf } from '../base/bytes.ts';
import { corrupt } from '../base/errors.ts';
import { chunkBlockBytes, chunkBlockEntries, chunkIdPrefix } from '../format/chunk-table.ts';
import { Part, type PartOwner, type PartRoom } from './part-room.ts';
import type { TableFile } from './table-file.ts';
import { TableParts } from './table-parts.ts';

/** Prefixes of all blocks in memory. */
export class PrefixPart extends Part {
  readonly #prefixes: Uint32Array;

  constructor(owner: PartOwner, prefixes: Uint32Array) {
    super(owner, 0, prefixes.byteLength);
    this.#prefixes = prefixes;
  }

  /** The last block whose first id is not above the id at id[idAt..] by its prefix; -1: there is none. */
  blockFor(id: Uint8Array, idAt: number): number {
    const prefix = chunkIdPrefix(id, idAt);
    const prefixes = this.#prefixes;
    let low = -1;
    let high = prefixes.length - 1;
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if (prefixes[middle]! <= prefix) low = middle;
      else high = middle - 1;
    }
    return low;
  }

  /** The first id of the block may have the same prefix as this id. */
  mayBegin(block: number, id: Uint8Array, idAt: number): boolean {
    return this.#prefixes[block] === chunkIdPrefix(id, idAt);
  }
}

export class ChunkPrefixes extends TableParts<PrefixPart> {
  /** VARVE_CORRUPT when the footer contradicts itself. */
  constructor(file: TableFile, room: PartRoom) {
    super(file, 1, room);
    const { dataBlocks, dataLen, entries, topIndexOff } = file.footer;
    if (dataLen !== dataBlocks * chunkBlockBytes || dataBlocks !== Math.ceil(entries / chunkBlockEntries)) {
      const place = file.place(topIndexOff);
      throw corrupt('chunk table has a wrong number of blocks', place, dataBlocks, entries);
    }
  }

  protected async read(): Promise<PrefixPart> {
    const { topIndexOff, topIndexLen } = this.file.footer;
    return this.#decoded(await this.file.block(topIndexOff, topIndexLen));
  }

  protected readSync(): PrefixPart {
    const { topIndexOff, topIndexLen } = this.file.footer;
    return this.#decoded(this.file.blockSync(topIndexOff, topIndexLen));
  }

  protected makeRoom(part: PrefixPart): boolean {
    return this.room.demand(part.bytes);
  }

  #decoded(raw: Uint8Array): PrefixPart {
    const { dataBlocks, topIndexOff } = this.file.footer;
    const place = this.file.place(topIndexOff);
    if (raw.length !== 4 * dataBlocks)
      throw corrupt('chunk index has a wrong length', place, 4 * dataBlocks, raw.length);
    const view = viewOf(raw);
    const prefixes = new Uint32Array(dataBlocks);
    for (let i = 0; i < dataBlocks; i++) {
      prefixes[i] = view.getUint32(4 * i, true);
      if (i > 0 && prefixes[i]! < prefixes[i - 1]!) throw corrupt('chunk index is not in order', place);
    }
    return new PrefixPart(this, prefixes);
  }
}
