/**
 * Reads chunks of a vault by id, checked, through windows of packs: chunks that were stored together are read
 * together.
 *
 * Memory: `windowsMax` windows of `windowBytes`.
 *
 * Invariants (test/backup/verify.test.ts)
 * - What is read has the bytes its id names, else it is VARVE_CORRUPT ("every flipped bit is found …").
 */
import { toHex } from '../base/bytes.ts';
import { corrupt, isVarveError } from '../base/errors.ts';
import { MiB } from '../base/limits.ts';
import { ChunkFrame, frameBytes } from '../format/chunk-frame.ts';
import { chunkIdBytes } from '../format/chunk-ref.ts';
import { packName } from '../format/vault-names.ts';
import type { ChunkTable, IndexRows } from './chunk-table.ts';
import { checkWholeFrame, readPackFrame } from './pack-reader.ts';
import type { PackState, VaultEnv } from './vault-state.ts';

const windowBytes: number = MiB;
const windowsMax = 8;

interface Window {
  readonly pack: number;
  readonly from: number;
  readonly bytes: Uint8Array;
}

/** A checked frame: bytes buf[pos .. frame.next); borrowed until the next read. */
export interface ReadFrame {
  readonly buf: Uint8Array;
  readonly pos: number;
  readonly frame: ChunkFrame;
}

export class VaultReader {
  readonly table: ChunkTable;
  readonly #env: VaultEnv;
  readonly #packs: readonly PackState[];
  readonly #copies: IndexRows | undefined;
  /** Rows of the copies by id in hex; made when first needed. */
  #copiesById: Map<string, number[]> | undefined;
  /** Last used last. */
  #windows: Window[] = [];

  /** `copies`: where chunks of the table lie beside; asked where the first copy is damaged. */
  constructor(env: VaultEnv, packs: readonly PackState[], table: ChunkTable, copies?: IndexRows) {
    this.#env = env;
    this.#packs = packs;
    this.table = table;
    this.#copies = copies;
  }

  /** Name of the pack a row lies in. */
  packNameOf(row: number): string {
    return packName(this.#packs[this.table.pack[row]!]!.hash);
  }

  /** The bytes of a chunk, the caller's. VARVE_CORRUPT when it is missing or damaged. */
  async read(id: Uint8Array, idAt: number): Promise<Uint8Array> {
    const { buf, frame } = await this.readFrame(id, idAt);
    return buf.slice(frame.payloadFrom, frame.payloadTo);
  }

  /** As `read`, for a chunk whose neighbours are not wanted: nothing is read ahead. */
  async readAlone(id: Uint8Array): Promise<Uint8Array> {
    const row = this.table.find(id, 0);
    if (row < 0) return await this.read(id, 0);
    const { pack, off8, storedLen } = this.table;
    const frame = new ChunkFrame();
    const { hash } = this.#packs[pack[row]!]!;
    try {
      const buf = await readPackFrame(this.#env.store, hash, off8[row]!, storedLen[row]!, id, frame);
      return buf.slice(frame.payloadFrom, frame.payloadTo);
    } catch (error) {
      if (!isVarveError(error, 'VARVE_CORRUPT', 'VARVE_NOT_FOUND')) throw error;
      // There may be another copy.
      return await this.read(id, 0);
    }
  }

  /** The whole frame of a chunk. Errors as `read`. */
  async readFrame(id: Uint8Array, idAt: number): Promise<ReadFrame> {
    const row = this.table.find(id, idAt);
    if (row < 0) throw corrupt(`chunk ${hexAt(id, idAt)} is missing`, { file: 'vault' });
    try {
      return await this.#readAt(this.table, row, id, idAt);
    } catch (error) {
      if (!isVarveError(error, 'VARVE_CORRUPT')) throw error;
      for (const copy of this.#copiesOf(hexAt(id, idAt))) {
        const found = await this.#readAt(this.#copies!, copy, id, idAt).catch((another: unknown) => {
          if (isVarveError(another, 'VARVE_CORRUPT')) return undefined;
          throw another;
        });
        if (found !== undefined) return found;
      }
      throw error;
    }
  }

  #copiesOf(id: string): readonly number[] {
    const copies = this.#copies;
    if (copies === undefined) return [];
    if (this.#copiesById === undefined) {
      this.#copiesById = new Map();
      for (let row = 0; row < copies.count; row++) {
        const hex = toHex(copies.idOf(row));
        this.#copiesById.set(hex, [...(this.#copiesById.get(hex) ?? []), row]);
      }
    }
    return this.#copiesById.get(id) ?? [];
  }

  async #readAt(rows: IndexRows, row: number, id: Uint8Array, idAt: number): Promise<ReadFrame> {
    const pack = rows.pack[row]!;
    const offset = rows.off8[row]! * 8;
    const length = frameBytes(rows.storedLen[row]!);
    const window = await this.#window(pack, offset, length);
    const name = packName(this.#packs[pack]!.hash);
    const pos = offset - window.from;
    const frame = new ChunkFrame();
    checkWholeFrame(
      window.bytes.subarray(0, Math.min(window.bytes.length, pos + length)),
      pos,
      name,
      offset,
      frame,
    );
    for (let i = 0; i < chunkIdBytes; i++) {
      if (window.bytes[frame.idAt + i] !== id[idAt + i])
        throw corrupt('another chunk is in its place', { file: name, offset });
    }
    return { buf: window.bytes, pos, frame };
  }

  async #window(pack: number, offset: number, length: number): Promise<Window> {
    const known = this.#windows.find(
      (one) => one.pack === pack && offset >= one.from && offset + length <= one.from + one.bytes.length,
    );
    if (known !== undefined) {
      this.#windows = [...this.#windows.filter((one) => one !== known), known];
      return known;
    }
    const { hash, size } = this.#packs[pack]!;
    const wanted = Math.max(length, Math.min(windowBytes, size - offset));
    const name = packName(hash);
    const bytes = await this.#env.store.getRange(name, offset, wanted).catch((error: unknown) => {
      // A prune has taken it since the index was read, or somebody else has.
      if (isVarveError(error, 'VARVE_NOT_FOUND')) throw corrupt('pack is gone', { file: name, offset });
      throw error;
    });
    const window = { pack, from: offset, bytes };
    this.#windows = [...this.#windows.slice(1 - windowsMax), window];
    return window;
  }
}

function hexAt(id: Uint8Array, at: number): string {
  return toHex(id.subarray(at, at + chunkIdBytes));
}
