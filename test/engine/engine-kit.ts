/** What the engine's tests share: stores on a disk in memory, values, ways to read everything back. */
import { onTestFinished } from 'vitest';
import type { Clock } from '../../src/base/clock.ts';
import { isVarveError, type VarveError, type VarveErrorCode } from '../../src/base/errors.ts';
import { Prng } from '../../src/base/prng.ts';
import type { Engine } from '../../src/engine/engine.ts';
import { openWithEnv } from '../../src/engine/opening/open.ts';
import type { EngineOptions } from '../../src/engine/options.ts';
import type { ScanOptions } from '../../src/engine/types.ts';
import { MemoryFileSystem } from '../../src/fs/memory-file-system.ts';
import { memoryLock } from '../../src/fs/memory-lock.ts';

export const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

/** A clock that only `advance` and its own sleeps move. */
export class TestClock implements Clock {
  ms = 1_700_000_000_000;
  /** Calls that keep the process alive. */
  awaiting = 0;
  readonly #sleepers: { at: number; wake: () => void }[] = [];

  now(): number {
    return this.ms;
  }

  monotonic(): number {
    return this.ms;
  }

  sleep(ms: number): Promise<void> {
    return new Promise((wake) => this.#sleepers.push({ at: this.ms + ms, wake }));
  }

  keepAlive(): () => void {
    this.awaiting++;
    return () => {
      this.awaiting--;
    };
  }

  turn(): Promise<void> {
    return turn();
  }

  /** Timers waiting. */
  get sleeping(): number {
    return this.#sleepers.length;
  }

  /** Moves the time and runs what was due. */
  async advance(ms: number): Promise<void> {
    this.ms += ms;
    const due = this.#sleepers.filter(({ at }) => at <= this.ms);
    for (const sleeper of due) {
      this.#sleepers.splice(this.#sleepers.indexOf(sleeper), 1);
      sleeper.wake();
    }
    for (let i = 0; i < 10; i++) await turn();
  }
}

/** Time that only rests move, and whoever sets it; `onSleep` is what others do meanwhile. */
export interface RestedTime {
  ms: number;
  slept: number;
  onSleep: () => void;
}

/** A clock for work that rests on one thread with its test: a sleep is over at once, and noted in `world`. */
export function restingClock(world: RestedTime): Clock {
  return {
    now: () => world.ms,
    monotonic: () => world.ms,
    turn: async () => undefined,
    keepAlive: () => () => undefined,
    sleep: async (ms) => {
      world.ms += ms;
      world.slept += ms;
      world.onSleep();
    },
  };
}

/** Small chunks, so that small values have every form. */
export const smallChunks = { algorithm: 'fastcdc', min: 64, avg: 1024, max: 2048 } as const;

export const smallOptions: EngineOptions = {
  chunking: smallChunks,
  inlineMax: 40,
  memory: {
    memtableBytes: 64 * 1024,
    blockCacheBytes: 256 * 1024,
    trailerCacheBytes: 64 * 1024,
    // Forgotten with every change of the tables, which takes as long as it is large.
    foundRowBytes: 8 * 1024,
  },
};

let opened = 0;

/** Opens a store on `disk`; sizes apply at creation only. */
export function openOn(
  disk: MemoryFileSystem,
  options: EngineOptions = {},
  segmentBytes = 16 * 1024,
  clock: Clock = new TestClock(),
): Promise<Engine> {
  const prng = new Prng(++opened);
  const env = { fs: disk, lock: memoryLock(disk, clock), clock, random: (n: number) => prng.bytes(n) };
  return openWithEnv(env, { ...smallOptions, ...options }, { segmentBytes });
}

/** A new store on a new disk, closed when the test ends. */
export async function newStore(
  options: EngineOptions = {},
  segmentBytes?: number,
): Promise<{ disk: MemoryFileSystem; engine: Engine; clock: TestClock }> {
  const disk = new MemoryFileSystem();
  const clock = new TestClock();
  const engine = await openOn(disk, options, segmentBytes, clock);
  onTestFinished(() => engine.close().catch(() => undefined));
  return { disk, engine, clock };
}

export function bytesOf(seed: number, length: number): Uint8Array {
  return new Prng(seed).bytes(length);
}

/** Equality of large arrays without vitest's slow deep comparison. */
export function same(a: Uint8Array | undefined, b: Uint8Array | undefined): boolean {
  if (a === undefined || b === undefined) return a === b;
  return Buffer.compare(a, b) === 0;
}

export function text(bytes: Uint8Array | undefined): string | undefined {
  return bytes === undefined ? undefined : new TextDecoder().decode(bytes);
}

/** The error a call ends with; fails when it ends well. */
export async function failure(call: Promise<unknown> | (() => unknown)): Promise<VarveError> {
  try {
    await (typeof call === 'function' ? call() : call);
  } catch (error) {
    if (!isVarveError(error)) throw error;
    return error;
  }
  throw new Error('expected a VarveError');
}

/** The code a call fails with. */
export async function codeOf(call: Promise<unknown> | (() => unknown)): Promise<VarveErrorCode> {
  return (await failure(call)).code;
}

export async function collect(stream: ReadableStream<Uint8Array>): Promise<Uint8Array> {
  const parts: Uint8Array[] = [];
  for await (const part of stream) parts.push(part);
  return Buffer.concat(parts);
}

/** Keys (and folded prefixes, marked) a scan yields. */
export async function keysOf(engine: Engine, options: ScanOptions = {}): Promise<string[]> {
  const keys: string[] = [];
  for await (const entry of engine.scan(options)) {
    keys.push(entry.key === undefined ? `${entry.prefix}*` : entry.key);
  }
  return keys;
}

/** A stream of `bytes` in pieces of at most `piece` bytes. */
export async function* inPieces(bytes: Uint8Array, piece: number): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < bytes.length; at += piece) yield bytes.slice(at, at + piece);
}

/** Everything of every space, as `space/key` -> hex of the value. */
export async function contents(engine: Engine): Promise<Map<string, string>> {
  const all = new Map<string, string>();
  for (const name of ['', ...engine.spaces.list()]) {
    const space = name === '' ? engine : engine.space(name);
    for await (const entry of space.scan()) {
      if (entry.key !== undefined) all.set(`${name}/${entry.key}`, Buffer.from(entry.value!).toString('hex'));
    }
  }
  return all;
}

/** Files of a directory of the store. */
export function filesIn(disk: MemoryFileSystem, dir: string): string[] {
  return disk.files().filter((file) => file.startsWith(`${dir}/`));
}

/** The disk as a killed process leaves it: everything written is there, nothing is closed. */
export function killed(disk: MemoryFileSystem): MemoryFileSystem {
  return disk.fork();
}
