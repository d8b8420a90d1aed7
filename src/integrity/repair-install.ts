/**
 * The end of a repair: one catalog that names what is whole, a superblock of four slots that name it, and
 * everything else moved to `quarantine/`.
 *
 * The commit point is the rename of the new SUPER over the old one, of which a copy is kept. Until then the
 * store is as it was but for new files that nothing names; a repair that was stopped can be begun again. What
 * is replaced gets its second name in `quarantine/` before (where the disk has links), so that nothing a
 * later opening sweeps up is the only copy. The catalog names no log: the old files are below its number, so
 * that one whose removal a power cut undoes is not taken for the log again.
 */
import type { FileNo } from '../base/brands.ts';
import { isVarveError } from '../base/errors.ts';
import { type Catalog, encodeCatalogFile } from '../format/catalog.ts';
import { filePath, storeDirs, superName } from '../format/file-names.ts';
import { encodeSuperSlot, type SuperSlot, slotBytes, slotCount, slotIndexOf } from '../format/superblock.ts';
import { hasErrno, readWhole, writeNewFile } from '../fs/dirs.ts';
import { baseName, parentPath } from '../fs/fs-path.ts';
import type { FsPort } from '../fs/port.ts';

export interface Install {
  readonly fs: FsPort;
  readonly random: (n: number) => Uint8Array;
  readonly catalog: Catalog;
  /** The new slots but for generation and catalog; its generation is the highest that was in use. */
  readonly slot: SuperSlot;
  /** Paths to be moved away. */
  readonly replaced: readonly string[];
}

const draftName = `tmp/${superName}`;
const quarantine = 'quarantine';

/** Durable when it resolves. Returns what was moved. VARVE_NO_SPACE, VARVE_IO. */
export async function install({ fs, random, catalog, slot, replaced }: Install): Promise<string[]> {
  const { dbUuid } = slot;
  const { bytes, bodyChecksum } = encodeCatalogFile(catalog, { dbUuid, salt: random(12) });
  await writeNewFile(fs, filePath('cat', catalog.no), bytes);
  const moved: string[] = [];
  const later: string[] = [];
  for (const path of replaced) {
    if (await linked(fs, path)) moved.push(path);
    else later.push(path);
  }
  if (await copied(fs, superName, catalog.no)) moved.push(superName);
  await fs.syncDir(quarantine);
  await fs.unlink(draftName);
  await writeNewFile(fs, draftName, slotsOf(slot, catalog, bodyChecksum));
  await fs.rename(draftName, superName);
  await fs.syncDir('');
  await fs.syncDir('tmp');
  for (const path of moved) if (path !== superName) await fs.unlink(path);
  for (const path of later) if (await renamed(fs, path)) moved.push(path);
  await fs.syncDir(quarantine);
  for (const dir of new Set(replaced.map(parentPath))) await fs.syncDir(dir);
  return moved;
}

/** Makes the directories that are missing. */
export async function prepareDirs(fs: FsPort): Promise<void> {
  for (const dir of storeDirs) await fs.mkdir(dir);
  await fs.syncDir('');
}

function slotsOf(slot: SuperSlot, catalog: Catalog, catalogChecksum: bigint): Uint8Array {
  const bytes = new Uint8Array(slotCount * slotBytes);
  for (let i = 1; i <= slotCount; i++) {
    const generation = slot.generation + i;
    const slotIndex = slotIndexOf(generation);
    const { checkpointSeq, walFirstNo } = catalog;
    const encoded = encodeSuperSlot({
      ...slot,
      generation,
      slotIndex,
      catalogNo: catalog.no,
      catalogChecksum,
      checkpointSeq,
      walFirstNo,
      cleanShutdown: false,
      previousCatalogNo: 0,
      previousCatalogChecksum: 0n,
    });
    bytes.set(encoded, slotIndex * slotBytes);
  }
  return bytes;
}

/** A second name in `quarantine/`; false where the disk has no links or the file is not there. */
async function linked(fs: FsPort, path: string): Promise<boolean> {
  try {
    await fs.link(path, `${quarantine}/${baseName(path)}`);
    return true;
  } catch (error) {
    // There from a repair that was stopped.
    if (hasErrno(error, 'EEXIST')) return true;
    if (isVarveError(error, 'VARVE_IO')) return false;
    throw error;
  }
}

async function renamed(fs: FsPort, path: string): Promise<boolean> {
  try {
    await fs.rename(path, `${quarantine}/${baseName(path)}`);
    return true;
  } catch (error) {
    if (!hasErrno(error, 'ENOENT')) throw error;
    return false;
  }
}

/** False where it cannot be read. A copy that cannot be written ends the repair: nothing else has them. */
async function copied(fs: FsPort, path: string, no: FileNo): Promise<boolean> {
  let bytes: Uint8Array;
  try {
    bytes = await readWhole(fs, path, 1024 * 1024);
  } catch (error) {
    if (isVarveError(error, 'VARVE_IO', 'VARVE_CORRUPT')) return false;
    throw error;
  }
  await writeNewFile(fs, `${quarantine}/${path}.${no}`, bytes);
  return true;
}
