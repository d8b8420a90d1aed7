/** Where a repair starts: identity, catalog and files of a store, whatever of its roots is damaged. */
import type { FileNo } from '../base/brands.ts';
import { toHex } from '../base/bytes.ts';
import { isDamage, isVarveError, VarveError } from '../base/errors.ts';
import { loadCatalogs } from '../catalog/catalog-load.ts';
import { readSlots } from '../catalog/super-file.ts';
import { type Catalog, catalogFileBytesMax, decodeCatalogFile } from '../format/catalog.ts';
import { fileHeader } from '../format/file-header.ts';
import { filePath, type NumberedKind, parseFileName } from '../format/file-names.ts';
import type { SuperSlot } from '../format/superblock.ts';
import { hasErrno, readWhole } from '../fs/dirs.ts';
import type { FsPort } from '../fs/port.ts';

/** Numbered files by kind, and the highest number of any. */
export interface FoundFiles {
  readonly cat: readonly FileNo[];
  readonly wal: readonly FileNo[];
  readonly tab: readonly FileNo[];
  readonly seg: readonly FileNo[];
  readonly highestNo: FileNo;
}

export interface FoundRoots {
  readonly files: FoundFiles;
  readonly dbUuid: Uint8Array;
  /** The newest slot; undefined when none is whole. */
  readonly slot: SuperSlot | undefined;
  readonly writerEpoch: number;
  /** The newest catalog that is whole; undefined when none is. */
  readonly catalog: Catalog | undefined;
  /** Epoch of the writer that closed the store cleanly, if that is what the slot says. */
  readonly closedEpoch: number | undefined;
  /** What is wrong, in words of what is done about it. */
  readonly actions: readonly string[];
}

/** Reads them. VARVE_NOT_FOUND when nothing here is a store; VARVE_FORMAT_VERSION, VARVE_IO. */
export async function findRoots(fs: FsPort): Promise<FoundRoots> {
  const files = await listFiles(fs);
  try {
    const { slot, writerEpoch, catalog, problems } = await loadCatalogs(fs);
    const actions = problems.length === 0 ? [] : ['superblock and catalog are written anew'];
    const closedEpoch = slot.cleanShutdown ? slot.writerEpoch : undefined;
    return { files, dbUuid: slot.dbUuid, slot, writerEpoch, catalog, closedEpoch, actions };
  } catch (error) {
    if (!isDamage(error) && !isVarveError(error, 'VARVE_NOT_FOUND')) throw error;
    return await withoutSuper(fs, files);
  }
}

async function withoutSuper(fs: FsPort, files: FoundFiles): Promise<FoundRoots> {
  const slots = await readSlots(fs).catch((error: unknown) => {
    if (!isDamage(error) && !isVarveError(error, 'VARVE_NOT_FOUND')) throw error;
    return { slots: [] };
  });
  const slot = slots.slots[0];
  const dbUuid = slot?.dbUuid ?? (await commonUuid(fs, files));
  if (dbUuid === undefined) {
    throw new VarveError('VARVE_NOT_FOUND', `${fs.root}: there is no store here`, { file: fs.root });
  }
  const catalog = await newestCatalog(fs, files.cat, dbUuid);
  const actions = [
    slot === undefined
      ? 'no slot of the superblock is whole: a new superblock is written'
      : 'superblock and catalog are written anew',
    catalog === undefined
      ? 'no catalog is whole: the set of tables and segments is that of the files found'
      : `the newest whole catalog, ${filePath('cat', catalog.no)}, is taken`,
  ];
  const writerEpoch = slots.slots.reduce((epoch, each) => Math.max(epoch, each.writerEpoch), 0);
  return { files, dbUuid, slot, writerEpoch, catalog, closedEpoch: undefined, actions };
}

/** The store that most files say they are of. */
async function commonUuid(fs: FsPort, files: FoundFiles): Promise<Uint8Array | undefined> {
  const votes = new Map<string, { uuid: Uint8Array; count: number }>();
  for (const kind of ['cat', 'wal', 'tab', 'seg'] as const) {
    for (const no of files[kind].slice(0, 64)) {
      const uuid = await uuidOf(fs, filePath(kind, no));
      if (uuid === undefined) continue;
      const vote = votes.get(toHex(uuid)) ?? { uuid, count: 0 };
      vote.count++;
      votes.set(toHex(uuid), vote);
    }
  }
  return Array.from(votes.values()).sort((a, b) => b.count - a.count)[0]?.uuid;
}

async function uuidOf(fs: FsPort, path: string): Promise<Uint8Array | undefined> {
  try {
    const file = await fs.open(path, 'read');
    try {
      const bytes = new Uint8Array(fileHeader.size);
      const at = fileHeader.at.dbUuid;
      return (await file.read(bytes, 0)) < bytes.length ? undefined : bytes.slice(at, at + 16);
    } finally {
      await file.close();
    }
  } catch (error) {
    if (!isDamage(error) && !hasErrno(error, 'ENOENT')) throw error;
    return undefined;
  }
}

async function newestCatalog(
  fs: FsPort,
  numbers: readonly FileNo[],
  dbUuid: Uint8Array,
): Promise<Catalog | undefined> {
  let newest: Catalog | undefined;
  for (const no of numbers) {
    const file = filePath('cat', no);
    try {
      const bytes = await readWhole(fs, file, catalogFileBytesMax);
      const { catalog } = decodeCatalogFile(bytes, { no, dbUuid }, file);
      if (newest === undefined || catalog.generation > newest.generation) newest = catalog;
    } catch (error) {
      if (!isDamage(error)) throw error;
    }
  }
  return newest;
}

async function listFiles(fs: FsPort): Promise<FoundFiles> {
  const found: Record<NumberedKind, FileNo[]> = { cat: [], wal: [], tab: [], seg: [] };
  let highestNo = 0;
  for (const dir of ['cat', 'wal', 'tab', 'seg', 'quarantine'] as const) {
    for await (const name of namesBelow(fs, dir)) {
      const parsed = parseFileName(name);
      if (parsed === null) continue;
      highestNo = Math.max(highestNo, parsed.no);
      if (parsed.kind === dir) found[dir].push(parsed.no);
    }
  }
  for (const numbers of Object.values(found)) numbers.sort((a, b) => a - b);
  return { ...found, highestNo };
}

/**
 * VARVE_IO for a directory that cannot be listed: a repair without its files would name none of them, and the
 * next open would sweep them up.
 */
async function* namesBelow(fs: FsPort, dir: string): AsyncGenerator<string> {
  const entries = await fs.list(dir).catch((error: unknown) => {
    if (!hasErrno(error, 'ENOENT')) throw error;
    return [];
  });
  for (const { name, kind } of entries) {
    if (kind === 'directory') yield* namesBelow(fs, `${dir}/${name}`);
    else if (kind === 'file') yield name;
  }
}
