/** Fills a store until the disk is full, and gets out of it with the reserve. */
import { isVarveError } from '../../src/base/errors.ts';
import { Prng } from '../../src/base/prng.ts';
import type { Engine } from '../../src/engine/engine.ts';
import { reserveName } from '../../src/format/file-names.ts';
import { MemoryFileSystem } from '../../src/fs/memory-file-system.ts';
import { auditDisk, strayFiles } from '../crash/audit.ts';
import { openParts } from '../engine/cleaner-kit.ts';

const segmentBytes = 256 * 1024;
const putsMax = 5000;

export interface Escape {
  readonly seed: number;
  /** Of the disk, bytes; enough for a store that has a reserve. */
  readonly capacity: number;
  /** Others take what is left of the disk before the store is opened again. */
  readonly taken: boolean;
}

/**
 * 'with the reserve', 'without it', 'no room at all'. Throws when something acknowledged is lost, or there is
 * no way out.
 */
export async function escapeWithReserve({ seed, capacity, taken }: Escape): Promise<string> {
  const prng = new Prng(seed);
  const disk = new MemoryFileSystem({ capacity });
  const kept = new Map<string, Uint8Array>();
  const open = async (readOnly = false): Promise<Engine> =>
    (await openParts(disk, { segmentBytes, options: { readOnly, createIfMissing: !readOnly } })).engine;
  const engine = await open();
  let isFull = false;
  for (let i = 0; i < putsMax && !isFull; i++) {
    const key = `k${i}`;
    const value = prng.bytes(5000 + prng.below(60_000));
    try {
      await engine.put(key, value);
      kept.set(key, value);
      if (i % 40 === 39) await engine.flush();
      if (i % 60 === 59) await engine.compact();
      if (prng.chance(0.05)) {
        const old = prng.pick(Array.from(kept.keys()));
        await engine.delete(old);
        kept.delete(old);
      }
    } catch (error) {
      refuseOther(error);
      isFull = true;
    }
  }
  if (!isFull) throw new Error('the disk was never full');
  await hasAll(engine, kept, 'while full');
  await engine.close().catch(refuseOther);
  if (taken) disk.capacity = capacity - (await disk.free())!;
  const hadReserve = (await disk.stat(reserveName)) !== null;
  const reader = await open(true);
  await hasAll(reader, kept, 'read only');
  await reader.close();
  const again = await openOr(open, !hadReserve && taken);
  if (again === undefined) return 'no room at all';
  await hasAll(again, kept, 'opened while full');
  try {
    await emptied(again, kept, prng);
  } catch (error) {
    // Only the reserve promises a way out; without it nothing is lost, and room helps.
    if (hadReserve) throw error;
    refuseOther(error);
    await again.close().catch(refuseOther);
    disk.capacity = Number.POSITIVE_INFINITY;
    const later = await open();
    await hasAll(later, kept, 'with room again');
    await later.close();
    return 'no room at all';
  }
  await again.close();
  const problems = [...(await auditDisk(disk)).problems, ...(await strayFiles(disk))];
  if (problems.length > 0) throw new Error(problems.join('; '));
  return hadReserve ? 'with the reserve' : 'without it';
}

/** Deletes a random half, compacts, and puts again. */
async function emptied(engine: Engine, kept: Map<string, Uint8Array>, prng: Prng): Promise<void> {
  for (const key of Array.from(kept.keys())) {
    if (prng.chance(0.5)) continue;
    // Whether a delete that fails has happened is not known.
    kept.delete(key);
    await engine.delete(key);
  }
  const { reclaimedBytes } = await engine.compact();
  if (reclaimedBytes <= 0) throw new Error('a compaction freed nothing');
  await hasAll(engine, kept, 'compacted');
  await engine.put('new', prng.bytes(50_000));
  await engine.delete('new');
}

/** Undefined when there is no room to open it, where that may be. */
async function openOr(open: () => Promise<Engine>, mayFail: boolean): Promise<Engine | undefined> {
  try {
    return await open();
  } catch (error) {
    if (!mayFail) throw error;
    refuseOther(error);
    return undefined;
  }
}

function refuseOther(error: unknown): void {
  const cause = isVarveError(error, 'VARVE_POISONED') ? error.cause : error;
  if (!isVarveError(cause, 'VARVE_NO_SPACE')) throw error;
}

async function hasAll(engine: Engine, kept: ReadonlyMap<string, Uint8Array>, when: string): Promise<void> {
  for (const [key, value] of kept) {
    const found = await engine.get(key);
    if (found === undefined || Buffer.compare(found, value) !== 0) throw new Error(`${when}: ${key} differs`);
  }
}
