/**
 * The set of live files and its one commit point: installing a catalog.
 *
 * Invariants (test/catalog/catalog-store.test.ts, test/catalog/catalog-crash.test.ts):
 * - a slot names a catalog only after that catalog and its name are on disk;
 * - a slot names the catalog of the install before it too, and neither it nor what it names goes before the
 *   next install is durable ("losing the newest slot or catalog at any crash point finds the one before");
 * - an open writes a slot of its own before anything else;
 * - numbers are never taken twice, also across crashes;
 * - after a failed write or sync nothing is written any more.
 */
import type { FileNo } from '../base/brands.ts';
import { equalBytes } from '../base/bytes.ts';
import type { Clock } from '../base/clock.ts';
import { corrupt, VarveError } from '../base/errors.ts';
import { Mutex } from '../base/sync.ts';
import {
  type Catalog,
  catalogFileBytesMax,
  decodeCatalogFile,
  encodeCatalogFile,
  type NumberedFile,
} from '../format/catalog.ts';
import { filePath, superName } from '../format/file-names.ts';
import { newerFormat, roCompatFeatures, unknownFlags } from '../format/format-ladder.ts';
import type { SuperSlot } from '../format/superblock.ts';
import { hasErrno, readWhole } from '../fs/dirs.ts';
import type { FsFile, FsPort } from '../fs/port.ts';
import { removeFiles, unlinkableFiles } from './catalog-cleanup.ts';
import { createStore, type StoreIdentity } from './catalog-create.ts';
import { type LoadedCatalogs, loadCatalogs, type NamedCatalog } from './catalog-load.ts';
import { atGeneration, slotsOf, writeSlot } from './super-file.ts';

/** What an install changes; numbers and generations are the store's. */
export type NextCatalog = Omit<Catalog, 'no' | 'generation' | 'previousCatalogNo' | 'nextFileNo'>;

export interface OpenForWrite {
  /** Highest writer epoch known from elsewhere (log files, LOCK); the new one is above it. */
  readonly writerEpochFloor: number;
  readonly clock: Clock;
  /** `random(n)` gives n random bytes. */
  readonly random: (n: number) => Uint8Array;
}

export interface Installed {
  readonly catalog: Catalog;
  /** Files nothing needs any more: give them to `cleanUp`, at once or later. */
  readonly unlinkable: NumberedFile[];
}

/** Files already there under the next number are stepped over, this many at most. */
const numberRetriesMax = 64;

export class CatalogStore {
  readonly #fs: FsPort;
  readonly #super: FsFile;
  readonly #options: OpenForWrite;
  readonly #turns = new Mutex();
  #slot: SuperSlot;
  #current: NamedCatalog;
  #previous: NamedCatalog | undefined;
  #nextFileNo: FileNo;
  #failure: unknown;

  private constructor(
    fs: FsPort,
    file: FsFile,
    options: OpenForWrite,
    loaded: LoadedCatalogs,
    slot: SuperSlot,
  ) {
    this.#fs = fs;
    this.#super = file;
    this.#options = options;
    this.#slot = slot;
    this.#current = loaded.current;
    this.#previous = loaded.previous;
    const { catalogNo, previousCatalogNo } = slot;
    this.#nextFileNo = Math.max(loaded.catalog.nextFileNo, catalogNo + 1, previousCatalogNo + 1);
  }

  /** Makes an empty store: see createStore. */
  static create(fs: FsPort, identity: StoreIdentity, random: (n: number) => Uint8Array): Promise<void> {
    return createStore(fs, identity, random);
  }

  /** Finds the set of live files, read-only: see loadCatalogs. */
  static load(fs: FsPort): Promise<LoadedCatalogs> {
    return loadCatalogs(fs);
  }

  /**
   * Takes the store for writing; the caller holds the writer lock. Syncs SUPER (a killed writer's slot may be
   * in the page cache only), then writes the next slot: the same catalogs, writer epoch + 1, not clean.
   * VARVE_CONFLICT when SUPER changed since `loaded` was read, VARVE_FORMAT_VERSION when the store may only
   * be read.
   */
  static async openForWrite(
    fs: FsPort,
    loaded: LoadedCatalogs,
    options: OpenForWrite,
  ): Promise<CatalogStore> {
    if (unknownFlags(loaded.slot.roCompatFlags, roCompatFeatures) !== 0)
      throw newerFormat('an unknown feature allows reading only', { file: superName });
    const file = await fs.open(superName, 'rw');
    try {
      await file.sync();
      const newest = (await slotsOf(file)).slots[0];
      if (newest?.generation !== loaded.slot.generation)
        throw new VarveError('VARVE_CONFLICT', 'another writer changed the store while it was being opened');
      const slot = {
        ...atGeneration(pairOf(loaded), loaded.slot.generation + 1),
        writerEpoch: Math.max(loaded.writerEpoch, options.writerEpochFloor) + 1,
        cleanShutdown: false,
        writtenMs: options.clock.now(),
      };
      await writeSlot(file, slot);
      return new CatalogStore(fs, file, options, loaded, slot);
    } catch (error) {
      await file.close();
      throw error;
    }
  }

  /** The last slot written. */
  get slot(): SuperSlot {
    return this.#slot;
  }

  get writerEpoch(): number {
    return this.#slot.writerEpoch;
  }

  /** The last catalog installed. Not to be changed by the caller. */
  get catalog(): Catalog {
    return this.#current.catalog;
  }

