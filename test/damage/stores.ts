/**
 * The stores that are damaged: three shapes of small ones, each with everything a judge must know of it. They
 * are made by the engine on a disk in memory, from a seed.
 */
import { encodeUtf8 } from '../../src/base/bytes.ts';
import { Prng } from '../../src/base/prng.ts';
import type { Engine } from '../../src/engine/engine.ts';
import type { EngineOptions } from '../../src/engine/options.ts';
import { reserveName } from '../../src/format/file-names.ts';
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

/** Files whose bytes mean something: the reserve of a larger store is never read. */
export const filesOf = (disk: MemoryFileSystem): string[] =>
  disk.files().filter((file) => file !== reserveName);

/** A store to be damaged, closed or killed, and never written again itself. */
export interface BuiltStore {
  readonly name: string;
  readonly shape: StoreShape;
  /** Options it is opened with beyond those of its shape. */
  readonly more: EngineOptions;
  readonly disk: MemoryFileSystem;
  /** The same store in the life before the last one, for files that are rolled back. */
  readonly older: MemoryFileSystem;
  /** A copy of the store whose last life went otherwise: the same names and numbers, other bytes. */
  readonly forked: MemoryFileSystem;
  readonly keys: readonly KnownKey[];
}

const common = { durability: 'full', algorithm: 'sieve', segmentBytes: 16 * 1024 } as const;
const shapes: Readonly<Record<ShapeName, StoreShape>> = {
  inline: { ...common, inlineMax: 1024 },
  chunked: { ...common, inlineMax: 40 },
  // Segments small enough that some are sealed in the last life, between its two catalogs.
  killed: { ...common, inlineMax: 200, segmentBytes: 8 * 1024 },
};

/**
 * Values of the killed store below 2 KiB are one chunk each, so a fork of it has segments of the same size.
 */
const moreOf: Readonly<Record<ShapeName, EngineOptions>> = {
  inline: {},
  chunked: {},
  killed: { chunking: { algorithm: common.algorithm, min: 2048, avg: 4096, max: 8192 } },
};

/** Writes to a store and remembers what was acknowledged. */
class Author {
  readonly disk: MemoryFileSystem;
  readonly keys = new Map<string, KnownKey>();
  /** Decides keys and lengths. */
  prng: Prng;
  /** What values are made of. */
  content: Prng;
  readonly #shape: StoreShape;
  engine!: Engine;
  readonly #more: EngineOptions;
  #opens = 0;

  constructor(shape: StoreShape, seed: number, more: EngineOptions = {}, disk = new MemoryFileSystem()) {
    this.disk = disk;
    this.#shape = shape;
    this.#more = more;
    this.prng = new Prng(seed);
    this.content = this.prng;
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
    forked: disk,
    keys: Array.from(author.keys.values()),
  };
}

/** One life of a store: it is opened before, and closed after all but the last, which `isKilled` decides. */
type Life = (author: Author, scale: number, life: number) => Promise<void>;

interface Story {
  readonly lives: number;
  readonly isKilled: boolean;
  readonly live: Life;
}

/** `scale` multiplies the data: 1 makes a store of about 64 KiB. */
export async function buildStore(name: ShapeName, seed: number, scale = 1): Promise<BuiltStore> {
  const shape = shapes[name];
  const { lives, isKilled, live } = stories[name];
  const more = moreOf[name];
  const author = new Author(shape, seed, more);
  const older: MemoryFileSystem[] = [];
  for (let life = 0; life < lives - 1; life++) {
    author.prng = author.content = new Prng(seed * lives + life);
    await author.open();
    await live(author, scale, life);
    older.push(author.disk.fork());
    await author.engine.close();
  }
  const other = new Author(shape, seed + 2 ** 20, more, author.disk.fork());
  for (const one of [author, other]) {
    one.prng = new Prng(seed * lives + lives - 1);
    one.content = new Prng(one === author ? seed : seed + 2 ** 20);
    await one.open();
    await live(one, scale, lives - 1);
    if (!isKilled) await one.engine.close();
  }
  return {
    name,
    shape,
    more,
    disk: author.disk.crash('all'),
    older: older.at(-1)!.crash('all'),
    forked: other.disk.crash('all'),
    keys: Array.from(author.keys.values()),
  };
}

const stories: Readonly<Record<ShapeName, Story>> = {
  inline: { lives: 4, isKilled: false, live: liveInline },
  chunked: { lives: 2, isKilled: false, live: liveChunked },
  killed: { lives: 2, isKilled: true, live: liveKilled },
};

/** Small values in the key tree; several tables, overwritten and removed keys, two spaces. */
async function liveInline(author: Author, scale: number, round: number): Promise<void> {
  const { prng, content } = author;
  for (let i = 0; i < 28 * scale; i++) {
    const key = `key/${String((i * 7 + round * 5) % (60 * scale)).padStart(4, '0')}`;
    const space = i % 6 === 5 ? 'other' : '';
    if (round > 0 && i % 8 === 3) await author.remove(space, key);
    else await author.put(space, key, content.bytes(prng.pick([0, 30, 120, 800, 1020])));
  }
}

/** Chunk lists and trees that share chunks, in two spaces; sealed segments. */
async function liveChunked(author: Author, scale: number, round: number): Promise<void> {
  const { prng, content } = author;
  const big = new Prng(17).bytes(9000);
  for (let i = 0; i < 6 * scale; i++) {
    const space = i % 3 === 2 ? 'copies' : '';
    const value = i % 4 === 0 ? edited(author, big) : content.bytes(100 + prng.below(1600));
    await author.put(space, `value/${(i + round * 4) % (9 * scale)}`, value);
  }
  await author.remove('', `value/${round}`);
  await author.put('copies', `whole/${round}`, big);
}

/** Closed once, then opened, written to, checkpointed, written to again and killed. */
async function liveKilled(author: Author, scale: number, life: number): Promise<void> {
  const { prng, content } = author;
  if (life === 0) {
    for (let i = 0; i < 5 * scale; i++) await author.put('', `old/${i}`, content.bytes(150 + (i % 8) * 150));
    return;
  }
  for (let i = 0; i < 10 * scale; i++) await author.put('', `mid/${i}`, content.bytes(700 + prng.below(900)));
  await author.remove('', 'old/1');
  await author.engine.flush();
  const shared = content.bytes(5000);
  for (let i = 0; i < 22 * scale; i++) {
    const length = i % 8 === 3 ? 900 : 40 + prng.below(150);
    await author.put(i % 9 === 4 ? 'new space' : '', `new/${i}`, i === 2 ? shared : content.bytes(length));
    if (i % 7 === 5) await author.remove('', `new/${i - 1}`);
  }
  await author.remove('', 'mid/1');
  await author.put('', 'old/2', encodeUtf8('written again'));
  await author.put('', 'new/again', shared);
}

function edited({ prng, content }: Author, bytes: Uint8Array): Uint8Array {
  const out = bytes.slice();
  out.set(content.bytes(16), prng.below(out.length - 16));
  return out;
}
