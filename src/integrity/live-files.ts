/**
 * The files of a store as its catalogs name them, opened apart from any engine. All tables of one catalog are
 * of one moment. A writer beside may install another catalog at any time: `isOutdated` tells.
 */
import type { FileNo } from '../base/brands.ts';
import { BlockCache } from '../cache/block-cache.ts';
import { isSuperseded, type LoadedCatalogs, loadCatalogsBeside } from '../catalog/catalog-load.ts';
import type { CatalogTable } from '../format/catalog.ts';
import type { FsPort } from '../fs/port.ts';
import { SegmentSet } from '../segment/segment-set.ts';
import { Forest } from '../tree/forest.ts';
import { dataEndOf, type NamedSegment } from './check-segment.ts';
import { isGone } from './findings.ts';
import { type VerifyCursor, type VerifyLevel, type VerifyPhase, verifyPhases } from './verify-cursor.ts';

/** A step of a check: one file, or what is checked at once. */
export interface Unit {
  readonly phase: VerifyPhase;
  readonly no: FileNo;
  readonly bytes: number;
  /** A file that never changes again. */
  readonly isFinal: boolean;
}

export class LiveFiles {
  readonly loaded: LoadedCatalogs;
  readonly #fs: FsPort;
  #forest: Forest | undefined;

  constructor(fs: FsPort, loaded: LoadedCatalogs) {
    this.#fs = fs;
    this.loaded = loaded;
  }

  /** Errors as loadCatalogs. */
  static async read(fs: FsPort): Promise<LiveFiles> {
    return new LiveFiles(fs, await loadCatalogsBeside(fs));
  }

  /** What is still to be checked of the catalog at hand, in order. */
  left(at: VerifyCursor, level: VerifyLevel): Unit[] {
    const units: Unit[] = [{ phase: 'roots', no: 0, bytes: 0, isFinal: false }];
    const byNo = (a: Unit, b: Unit): number => a.no - b.no;
    units.push(
      ...this.tables()
        .map(({ no, size }): Unit => ({ phase: 'tables', no, bytes: size, isFinal: true }))
        .sort(byNo),
    );
    if (level !== 'index') {
      // What counts say changes with every commit: that they were checked is worth knowing all the same.
      units.push({ phase: 'counts', no: 0, bytes: 0, isFinal: true });
      units.push(
        ...this.segments()
          .map((segment) => unitOf(segment))
          .sort(byNo),
      );
    }
    const order = verifyPhases;
    const from = order.indexOf(at.phase);
    return units.filter(
      ({ phase, no }) => order.indexOf(phase) > from || (phase === at.phase && no >= at.no),
    );
  }

  /** Tables of the catalog, and those that only the one before it needs. */
  tables(): CatalogTable[] {
    const { catalog, previous } = this.loaded;
    const own = new Set(catalog.tables.map(({ no }) => no));
    return [...catalog.tables, ...(previous?.catalog.tables.filter(({ no }) => !own.has(no)) ?? [])];
  }

  segments(): NamedSegment[] {
    const { catalog, previous } = this.loaded;
    const own = new Set([...catalog.sealed, ...catalog.unsealed].map(({ no }) => no));
    const before = previous === undefined ? [] : [...previous.catalog.sealed, ...previous.catalog.unsealed];
    return [...catalog.sealed, ...catalog.unsealed, ...before.filter(({ no }) => !own.has(no))];
  }

  /**
   * The tables of the catalog, opened by this check; undefined when one of `needed` trees has a damaged one.
   */
  async wholeForest(needed: readonly number[]): Promise<Forest | undefined> {
    const forest = await this.openForest();
    const tables = [...forest.keys.tables, ...forest.chunks.tables];
    const isWhole = this.loaded.catalog.tables
      .filter(({ tree }) => needed.includes(tree))
      .every(({ no }) => tables.some((table) => table.no === no));
    return isWhole ? forest : undefined;
  }

  /** The tables of the catalog that can be opened; this object's to close. */
  async openForest(): Promise<Forest> {
    if (this.#forest === undefined) {
      const { catalog, slot } = this.loaded;
      const opened = await Forest.open(this.#fs, catalog.tables, {
        dbUuid: slot.dbUuid,
        cache: new BlockCache(0),
        memtableBytes: 1,
      });
      const gone = opened.damage.find(isGone);
      if (gone !== undefined && (await this.isOutdated())) {
        await opened.forest.close();
        throw gone;
      }
      this.#forest = opened.forest;
    }
    return this.#forest;
  }

  /** Segments by their numbers, for reading frames; close it. */
  openSegments(numbers: ReadonlySet<FileNo>): SegmentSet {
    const { catalog, slot } = this.loaded;
    const segments = new SegmentSet(this.#fs, {
      dbUuid: slot.dbUuid,
      handlesMax: 16,
      // Headers and trailers are looked at when the segment itself is checked.
      onDamage: () => undefined,
    });
    for (const no of numbers)
      segments.add(
        no,
        catalog.sealed.find((sealed) => sealed.no === no),
      );
    return segments;
  }

  /** A writer has installed something since the catalog was read. */
  async isOutdated(): Promise<boolean> {
    return await isSuperseded(this.#fs, this.loaded.slot);
  }

  async close(): Promise<void> {
    const forest = this.#forest;
    this.#forest = undefined;
    await forest?.close();
  }
}

function unitOf(segment: NamedSegment): Unit {
  return { phase: 'segments', no: segment.no, bytes: dataEndOf(segment), isFinal: 'frames' in segment };
}
