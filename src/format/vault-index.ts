/**
 * Index objects of a vault: which chunks lie where in which packs.
 *
 *   file header 64 | head 32 | packs x 48 | superseded index objects x 32 | entries x 56, by id, then by pack
 *
 * Packs say the same in their trailers; an index object saves reading them. One that was merged from others
 * names those, so that they are ignored before they are deleted. Its name is its SHA-256.
 */
import { assert } from '../base/assert.ts';
import { toHex, viewOf } from '../base/bytes.ts';
import { corrupt } from '../base/errors.ts';
import { GiB, segmentBytesMax } from '../base/limits.ts';
import { checksumMatches, type FileSeed, writeChecksum } from '../codec/checksum.ts';
import { decodeLayout, defineLayout, encodeLayout, f } from '../codec/layout.ts';
import { chunkPayloadBytesMax, knownKindAndCodec } from './chunk-frame.ts';
import { chunkIdBytes } from './chunk-ref.ts';
import { decodeFileHeader, encodeFileHeader, fileHeader } from './file-header.ts';
import { newerFormat } from './format-ladder.ts';

export const vaultIndexHead = defineLayout('vaultindex', 'vault index head', 32, {
  checksum: f(0, 'hash64', 'xxh64(low 64 bits of the salt xor 64; bytes 8 .. end of the object)'),
  packs: f(8, 'u32', 'pack records behind the head'),
  superseded: f(12, 'u32', 'names of index objects this one stands for'),
  entries: f(16, 'u32', 'entries, last'),
  flags: f(20, 'u32', 'zero; anything else is refused'),
  reserved: f(24, 8, 'zero'),
});

export const vaultIndexPack = defineLayout('vaultpack', 'vault index pack record', 48, {
  name: f(0, 32, 'name of the pack, a SHA-256'),
  size: f(32, 'u64', 'bytes of the pack. guards: a cut-off object'),
  frames: f(40, 'u32', 'frames in it'),
  reserved: f(44, 4, 'zero'),
});

export const vaultIndexEntry = defineLayout('vaultentry', 'vault index entry', 56, {
  chunkId: f(0, chunkIdBytes, 'SHA-256 of the chunk'),
  pack: f(32, 'u32', 'number of the pack record, from 0'),
  off8: f(36, 'u32', 'offset of the frame in the pack, divided by 8'),
  storedLen: f(40, 'u32', 'as in the frame'),
  rawLen: f(44, 'u32', 'as in the frame'),
  kind: f(48, 'u8', 'as in the frame'),
  codec: f(49, 'u8', 'as in the frame'),
  reserved: f(50, 6, 'zero'),
});

/** Entries of one object: more go to another. */
export const vaultIndexEntriesMax: number = 1024 * 1024;
export const vaultIndexBytesMax: number = GiB;
const at = vaultIndexEntry.at;

/** A pack as an index object names it. */
export interface IndexedPack {
  /** 64 hex digits. */
  readonly hash: string;
  readonly size: number;
  readonly frames: number;
}

/** Entries to write, in columns; `order` sorts them by id, then by pack. */
export interface IndexColumns {
  readonly ids: Uint8Array;
  readonly pack: Uint32Array;
  readonly off8: Uint32Array;
  readonly storedLen: Uint32Array;
  readonly rawLen: Uint32Array;
  readonly kind: Uint8Array;
  readonly codec: Uint8Array;
}

/** A decoded index object over its bytes, which are borrowed. */
export interface VaultIndexObject {
  readonly packs: readonly IndexedPack[];
  /** Hashes of index objects it stands for. */
  readonly superseded: readonly string[];
  readonly count: number;
  /** Where entry `i` starts in `bytes`: entriesFrom + i * 56. */
  readonly entriesFrom: number;
  readonly bytes: Uint8Array;
}

/** A pack to name in an index object. */
export interface IndexPackRecord {
  /** 32 bytes. */
  readonly name: Uint8Array;
  readonly size: number;
  readonly frames: number;
}

/** `order`: the rows of `columns` to write, sorted. `superseded`: 32 bytes each. `salt`: 12 random bytes. */
export function encodeVaultIndex(
  vaultId: Uint8Array,
  salt: Uint8Array,
  packs: readonly IndexPackRecord[],
  superseded: readonly Uint8Array[],
  columns: IndexColumns,
  order: Uint32Array,
): Uint8Array {
  const builder = new VaultIndexBuilder(vaultId, salt, packs, superseded, order.length);
  for (const row of order) builder.addRow(columns, row);
  return builder.finish();
}

/** Makes an index object in memory, entry by entry. */
export class VaultIndexBuilder {
  readonly #out: Uint8Array;
  readonly #view: DataView;
  readonly #counts: { readonly packs: number; readonly superseded: number };
  readonly #entriesFrom: number;
  #pos: number;

