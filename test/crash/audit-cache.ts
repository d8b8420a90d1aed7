/**
 * Audits whose answers are remembered by the bytes they were made from. Thousands of crash states recover to
 * the same few files, and an audit reads nothing but the files themselves, so equal files have equal audits.
 *
 * What is remembered is forgotten all at once when it is too much.
 */
import { encodeUtf8, toHex } from '../../src/base/bytes.ts';
import type { LoadedCatalogs } from '../../src/catalog/catalog-load.ts';
import { CatalogStore } from '../../src/catalog/catalog-store.ts';
import { xxh64 } from '../../src/codec/checksum.ts';
import { filePath, superName } from '../../src/format/file-names.ts';
import type { MemoryFileSystem } from '../../src/fs/memory-file-system.ts';
import { type Audit, auditDisk } from './audit.ts';

const entriesMax = 2000;

/** Told the path of each file that was read. */
export type OnRead = (path: string) => void;

export class AuditCache {
  readonly #catalogs = new Map<bigint, LoadedCatalogs>();
  readonly #audits = new Map<bigint, Audit>();

  /** The catalogs of `disk`, as CatalogStore.load gives them; undefined without a SUPER. */
  async load(disk: MemoryFileSystem): Promise<LoadedCatalogs | undefined> {
    const files = disk.files();
    if (!files.includes(superName)) return undefined;
    const read = files.filter((path) => path === superName || path.startsWith('cat/'));
    const key = digestOf(disk, read, '');
    const known = this.#catalogs.get(key);
    if (known !== undefined) return known;
    const loaded = await CatalogStore.load(disk);
    remember(this.#catalogs, key, loaded);
    return loaded;
  }

  /**
   * Same as `auditDisk`; `loaded` is what `load` says of this disk. `onRead` is told the files it looks at.
   */
  async audit(
    disk: MemoryFileSystem,
    loaded: LoadedCatalogs,
    onRead: OnRead = () => undefined,
  ): Promise<Audit> {
    const { catalog, slot, problems } = loaded;
    const { tables, sealed, unsealed } = catalog;
    const named = [
      ...tables.map(({ no }) => filePath('tab', no)),
      ...sealed.map(({ no }) => filePath('seg', no)),
      ...unsealed.map(({ no }) => filePath('seg', no)),
    ];
    const there = new Set(disk.files());
    const text = JSON.stringify([tables, sealed, unsealed, toHex(slot.dbUuid)], plain);
    const words = `${text}${problems.map(({ message }) => message).join()}`;
    const read = named.filter((path) => there.has(path));
    for (const path of read) onRead(path);
    const key = digestOf(disk, read, words);
    const known = this.#audits.get(key);
    if (known !== undefined) return known;
    const audit = await auditDisk(disk, loaded);
    remember(this.#audits, key, audit);
    return audit;
  }
}

const plain = (_name: string, value: unknown): unknown =>
  typeof value === 'bigint' ? String(value) : value instanceof Uint8Array ? toHex(value) : value;

function digestOf(disk: MemoryFileSystem, paths: readonly string[], words: string): bigint {
  let text = words;
  for (const path of paths) text += `\0${path}\0${disk.digestOf(path)}`;
  return xxh64(encodeUtf8(text));
}

function remember<T>(map: Map<bigint, T>, key: bigint, value: T): void {
  if (map.size === entriesMax) map.clear();
  map.set(key, value);
}
