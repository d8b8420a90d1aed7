/**
 * Stores that lose the newest slot of SUPER, or the newest catalog, beside a crash: what was acknowledged
 * must be found through the one before it.
 */
import { CatalogStore } from '../../src/catalog/catalog-store.ts';
import { filePath, superName } from '../../src/format/file-names.ts';
import { slotBytes } from '../../src/format/superblock.ts';
import type { MemoryFileSystem } from '../../src/fs/memory-file-system.ts';

/** Ways in which the newest catalog, both its bodies, may be gone: zeros, other bytes, no bytes. */
const losses: readonly ((bytes: Uint8Array) => Uint8Array)[] = [
  (bytes) => bytes.fill(0),
  (bytes) => bytes.fill(0xa5),
  (bytes) => bytes.subarray(0, 0),
];

/** Slot `index` of SUPER is lost. */
export function zeroSlot(disk: MemoryFileSystem, index: number): void {
  disk.corrupt(superName, (bytes) => bytes.fill(0, index * slotBytes, (index + 1) * slotBytes));
}

/**
 * Copies of `disk` without the newest slot and without the newest catalog; none where the crash has already
 * taken one of them, or there has been only one. `lot` picks how the catalog is lost.
 */
export async function withoutNewest(
  disk: MemoryFileSystem,
  lot: number,
): Promise<readonly (readonly [what: string, disk: MemoryFileSystem])[]> {
  if (!disk.files().includes(superName)) return [];
  const { slot, catalog, previous, problems } = await CatalogStore.load(disk);
  if (problems.length > 0 || previous === undefined) return [];
  const noSlot = disk.fork();
  zeroSlot(noSlot, slot.slotIndex);
  const noCatalog = disk.fork();
  noCatalog.corrupt(filePath('cat', catalog.no), losses[lot % losses.length]!);
  return [
    ['slot', noSlot],
    ['catalog', noCatalog],
  ];
}
