/**
 * Catalogs that once counted. A catalog that is synced counts only when a slot of SUPER names it: where the
 * power goes in between, what its tables hold was never promised, and their numbers may be given again.
 */
import { isVarveError } from '../../src/base/errors.ts';
import { type Catalog, decodeCatalogFile } from '../../src/format/catalog.ts';
import { type NumberedKind, parseFileName, superName } from '../../src/format/file-names.ts';
import { decodeSuperSlot, type SuperSlot, slotBytes, slotCount } from '../../src/format/superblock.ts';
import type { MemoryFileSystem } from '../../src/fs/memory-file-system.ts';

export class InstalledCatalogs {
  /** Bytes of those that were synced, by path. */
  readonly #synced = new Map<string, Uint8Array>();
  /** Number of the catalog that the slot of a generation names. */
  readonly #named = new Map<number, number>();
  /** Slots as they were last looked at. */
  readonly #slots: { readonly bytes: Uint8Array; readonly slot: SuperSlot | undefined }[] = [];

  /** To be told before a file is synced. */
  noteSync(path: string, disk: MemoryFileSystem): void {
    if (path === superName) this.#nameNewest(disk);
    if (numberOf(path, 'cat') !== undefined) this.#synced.set(path, disk.bytesOf(path));
  }

  /** To be told at the start of each life: what the slots of before named and these do not is no more. */
  begin(disk: MemoryFileSystem): void {
    if (!disk.files().includes(superName)) {
      this.#named.clear();
      return;
    }
    const newest = this.#nameNewest(disk);
    for (const generation of this.#named.keys()) if (generation > newest) this.#named.delete(generation);
  }

  /** Catalogs that counted, of those synced since the last call. */
  take(dbUuid: Uint8Array): Catalog[] {
    const newest = Math.max(0, ...this.#named.keys());
    const taken: Catalog[] = [];
    for (const [path, bytes] of this.#synced) {
      const no = numberOf(path, 'cat')!;
      // A creation that a crash undid has left it: the store has another identity now.
      const catalog = isOfStore(bytes, dbUuid)
        ? decodeCatalogFile(bytes, { no, dbUuid }, path).catalog
        : undefined;
      // SUPER may be about to name it.
      if (catalog !== undefined && catalog.generation > newest) continue;
      this.#synced.delete(path);
      if (catalog !== undefined && this.#named.get(catalog.generation) === no) taken.push(catalog);
    }
    return taken;
  }

  /** What a slot says: decoded again only where its bytes are others than when it was last looked at. */
  #slot(bytes: Uint8Array, index: number): SuperSlot | undefined {
    const own = bytes.subarray(index * slotBytes, (index + 1) * slotBytes);
    const known = this.#slots[index];
    if (known !== undefined && Buffer.compare(known.bytes, own) === 0) return known.slot;
    const slot = slotAt(own, index);
    this.#slots[index] = { bytes: own, slot };
    return slot;
  }

  #nameNewest(disk: MemoryFileSystem): number {
    const bytes = disk.bytesOf(superName);
    let newest: SuperSlot | undefined;
    for (let i = 0; i < slotCount; i++) {
      const slot = this.#slot(bytes, i);
      if (slot !== undefined && slot.generation > (newest?.generation ?? 0)) newest = slot;
    }
    if (newest !== undefined) this.#named.set(newest.generation, newest.catalogNo);
    return newest?.generation ?? 0;
  }
}

/** Undefined where the slot is torn, or the file shorter. */
function slotAt(bytes: Uint8Array, index: number): SuperSlot | undefined {
  try {
    return decodeSuperSlot(bytes, index, superName);
  } catch (error) {
    if (!isVarveError(error, 'VARVE_CORRUPT')) throw error;
    return undefined;
  }
}

/** The number of a file of a kind; undefined for another. */
export function numberOf(path: string, kind: NumberedKind): number | undefined {
  const name = parseFileName(path.slice(path.lastIndexOf('/') + 1));
  return name?.kind === kind ? name.no : undefined;
}

const isOfStore = (bytes: Uint8Array, dbUuid: Uint8Array): boolean =>
  Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).indexOf(dbUuid) === 24;