  /** Arguments as of `encodeVaultIndex`; `entriesMax`: no more will be added. */
  constructor(
    vaultId: Uint8Array,
    salt: Uint8Array,
    packs: readonly IndexPackRecord[],
    superseded: readonly Uint8Array[],
    entriesMax: number,
  ) {
    assert(entriesMax <= vaultIndexEntriesMax, 'an index object keeps its bound');
    this.#counts = { packs: packs.length, superseded: superseded.length };
    let pos = vaultIndexFrontBytes;
    this.#entriesFrom = pos + packs.length * vaultIndexPack.size + superseded.length * 32;
    this.#out = new Uint8Array(this.#entriesFrom + entriesMax * vaultIndexEntry.size);
    this.#view = viewOf(this.#out);
    this.#out.set(encodeFileHeader({ kind: 'index', subKind: 0, fileNo: 0, dbUuid: vaultId, salt }));
    for (const pack of packs) {
      encodeLayout(vaultIndexPack, pack, this.#out, pos);
      pos += vaultIndexPack.size;
    }
    for (const name of superseded) {
      this.#out.set(name, pos);
      pos += 32;
    }
    this.#pos = pos;
  }

  /** Adds a row; rows come sorted, by id, then by pack. */
  addRow(columns: IndexColumns, row: number): void {
    const pos = this.#pos;
    const view = this.#view;
    this.#out.set(columns.ids.subarray(row * chunkIdBytes, (row + 1) * chunkIdBytes), pos);
    view.setUint32(pos + at.pack, columns.pack[row]!, true);
    view.setUint32(pos + at.off8, columns.off8[row]!, true);
    view.setUint32(pos + at.storedLen, columns.storedLen[row]!, true);
    view.setUint32(pos + at.rawLen, columns.rawLen[row]!, true);
    this.#out[pos + at.kind] = columns.kind[row]!;
    this.#out[pos + at.codec] = columns.codec[row]!;
    this.#pos = pos + vaultIndexEntry.size;
  }

  /** Adds the entry at bytes[from..] of another object as one of `pack`; ids come sorted. Once for a pack. */
  addEntry(bytes: Uint8Array, from: number, pack: number): void {
    const out = this.#out;
    let pos = this.#pos;
    const put = (): void => {
      out.set(bytes.subarray(from, from + vaultIndexEntry.size), pos);
      this.#view.setUint32(pos + at.pack, pack, true);
    };
    put();
    // Copies of a chunk in packs that have other numbers here: moved into order.
    for (;;) {
      const last = pos - vaultIndexEntry.size;
      const order = last < this.#entriesFrom ? -1 : compareEntries(out, this.#view, last, pos);
      if (order < 0) break;
      if (order === 0) {
        // It is there: what was moved for it goes back.
        out.copyWithin(pos, pos + vaultIndexEntry.size, this.#pos + vaultIndexEntry.size);
        return;
      }
      out.copyWithin(pos, last, pos);
      pos = last;
      put();
    }
    this.#pos += vaultIndexEntry.size;
  }

  /** The finished object; nothing may be added after it. */
  finish(): Uint8Array {
    const out = this.#out.subarray(0, this.#pos);
    const entries = (this.#pos - this.#entriesFrom) / vaultIndexEntry.size;
    encodeLayout(vaultIndexHead, { checksum: 0n, ...this.#counts, entries, flags: 0 }, out, fileHeader.size);
    const { seed } = decodeFileHeader(out, { kind: 'index' }, 'index');
    writeChecksum(out, fileHeader.size, fileHeader.size + 8, out.length, seed.at(fileHeader.size));
    return out;
  }
}

/**
 * VARVE_CORRUPT on damage or another vault's object, VARVE_FORMAT_VERSION on a newer one. Borrows `bytes`.
 */
export function decodeVaultIndex(bytes: Uint8Array, file: string, vaultId: Uint8Array): VaultIndexObject {
  // The shape last: what is damaged is said to be damaged.
  const header = decodeFileHeader(bytes, { kind: 'index', fileNo: 0, dbUuid: vaultId }, file);
  const sum = header.seed.at(fileHeader.size);
  if (bytes.length < vaultIndexFrontBytes) throw corrupt('vault index is cut off', { file });
  if (!checksumMatches(bytes, fileHeader.size, fileHeader.size + 8, bytes.length, sum))
    throw corrupt('vault index fails its checksum', { file, offset: fileHeader.size });
  const { packs, superseded, entries, entriesFrom } = decodeVaultIndexTables(bytes, file, vaultId);
  if (bytes.length !== entriesFrom + entries * vaultIndexEntry.size)
    throw corrupt('vault index does not have the length it says', { file, offset: fileHeader.size });
  checkVaultIndexEntries(bytes, entriesFrom, entries, packs, file);
  return { packs, superseded, count: entries, entriesFrom, bytes };
}

/** What stands in front of the entries of an index object. */
export interface VaultIndexTables {
  readonly packs: readonly IndexedPack[];
  readonly superseded: readonly string[];
  readonly entries: number;
  /** Where the entries start in the object. */
  readonly entriesFrom: number;
  readonly seed: FileSeed;
  /** The checksum that the bytes from `fileHeader.size + 8` on must have. */
  readonly checksum: bigint;
}

/** Bytes at the front that `vaultIndexLengths` needs. */
export const vaultIndexFrontBytes: number = fileHeader.size + vaultIndexHead.size;

/** Where the entries of an object of `size` bytes start, by its first bytes. VARVE_CORRUPT, … as below. */
export function vaultIndexEntriesFrom(front: Uint8Array, size: number, file: string): number {
  const head = decodeLayout(vaultIndexHead, front, fileHeader.size, { file });
  const from = vaultIndexFrontBytes + head.packs * vaultIndexPack.size + head.superseded * 32;
  if (size > vaultIndexBytesMax || size !== from + head.entries * vaultIndexEntry.size)
    throw corrupt('vault index does not have the length it says', { file, offset: fileHeader.size });
  return from;
}

/**
 * What stands in front of the entries: `bytes` are those. Nothing is checked but the shape: the checksum
 * covers the entries too. VARVE_CORRUPT, VARVE_FORMAT_VERSION.
 */
export function decodeVaultIndexTables(
  bytes: Uint8Array,
  file: string,
  vaultId: Uint8Array,
): VaultIndexTables {
  const { seed, subKind } = decodeFileHeader(bytes, { kind: 'index', fileNo: 0, dbUuid: vaultId }, file);
  const place = { file, offset: fileHeader.size };
  const head = decodeLayout(vaultIndexHead, bytes, fileHeader.size, { file });
  if (head.flags !== 0 || subKind !== 0) throw newerFormat('vault index of an unknown kind', place);
  const supersededFrom = vaultIndexFrontBytes + head.packs * vaultIndexPack.size;
  const entriesFrom = supersededFrom + head.superseded * 32;
  if (bytes.length < entriesFrom) throw corrupt('vault index does not have the length it says', place);
  const packs: IndexedPack[] = [];
  for (let i = 0; i < head.packs; i++) {
    const record = decodeLayout(vaultIndexPack, bytes, vaultIndexFrontBytes + i * vaultIndexPack.size, {
      file,
    });
    if (record.size > segmentBytesMax) throw corrupt('pack has an impossible size', place);
    packs.push({ hash: toHex(record.name), size: record.size, frames: record.frames });
  }
  const superseded: string[] = [];
  for (let i = supersededFrom; i < entriesFrom; i += 32) superseded.push(toHex(bytes.subarray(i, i + 32)));
  return { packs, superseded, entries: head.entries, entriesFrom, seed, checksum: head.checksum };
}

/**
 * Checks `count` entries at bytes[from..]: in range, of known kinds, rising. VARVE_CORRUPT,
 * VARVE_FORMAT_VERSION; `file` for messages.
 */
export function checkVaultIndexEntries(
  bytes: Uint8Array,
  from: number,
  count: number,
  packs: readonly IndexedPack[],
  file: string,
): void {
  const view = viewOf(bytes);
  for (let i = 0; i < count; i++) {
    const pos = from + i * vaultIndexEntry.size;
    const pack = view.getUint32(pos + at.pack, true);
    const end = view.getUint32(pos + at.off8, true) * 8 + view.getUint32(pos + at.storedLen, true);
    const fits =
      pack < packs.length &&
      view.getUint32(pos + at.off8, true) * 8 >= fileHeader.size &&
      view.getUint32(pos + at.storedLen, true) <= chunkPayloadBytesMax &&
      view.getUint32(pos + at.rawLen, true) <= chunkPayloadBytesMax &&
      end < packs[pack]!.size;
    const clean =
      view.getUint32(pos + at.reserved, true) === 0 && view.getUint16(pos + at.reserved + 4) === 0;
    if (!fits || !clean) throw corrupt('vault index entry is out of range', { file, offset: pos });
    if (!knownKindAndCodec(bytes[pos + at.kind]!, bytes[pos + at.codec]!))
      throw newerFormat('vault index names a chunk of an unknown kind', { file, offset: pos });
    if (i > 0 && compareEntries(bytes, view, pos - vaultIndexEntry.size, pos) >= 0)
      throw corrupt('vault index entries do not rise', { file, offset: pos });
  }
}

function compareEntries(bytes: Uint8Array, view: DataView, a: number, b: number): number {
  for (let i = 0; i < chunkIdBytes; i++) {
    const d = bytes[a + i]! - bytes[b + i]!;
    if (d !== 0) return d;
  }
  return view.getUint32(a + at.pack, true) - view.getUint32(b + at.pack, true);
}
