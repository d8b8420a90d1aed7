/** Making a new store: everything else first, SUPER last and in one step. */
import { corrupt, invalid } from '../base/errors.ts';
import { type Catalog, encodeCatalogFile } from '../format/catalog.ts';
import { formatVersion } from '../format/file-header.ts';
import { filePath, storeDirs, superName } from '../format/file-names.ts';
import {
  checksumAlgos,
  encodeSuperSlot,
  idSchemes,
  type SuperSlot,
  slotBytes,
  slotCount,
} from '../format/superblock.ts';
import { writeNewFile } from '../fs/dirs.ts';
import type { FsPort } from '../fs/port.ts';
import { atGeneration } from './super-file.ts';

/** What is fixed for the life of a store. */
export type StoreIdentity = Pick<
  SuperSlot,
  | 'dbUuid'
  | 'timelineId'
  | 'chunkerAlgo'
  | 'chunkMin'
  | 'chunkAvg'
  | 'chunkMax'
  | 'chunkerNormalPoint'
  | 'chunkerStrict'
  | 'chunkerLoose'
  | 'chunkerKeyCheck'
  | 'inlineMax'
  | 'segTarget'
  | 'createdMs'
>;

const firstCatalogNo = 1;
const draftName = `tmp/${superName}`;

/**
 * Makes an empty store: directories, catalog 1, SUPER with all four slots. Durable when it resolves. A crash
 * before SUPER has its name leaves something that is no store, which another call completes.
 * VARVE_INVALID_ARGUMENT when a store is here; VARVE_CORRUPT when SUPER is gone and files of a store are not:
 * those are never overwritten. `random(n)` gives n random bytes.
 */
export async function createStore(
  fs: FsPort,
  identity: StoreIdentity,
  random: (n: number) => Uint8Array,
): Promise<void> {
  if ((await fs.stat(superName)) !== null) throw invalid(`${fs.root} holds a store already`);
  for (const dir of storeDirs) await fs.mkdir(dir);
  await fs.syncDir('');
  await removeLeftovers(fs);
  await publishStore(fs, identity, firstCatalog(identity.timelineId), random);
}

/**
 * Makes the store whose files `catalog` names, all of them durable: the catalog, then SUPER, which is the one
 * step by which it becomes a store. The directories are there, and no SUPER.
 */
export async function publishStore(
  fs: FsPort,
  identity: StoreIdentity,
  catalog: Catalog,
  random: (n: number) => Uint8Array,
): Promise<void> {
  const { bytes, bodyChecksum } = encodeCatalogFile(catalog, { dbUuid: identity.dbUuid, salt: random(12) });
  await writeNewFile(fs, filePath('cat', catalog.no), bytes);
  await writeNewFile(fs, draftName, firstSlots(identity, catalog, bodyChecksum));
  await fs.rename(draftName, superName);
  await fs.syncDir('');
  await fs.syncDir('tmp');
}

/** What a crash inside an earlier creation leaves: catalog 1 and a draft of SUPER, nothing else. */
async function removeLeftovers(fs: FsPort): Promise<void> {
  const catalogName = filePath('cat', firstCatalogNo);
  for (const dir of ['cat', 'wal', 'tab', 'seg'] as const) {
    for (const { name } of await fs.list(dir)) {
      const file = `${dir}/${name}`;
      if (file !== catalogName) throw corrupt('SUPER is missing and files of a store are here', { file });
    }
  }
  if (await fs.unlink(catalogName)) await fs.syncDir('cat');
  if (await fs.unlink(draftName)) await fs.syncDir('tmp');
}

function firstCatalog(timelineId: number): Catalog {
  return {
    no: firstCatalogNo,
    generation: slotCount,
    previousCatalogNo: 0,
    checkpointSeq: 0,
    walFirstNo: 0,
    nextFileNo: firstCatalogNo + 1,
    timelineId,
    features: 0,
    tables: [],
    sealed: [],
    unsealed: [],
    dropped: [],
  };
}

/** All four slots, so that losing one of them is never losing the store. */
function firstSlots(identity: StoreIdentity, catalog: Catalog, catalogChecksum: bigint): Uint8Array {
  const bytes = new Uint8Array(slotCount * slotBytes);
  for (let generation = 1; generation <= slotCount; generation++) {
    const slot: SuperSlot = {
      ...identity,
      formatVersion,
      slotIndex: 0,
      incompatFlags: 0,
      roCompatFlags: 0,
      compatFlags: 0,
      generation,
      writerEpoch: 0,
      catalogNo: catalog.no,
      catalogChecksum,
      checkpointSeq: catalog.checkpointSeq,
      walFirstNo: 0,
      cleanShutdown: false,
      checksumAlgo: checksumAlgos.xxh64,
      idScheme: idSchemes.sha256,
      writtenMs: identity.createdMs,
      previousCatalogNo: 0,
      previousCatalogChecksum: 0n,
    };
    const placed = atGeneration(slot, generation);
    bytes.set(encodeSuperSlot(placed), placed.slotIndex * slotBytes);
  }
  return bytes;
}
