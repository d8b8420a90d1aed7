/** The scan of the chunk tree that cleaning begins with, over made-up entries in table files. */
import { mkdirSync } from 'node:fs';
import { Prng } from '../../src/base/prng.ts';
import { BlockCache } from '../../src/cache/block-cache.ts';
import { measureLiveness } from '../../src/chunk/liveness.ts';
import { initChecksum } from '../../src/codec/checksum.ts';
import type { CatalogTable } from '../../src/format/catalog.ts';
import { ChunkColumns } from '../../src/format/chunk-table.ts';
import { fileDir } from '../../src/format/file-names.ts';
import { openNodeFileSystem } from '../../src/fs/node-file-system.ts';
import type { ChunkCursor } from '../../src/tree/chunk-cursor.ts';
import { writeChunkTable } from '../../src/tree/chunk-table-writer.ts';
import { END, OK, type Step } from '../../src/tree/cursor.ts';
import { Forest } from '../../src/tree/forest.ts';
import type { ScanFigure } from './figures.ts';

const dbUuid = new Uint8Array(16);
/** As many as a merged table has. */
const perTable = 500_000;
const segments = 16_000;

/** Entries with ascending random ids, from the `from`th part of the id space to the `to`th. */
class MadeUp implements ChunkCursor {
  readonly columns = new ChunkColumns();
  readonly idBytes: Uint8Array;
  readonly idAt = 0;
  readonly #view: DataView;
  readonly #prng: Prng;
  readonly #from: number;
  readonly #step: number;
  readonly #count: number;
  #made = 0;

  constructor(prng: Prng, count: number, from: number, to: number) {
    this.#prng = prng;
    this.#count = count;
    this.#from = from * 2 ** 48;
    this.#step = ((to - from) * 2 ** 48) / count;
    this.idBytes = prng.bytes(32);
    this.#view = new DataView(this.idBytes.buffer, this.idBytes.byteOffset);
    this.columns.storedLen = 16_384;
    this.columns.rawLen = 16_384;
    this.columns.flags = 1;
  }

  next(): Step {
    if (this.#made === this.#count) return END;
    const prng = this.#prng;
    // Within its step, so that ids ascend and no two gaps are alike.
    const head = Math.floor(this.#from + (this.#made++ + prng.u32() / 2 ** 32) * this.#step);
    this.#view.setUint32(0, Math.floor(head / 65_536));
    this.#view.setUint16(4, head % 65_536);
    for (let i = 8; i < 32; i += 4) this.#view.setUint32(i, prng.u32());
    this.columns.segment = 1 + prng.below(segments);
    this.columns.off8 = this.#made;
    this.columns.refs = prng.chance(0.6) ? 1 : 0;
    return OK;
  }

  async load(): Promise<void> {
    // Never misses.
  }
}

/** Scans `entries` entries that lie in so many runs of tables, all over the same ids. */
export async function scanOf(dir: string, entries: number, runs: number): Promise<ScanFigure> {
  await initChecksum();
  mkdirSync(dir);
  const disk = await openNodeFileSystem(dir);
  const prng = new Prng(1);
  const metas: CatalogTable[] = [];
  for (let run = 0; run < runs; run++) {
    const count = Math.floor(entries / runs);
    const tables = Math.max(1, Math.round(count / perTable));
    for (let i = 0; i < tables; i++) {
      const no = metas.length + 1;
      const own = Math.floor(count / tables);
      mkdirSync(`${dir}/${fileDir('tab', no)}`, { recursive: true });
      const cursor = new MadeUp(prng, own, i / tables, (i + 1) / tables);
      const input = { no, level: run + 1, dbUuid, salt: prng.bytes(12), minSeq: 1, maxSeq: 1 };
      metas.push(await writeChunkTable(disk, { ...input, entries: cursor, entriesMax: own }));
    }
  }
  const cache = new BlockCache(1024 * 1024);
  const { forest } = await Forest.open(disk, metas, { dbUuid, cache, memtableBytes: 1024 * 1024 });
  const pace = {
    monotonic: () => performance.now(),
    turn: () => new Promise<void>((resolve) => setImmediate(resolve)),
    cancelled: () => false,
  };
  // The first one reads the files into the memory of the system and compiles.
  let best: ScanFigure | undefined;
  for (let round = 0; round < 4; round++) {
    const began = performance.now();
    const cpu = process.cpuUsage();
    const { entries: seen } = await measureLiveness(forest.chunks, () => true, pace);
    const { user, system } = process.cpuUsage(cpu);
    const figure = {
      entries: seen,
      runs,
      seconds: (performance.now() - began) / 1000,
      cpuSeconds: (user + system) / 1e6,
    };
    if (best === undefined || figure.cpuSeconds < best.cpuSeconds) best = figure;
  }
  await forest.close();
  return best!;
}
