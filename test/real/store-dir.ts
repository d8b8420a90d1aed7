/**
 * Opens stores in real directories, with segments and memory small enough that short runs meet every path.
 */

import { directBlock } from '../../src/base/aligned-bytes.ts';
import type { Engine } from '../../src/engine/engine.ts';
import { openEngine } from '../../src/engine/open-node.ts';
import { openWithEnv } from '../../src/engine/opening/open.ts';
import type { EngineOptions } from '../../src/engine/options.ts';
import { type FlockProvider, loadFlock } from '../../src/fs/flock.ts';
import { openNodeFileSystem } from '../../src/fs/node-file-system.ts';
import { systemClock } from '../../src/fs/system-clock.ts';
import { nodeLock } from '../../src/fs/writer-lock.ts';
import { setSha256 } from '../../src/kernels/hash/sha256.ts';
import { nodeSha256 } from '../../src/kernels/hash/sha256-node.ts';
import { DirectBuffers } from '../../src/segment/write-buffer.ts';

/** How a store is opened by parent and children alike. */
export interface DirShape {
  readonly durability: 'full' | 'os' | { groupMs: number };
  readonly segmentBytes: number;
  /** Takes flock beside the portable guard. */
  readonly flock: boolean;
  /**
   * Opens as a program does, by `openEngine`: then with segments of the usual size, and flock where it is.
   */
  readonly asPrograms?: boolean;
  /** Values of more than a few KB are written in whole blocks past the system's cache, however small. */
  readonly direct?: boolean;
}

/** What memory in blocks comes in. */
const directBufferBytes = 64 * 1024;

export const usualShape: DirShape = { durability: 'full', segmentBytes: 256 * 1024, flock: true };

let flock: FlockProvider | undefined | 'unknown' = 'unknown';

async function flockProvider(): Promise<FlockProvider | undefined> {
  if (flock === 'unknown') {
    const loaded = await loadFlock();
    flock = 'unavailable' in loaded ? undefined : loaded;
  }
  return flock;
}

export async function openDir(dir: string, shape: DirShape, more: EngineOptions = {}): Promise<Engine> {
  const options: EngineOptions = {
    durability: shape.durability,
    chunking: { algorithm: 'fastcdc', min: 512, avg: 2048, max: 8192 },
    inlineMax: 512,
    memory: { memtableBytes: 128 * 1024, blockCacheBytes: 2 ** 20, trailerCacheBytes: 2 ** 18 },
    ...more,
  };
  setSha256(nodeSha256);
  if (shape.asPrograms === true) return await openEngine(dir, options);
  const { segmentBytes, direct } = shape;
  const fs = await openNodeFileSystem(dir, {
    ...(more.readOnly === true ? { readOnly: true } : { create: true }),
    ...(direct === true ? { directBytesMin: directBlock } : {}),
  });
  const provider = shape.flock ? await flockProvider() : undefined;
  const lock = nodeLock({
    dir: fs.root,
    clock: systemClock,
    ...(provider === undefined ? {} : { flock: provider }),
  });
  const random = (n: number): Uint8Array => crypto.getRandomValues(new Uint8Array(n));
  const bulk = { fromBytes: 2 * directBlock, buffers: new DirectBuffers(directBufferBytes) };
  const bounds = { segmentBytes, ...(direct === true ? { bulk } : {}) };
  return await openWithEnv({ fs, lock, clock: systemClock, random }, options, bounds);
}
