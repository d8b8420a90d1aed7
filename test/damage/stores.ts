/**
 * The stores that are damaged: three shapes of small ones, each with everything a judge must know of it. They
 * are made by the engine on a disk in memory, from a seed.
 */
import { encodeUtf8 } from '../../src/base/bytes.ts';
import { Prng } from '../../src/base/prng.ts';
import type { Engine } from '../../src/engine/engine.ts';
import type { EngineOptions } from '../../src/engine/options.ts';
import { MemoryFileSystem } from '../../src/fs/memory-file-system.ts';
import { openOn, type StoreShape } from '../crash/machine.ts';

export const shapeNames = ['inline', 'chunked', 'killed'] as const;
export type ShapeName = (typeof shapeNames)[number];

/** One committed change of a key; `value` undefined is its removal. */
export interface Version {
  readonly seq: number;
  readonly value: Uint8Array | undefined;
}

/** A key that was ever written. */
export interface KnownKey {
  readonly space: string;
  readonly key: string;
  /** Oldest first; the last one is what a reader must see. */
  readonly versions: Version[];
}

/** A store to be damaged, closed or killed, and never written again itself. */
export interface BuiltStore {
  readonly name: string;
  readonly shape: StoreShape;
  /** Options it is opened with beyond those of its shape. */
  readonly more: EngineOptions;
  readonly disk: MemoryFileSystem;
  /** The same store at an earlier close, for files that are rolled back. */
  readonly older: MemoryFileSystem;
  readonly keys: readonly KnownKey[];
}

const common = { durability: 'full', algorithm: 'sieve', segmentBytes: 16 * 1024 } as const;
const shapes: Readonly<Record<ShapeName, StoreShape>> = {
  inline: { ...common, inlineMax: 1024 },
  chunked: { ...common, inlineMax: 40 },
  killed: { ...common, inlineMax: 200, segmentBytes: 64 * 1024 },
};

/** Writes to a store and remembers what was acknowledged. */
class Author {
  readonly disk = new MemoryFileSystem();
  readonly keys = new Map<string, KnownKey>();
  readonly prng: Prng;
  readonly #shape: StoreShape;
  engine!: Engine;
  readonly #more: EngineOptions;
  #opens = 0;

  constructor(shape: StoreShape, seed: number, more: EngineOptions = {}) {
    this.#shape = shape;
    this.#more = more;
    this.prng = new Prng(seed);
  }

  async open(): Promise<void> {
    this.engine = await openOn(this.disk, this.#shape, this.prng.u32() + this.#opens++, this.#more);
  }

  async put(space: string, key: string, value: Uint8Array): Promise<void> {
    const target = space === '' ? this.engine : this.engine.space(space);
    const tags = value.length % 5 === 0 ? ['tagged'] : [];
    const { seq } = await target.put(key, value, tags.length > 0 ? { tags } : {});
    this.#note(space, key, { seq, value });
  }

  async remove(space: string, key: string): Promise<void> {
    const target = space === '' ? this.engine : this.engine.space(space);
    if (await target.delete(key)) this.#note(space, key, { seq: this.engine.stats().seq, value: undefined });
  }

  #note(space: string, key: string, version: Version): void {
    const name = `${space}\n${key}`;
    const known = this.keys.get(name) ?? { space, key, versions: [] };
    known.versions.push(version);
    this.keys.set(name, known);
  }
}

/** One store of 64 MiB: large values, nearly no table, segments of 8 MiB. */
export async function buildLargeStore(seed: number): Promise<BuiltStore> {
  const shape: StoreShape = { ...common, inlineMax: 1024, segmentBytes: 8 * 2 ** 20 };
  const chunking = { algorithm: shape.algorithm, min: 4096, avg: 16 * 1024, max: 64 * 1024 };
  const author = new Author(shape, seed, { chunking });
  await author.open();
  for (let i = 0; i < 250; i++) await author.put('', `large/${i}`, author.prng.bytes(256 * 1024));
  await author.engine.close();
  const disk = author.disk.crash('all');
  return {
    name: 'large',
    shape,
    more: { chunking },
    disk,
    older: disk,
    keys: Array.from(author.keys.values()),
  };
}

/** `scale` multiplies the data: 1 makes a store of about 64 KiB. */
export async function buildStore(name: ShapeName, seed: number, scale = 1): Promise<BuiltStore> {
  const shape = shapes[name];
  const author = new Author(shape, seed);
  const write = { inline: writeInline, chunked: writeChunked, killed: writeKilled }[name];
  const older = await write(author, scale);
  const disk = author.disk.crash('all');
  return { name, shape, more: {}, disk, older, keys: Array.from(author.keys.values()) };
}

/** Small values in the key tree; several tables, overwritten and removed keys, two spaces. */
async function writeInline(author: Author, scale: number): Promise<MemoryFileSystem> {
  const { prng } = author;
  let older = author.disk;
  for (let round = 0; round < 4; round++) {
    await author.open();
    for (let i = 0; i < 24 * scale; i++) {
      const key = `key/${String((i * 7 + round * 5) % (60 * scale)).padStart(4, '0')}`;
      const space = i % 6 === 5 ? 'other' : '';
      if (round > 0 && i % 8 === 3) await author.remove(space, key);
      else await author.put(space, key, prng.bytes(prng.pick([0, 30, 120, 800, 1020])));
    }
    if (round === 2) older = author.disk.fork();
    await author.engine.close();
  }
  return older.crash('all');
}

/** Chunk lists and trees that share chunks, in two spaces; sealed segments. */
async function writeChunked(author: Author, scale: number): Promise<MemoryFileSystem> {
  const { prng } = author;
  let older = author.disk;
  const big = prng.bytes(14_000);
  for (let round = 0; round < 2; round++) {
    await author.open();
    for (let i = 0; i < 7 * scale; i++) {
      const space = i % 3 === 2 ? 'copies' : '';
      const value = i % 4 === 0 ? edited(prng, big) : prng.bytes(100 + prng.below(2000));
      await author.put(space, `value/${(i + round * 4) % (9 * scale)}`, value);
    }
    await author.remove('', `value/${round}`);
    await author.put('copies', `whole/${round}`, big);
    if (round === 0) older = author.disk.fork();
    await author.engine.close();
  }
  return older.crash('all');
}

/** Closed once, then opened, written to, checkpointed, written to again and killed. */
async function writeKilled(author: Author, scale: number): Promise<MemoryFileSystem> {
  const { prng } = author;
  await author.open();
  for (let i = 0; i < 6 * scale; i++) await author.put('', `old/${i}`, prng.bytes(150 + i * 200));
  await author.engine.close();
  const older = author.disk.crash('all');
  await author.open();
  for (let i = 0; i < 5 * scale; i++) await author.put('', `mid/${i}`, prng.bytes(100 + prng.below(1500)));
  await author.remove('', 'old/1');
  await author.engine.flush();
  const shared = prng.bytes(12_000);
  for (let i = 0; i < 6 * scale; i++) {
    const value = i === 2 ? shared : prng.bytes(i % 2 === 0 ? 60 : 1200);
    await author.put(i === 4 ? 'new space' : '', `new/${i}`, value);
  }
  await author.remove('', 'mid/1');
  await author.put('', 'old/2', encodeUtf8('written again'));
  await author.put('', 'new/again', shared);
  return older;
}

function edited(prng: Prng, bytes: Uint8Array): Uint8Array {
  const out = bytes.slice();
  out.set(prng.bytes(16), prng.below(out.length - 16));
  return out;
}
