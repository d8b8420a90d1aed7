/** What the tests of cleaning share: stores whose parts are at hand, and garbage. */
import type { PutGuard } from '../../src/chunk/put-guard.ts';
import type { Engine } from '../../src/engine/engine.ts';
import type { OpenBounds } from '../../src/engine/open-bounds.ts';
import { openWithEnv } from '../../src/engine/opening/open.ts';
import type { EngineOptions } from '../../src/engine/options.ts';
import type { Store } from '../../src/engine/store.ts';
import type { MemoryFileSystem } from '../../src/fs/memory-file-system.ts';
import { envOf } from '../crash/machine.ts';
import { bytesOf, smallOptions } from './engine-kit.ts';

export interface Opened {
  readonly engine: Engine;
  readonly store: Store;
}

export interface CleanerShape {
  readonly segmentBytes?: number;
  readonly guard?: PutGuard;
  readonly bounds?: OpenBounds;
  readonly options?: EngineOptions;
  /** Of its random bytes; another one for each open when not given. */
  readonly seed?: number;
}

let opened = 0;

/** Opens a store; nothing is cleaned in the background. */
export async function openParts(disk: MemoryFileSystem, shape: CleanerShape = {}): Promise<Opened> {
  const { segmentBytes = 16 * 1024, guard, bounds, options, seed = ++opened } = shape;
  const parts: Store[] = [];
  const engine = await openWithEnv(
    envOf(disk, seed),
    { ...smallOptions, cleaning: { enabled: false }, changesRetention: { bytes: 0 }, ...options },
    {
      segmentBytes,
      ...(guard === undefined ? {} : { guard }),
      ...bounds,
      onOpen: (store) => parts.push(store),
    },
  );
  const [store] = parts;
  return { engine, store: store! };
}

/** Streams that break off: what they have stored is garbage. */
export async function abandon(engine: Engine, from: number, count: number, length = 15_000): Promise<void> {
  for (let i = from; i < from + count; i++) {
    async function* failing(): AsyncGenerator<Uint8Array> {
      yield bytesOf(100_000 + i, length);
      throw new Error('source');
    }
    await engine.put('bad', failing()).catch(() => undefined);
  }
}