  /** The one before it, when it is whole. */
  get previous(): Catalog | undefined {
    return this.#previous?.catalog;
  }

  /** The number the next file gets. */
  get nextFileNo(): FileNo {
    return this.#nextFileNo;
  }

  /** Takes the next file number: used by one file of any kind, never again. */
  takeFileNo(): FileNo {
    const no = this.#nextFileNo;
    this.#nextFileNo++;
    return no;
  }

  /** Numbers below `floor` are in use: found in directories or in the log. */
  raiseFileNo(floor: FileNo): void {
    this.#nextFileNo = Math.max(this.#nextFileNo, floor);
  }

  /**
   * Makes `next` the set of live files. Durable when it resolves; until then the set before it holds. Every
   * file it names must be on disk, name included. Calls are served one after another. After a failed write
   * or sync this and every later call rejects (the later ones with VARVE_POISONED).
   */
  install(next: NextCatalog): Promise<Installed> {
    return this.#turn(async () => {
      const generation = this.#slot.generation + 1;
      const installed = await this.#writeCatalog(next, generation);
      const { catalog, checksum } = installed;
      const slot: SuperSlot = {
        ...atGeneration(this.#slot, generation),
        catalogNo: catalog.no,
        catalogChecksum: checksum,
        previousCatalogNo: this.#current.catalog.no,
        previousCatalogChecksum: this.#current.checksum,
        checkpointSeq: catalog.checkpointSeq,
        walFirstNo: catalog.walFirstNo,
        timelineId: catalog.timelineId,
        cleanShutdown: false,
        writtenMs: this.#options.clock.now(),
      };
      // Looked up before the commit point, so that nothing can fail after it.
      const unlinkable = await unlinkableFiles(this.#fs, catalog, this.#current.catalog);
      await writeSlot(this.#super, slot);
      this.#slot = slot;
      this.#previous = this.#current;
      this.#current = installed;
      return { catalog, unlinkable };
    });
  }

  /**
   * Unlinks what an install gave as unlinkable, ignoring absent files, and removes directories that became
   * empty. Failures go to `onFailure`; nothing is thrown for them. Each file is unlinked by `around`.
   */
  cleanUp(
    files: readonly NumberedFile[],
    onFailure: (error: unknown, path: string) => void,
    around?: (unlink: () => Promise<void>) => Promise<void>,
  ): Promise<void> {
    return removeFiles(this.#fs, files, this.#nextFileNo, onFailure, around);
  }

  /** Notes a clean close in a slot that names the same catalogs. Durable when it resolves. */
  markClean(): Promise<void> {
    return this.#turn(async () => {
      const slot = {
        ...atGeneration(this.#slot, this.#slot.generation + 1),
        cleanShutdown: true,
        writtenMs: this.#options.clock.now(),
      };
      await writeSlot(this.#super, slot);
      this.#slot = slot;
    });
  }

  /** Closes SUPER after the calls under way; writes nothing. */
  close(): Promise<void> {
    return this.#turns.run(() => this.#super.close());
  }

  #turn<T>(step: () => Promise<T>): Promise<T> {
    return this.#turns.run(async () => {
      if (this.#failure !== undefined)
        throw new VarveError('VARVE_POISONED', 'an earlier write of the catalog failed', {
          cause: this.#failure,
        });
      try {
        return await step();
      } catch (error) {
        this.#failure = error;
        throw error;
      }
    });
  }

  /** Catalog file, synced, read back in both bodies, its name synced. */
  async #writeCatalog(next: NextCatalog, generation: number): Promise<NamedCatalog> {
    const { dbUuid } = this.#slot;
    const { no, file } = await this.#createCatalogFile();
    const catalog: Catalog = {
      ...next,
      no,
      generation,
      previousCatalogNo: this.#current.catalog.no,
      nextFileNo: this.#nextFileNo,
    };
    let checksum: bigint;
    try {
      const { bytes, bodyChecksum } = encodeCatalogFile(catalog, { dbUuid, salt: this.#options.random(12) });
      checksum = bodyChecksum;
      await file.write(bytes, 0);
      await file.sync();
      const readBack = await readWhole(this.#fs, file.path, catalogFileBytesMax);
      const decoded = decodeCatalogFile(readBack, { no, dbUuid }, file.path);
      if (decoded.damage !== undefined) throw decoded.damage;
      if (!equalBytes(readBack, bytes)) throw corrupt('catalog reads back differently', { file: file.path });
    } finally {
      await file.close();
    }
    await this.#fs.syncDir('cat');
    return { catalog, checksum };
  }

  async #createCatalogFile(): Promise<{ no: FileNo; file: FsFile }> {
    for (let i = 0; ; i++) {
      const no = this.takeFileNo();
      try {
        return { no, file: await this.#fs.open(filePath('cat', no), 'create') };
      } catch (error) {
        if (!hasErrno(error, 'EEXIST') || i === numberRetriesMax) throw error;
      }
    }
  }
}

/**
 * The catalogs the slot of an open names: those of the newest slot, unless neither of them is the one that
 * was loaded; then the older slots that name it would be overwritten one by one.
 */
function pairOf({ slot, current, previous }: LoadedCatalogs): SuperSlot {
  if ([slot.catalogNo, slot.previousCatalogNo].includes(current.catalog.no)) return slot;
  return {
    ...slot,
    catalogNo: current.catalog.no,
    catalogChecksum: current.checksum,
    previousCatalogNo: previous?.catalog.no ?? 0,
    previousCatalogChecksum: previous?.checksum ?? 0n,
  };
}
