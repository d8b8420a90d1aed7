import { Prng } from '../../src/base/prng.ts';
import type { StoreIdentity } from '../../src/catalog/catalog-create.ts';
import type { NextCatalog, OpenForWrite } from '../../src/catalog/catalog-store.ts';
import type { Catalog, CatalogTable } from '../../src/format/catalog.ts';

export const identity: StoreIdentity = {
  dbUuid: new Uint8Array(16).fill(9),
  timelineId: 1,
  chunkerAlgo: 1,
  chunkMin: 4096,
  chunkAvg: 16_384,
  chunkMax: 65_536,
  chunkerNormalPoint: 12_000,
  chunkerStrict: 77,
  chunkerLoose: 88,
  chunkerKeyCheck: 0x1234_5678_9abc_def0n,
  inlineMax: 1024,
  segTarget: 64 * 1024 * 1024,
  createdMs: 1_700_000_000_000,
};

export function randomOf(seed: number): (n: number) => Uint8Array {
  const prng = new Prng(seed);
  return (n) => prng.bytes(n);
}

export function openOptions(seed: number, writerEpochFloor = 0): OpenForWrite {
  const never = (): Promise<never> => Promise.reject(new Error('nothing waits here'));
  const keepAlive = (): never => {
    throw new Error('nothing waits here');
  };
  const clock = { now: () => 1_700_000_001_000, monotonic: () => 0, sleep: never, turn: never, keepAlive };
  return { writerEpochFloor, clock, random: randomOf(seed + 17) };
}

export function newTable(no: number): CatalogTable {
  const [minKey, maxKey] = [Uint8Array.of(1, no & 255), Uint8Array.of(2, no & 255, 3)];
  return {
    tree: 1,
    level: 0,
    no,
    size: 4096,
    entries: 5,
    minKey,
    maxKey,
    minSeq: 1,
    maxSeq: no,
    checksum: BigInt(no) << 40n,
  };
}

/** The same set of files once more. */
export function nextOf({ no, generation, previousCatalogNo, nextFileNo, ...rest }: Catalog): NextCatalog {
  return { ...rest, dropped: [] };
}
