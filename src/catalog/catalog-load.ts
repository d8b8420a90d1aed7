/** Finding the set of live files at open: read-only, and always some whole catalog when there is one. */
import type { FileNo } from '../base/brands.ts';
import { corrupt, isVarveError, VarveError } from '../base/errors.ts';
import { type Catalog, catalogFileBytesMax, decodeCatalogFile } from '../format/catalog.ts';
import { filePath, superName } from '../format/file-names.ts';
import type { SuperSlot } from '../format/superblock.ts';
import { hasErrno, readWhole } from '../fs/dirs.ts';
import type { FsPort } from '../fs/port.ts';
import { readSlots } from './super-file.ts';

/** Reads that are repeated while a writer installs. */
const triesMax = 10;

/** A catalog and the checksum that slots carry of it. */
export interface NamedCatalog {
  readonly catalog: Catalog;
  readonly checksum: bigint;
}

export interface LoadedCatalogs {
  /** The newest valid slot; it may name a damaged catalog. */
  readonly slot: SuperSlot;
  /** Highest writer epoch in any valid slot. */
  readonly writerEpoch: number;
  readonly current: NamedCatalog;
  readonly catalog: Catalog;
  /**
   * The catalog installed before `current`, when a slot names it and it is whole. With `problems`, something
   * newer may be lost and files it names may be gone.
   */
  readonly previous: NamedCatalog | undefined;
  /** Damage that was got around: slots, bodies, whole catalogs. */
  readonly problems: readonly VarveError[];
}

/**
 * Reads SUPER and the catalogs it names: slots by falling generation, in each its catalog, then the one
 * before it; the first whole one wins. Writes nothing. VARVE_NOT_FOUND without SUPER, VARVE_CORRUPT when no
 * slot or no catalog is usable, VARVE_FORMAT_VERSION for a newer store.
 */
export async function loadCatalogs(fs: FsPort): Promise<LoadedCatalogs> {
  const { slots, problems } = await readSlots(fs);
  const slot = slots[0];
  if (slot === undefined) throw noneLeft('no superblock slot is valid', problems);
  const found: NamedCatalog[] = [];
  const tried = new Set<FileNo>();
  for (const { no, checksum } of slots.flatMap(namedBy)) {
    if (found.length === 2 || tried.has(no)) continue;
    tried.add(no);
    const named = await readNamed(fs, no, checksum, slot.dbUuid, problems);
    if (named !== undefined) found.push(named);
  }
  const [current, next] = found;
  if (current === undefined) throw noneLeft('no catalog is whole', problems);
  const previous = next?.catalog.no === current.catalog.previousCatalogNo ? next : undefined;
  const writerEpoch = slots.reduce((epoch, each) => Math.max(epoch, each.writerEpoch), 0);
  return { slot, writerEpoch, current, catalog: current.catalog, previous, problems };
}

/**
 * `loadCatalogs` beside a writer, who may install other catalogs, and remove those that SUPER named, while
 * they are read: then they are read again. Errors as there, but VARVE_IO where the disk refuses to give them:
 * they may be whole.
 */
export async function loadCatalogsBeside(fs: FsPort): Promise<LoadedCatalogs> {
  for (let tries = 1; ; tries++) {
    const [before] = (await readSlots(fs)).slots;
    try {
      return await loadCatalogs(fs);
    } catch (error) {
      const mayHaveGone = before !== undefined && isVarveError(error, 'VARVE_CORRUPT') && tries < triesMax;
      if (!mayHaveGone || !(await isSuperseded(fs, before))) throw refusedRead(error) ?? error;
    }
  }
}

/** The failed read among what led to "no catalog is whole". */
function refusedRead(error: unknown): VarveError | undefined {
  const problems = error instanceof VarveError && Array.isArray(error.actual) ? error.actual : [];
  return problems.find((one): one is VarveError => one instanceof VarveError && one.errno === 'EIO');
}

/** SUPER no longer has `slot` as its newest: a writer has installed something since. Errors as readSlots. */
export async function isSuperseded(fs: FsPort, { generation }: SuperSlot): Promise<boolean> {
  return (await readSlots(fs)).slots[0]?.generation !== generation;
}

function namedBy(slot: SuperSlot): { no: FileNo; checksum: bigint }[] {
  const { catalogNo, catalogChecksum, previousCatalogNo, previousCatalogChecksum } = slot;
  return [
    { no: catalogNo, checksum: catalogChecksum },
    { no: previousCatalogNo, checksum: previousCatalogChecksum },
  ].filter(({ no }) => no > 0);
}

/** A catalog that is missing, unreadable or damaged goes to `problems`; other failures are thrown. */
async function readNamed(
  fs: FsPort,
  no: FileNo,
  checksum: bigint,
  dbUuid: Uint8Array,
  problems: VarveError[],
): Promise<NamedCatalog | undefined> {
  const file = filePath('cat', no);
  try {
    const { catalog, bodyChecksum, damage } = decodeCatalogFile(
      await readWhole(fs, file, catalogFileBytesMax),
      { no, dbUuid },
      file,
    );
    if (bodyChecksum !== checksum)
      throw corrupt('not the catalog that SUPER names', { file }, checksum, bodyChecksum);
    if (damage !== undefined) problems.push(damage);
    return { catalog, checksum };
  } catch (error) {
    if (hasErrno(error, 'ENOENT')) problems.push(corrupt('catalog is missing', { file }));
    else if (error instanceof VarveError && (error.code === 'VARVE_CORRUPT' || error.errno === 'EIO'))
      problems.push(error);
    else throw error;
    return undefined;
  }
}

function noneLeft(what: string, problems: readonly VarveError[]): VarveError {
  return new VarveError('VARVE_CORRUPT', `${superName}: ${what}`, {
    file: superName,
    cause: problems[0],
    actual: problems,
  });
}
