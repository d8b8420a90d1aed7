/**
 * Makes the stores that a test opens for ever: `node dist/bench/tools/make-format-fixture.js DIR`.
 *
 * DIR gets `closed/` (a store closed in order), `killed/` (one whose writer died in the middle of a commit)
 * and `expected.json` with what each holds. All of it follows from one seed. A directory that is there is
 * refused: a fixture is never made anew.
 */
import { createHash } from 'node:crypto';
import { mkdir, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import process from 'node:process';
import type { Clock } from '../../src/base/clock.ts';
import { Prng } from '../../src/base/prng.ts';
import type { Engine } from '../../src/engine/engine.ts';
import { openWithEnv } from '../../src/engine/opening/open.ts';
import type { ChunkingOptions } from '../../src/engine/options.ts';
import type { PutOptions } from '../../src/engine/types.ts';
import { endsListNode, listLimits } from '../../src/format/list-node.ts';
import { MemoryFileSystem } from '../../src/fs/memory-file-system.ts';
import { memoryLock } from '../../src/fs/memory-lock.ts';
import { setSha256 } from '../../src/kernels/hash/sha256.ts';
import { nodeSha256 } from '../../src/kernels/hash/sha256-node.ts';

const seed = 20_240_229;
const utf8 = new TextEncoder();

/** What one key must hold. */
interface ExpectedKey {
  space: string;
  keyHex: string;
  seq: number;
  size: number;
  chunks: number;
  digest: string;
  sha256: string;
  /** Also kept in the store, since the put asked for it. */
  hasSha256: boolean;
  contentType?: string;
  tags?: string[];
  /** As JSON, with `{ date }` and `{ base64 }` for what JSON has no form for. */
  metadata?: unknown;
}

/** Time that only goes on when it is read, so that every run tells the same. */
class CountingClock implements Clock {
  #ms = 1_709_164_800_000;

  now(): number {
    this.#ms += 7;
    return this.#ms;
  }

  monotonic(): number {
    return this.#ms;
  }

  /** Only pollers sleep, and nothing here waits for another. */
  sleep(): Promise<void> {
    return new Promise(() => undefined);
  }

  keepAlive(): () => void {
    return () => undefined;
  }

  turn(): Promise<void> {
    return new Promise((resolve) => setImmediate(resolve));
  }
}

/** A store in the making with the record of what it must hold. */
class Fixture {
  readonly disk = new MemoryFileSystem();
  readonly prng: Prng;
  readonly #expected = new Map<string, ExpectedKey>();
  #engine: Engine | undefined;

  constructor(seed: number) {
    this.prng = new Prng(seed);
  }

  get engine(): Engine {
    if (this.#engine === undefined) throw new Error('the store is not open');
    return this.#engine;
  }

  async open(chunking: ChunkingOptions): Promise<void> {
    const clock = new CountingClock();
    const random = (n: number): Uint8Array => this.prng.bytes(n);
    const env = { fs: this.disk, lock: memoryLock(this.disk, clock), clock, random };
    this.#engine = await openWithEnv(env, { chunking, inlineMax: 40 }, { segmentBytes: 16 * 1024 });
  }

  async put(space: string, key: Uint8Array, value: Uint8Array, options: PutOptions = {}): Promise<void> {
    const target = space === '' ? this.engine : this.engine.space(space);
    const { seq, size, chunks, digest } = await target.put(key, value, options);
    const { contentType, tags, metadata } = options;
    this.#expected.set(nameOf(space, key), {
      space,
      keyHex: Buffer.from(key).toString('hex'),
      seq,
      size,
      chunks,
      digest,
      sha256: createHash('sha256').update(value).digest('hex'),
      hasSha256: options.sha256 === true,
      ...(contentType === undefined ? {} : { contentType }),
      ...(tags === undefined ? {} : { tags: [...tags] }),
      ...(metadata === undefined ? {} : { metadata: plain(metadata) }),
    });
  }

  async delete(space: string, key: Uint8Array): Promise<void> {
    const target = space === '' ? this.engine : this.engine.space(space);
    await target.delete(key);
    this.#expected.delete(nameOf(space, key));
  }

  /** In the order of space and key. */
  expected(): ExpectedKey[] {
    const byName = Array.from(this.#expected).sort(([a], [b]) => (a < b ? -1 : 1));
    return byName.map(([, entry]) => entry);
  }
}

function nameOf(space: string, key: Uint8Array): string {
  return `${space}/${Buffer.from(key).toString('hex')}`;
}

/** Metadata in a form JSON keeps. */
function plain(value: unknown): unknown {
  if (value instanceof Date) return { date: value.toISOString() };
  if (value instanceof Uint8Array) return { base64: Buffer.from(value).toString('base64') };
  if (Array.isArray(value)) return value.map(plain);
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([name, field]) => [name, plain(field)]));
}

/** Every form a value, a key and metadata can have. */
async function fill(store: Fixture): Promise<void> {
  const { prng } = store;
  const large = prng.bytes(24_000);
  await store.put('', utf8.encode('empty'), new Uint8Array(0));
  await store.put('', new Uint8Array(0), utf8.encode('the key of no bytes'));
  await store.put('', utf8.encode('inline'), prng.bytes(40));
  await store.put('', utf8.encode('one chunk'), prng.bytes(41));
  await store.put('', utf8.encode('direct list'), prng.bytes(1_500), { sha256: true });
  await store.put('', utf8.encode('tree of nodes'), large, { sha256: true });
  const edited = large.slice();
  edited.set(prng.bytes(10), 12_000);
  await store.put('', utf8.encode('tree, edited'), edited);
  await store.put('', utf8.encode('tree of two levels'), tallValue());
  await store.put('', Uint8Array.of(0, 0xff, 0, 1), prng.bytes(20));
  await store.put('', prng.bytes(700), prng.bytes(300));
  await store.put('', utf8.encode('Grüße/😀'), utf8.encode('text'), {
    contentType: 'text/plain',
    tags: ['old', 'first'].sort(),
    metadata: {
      nothing: null,
      yes: true,
      whole: 2 ** 40,
      negative: -3,
      part: 0.5,
      text: 'ü',
      bytes: Uint8Array.of(1, 2, 255),
      when: new Date(1_234_567_890_123),
      list: [1, [2, 'three'], { four: 4 }],
    },
  });
  for (let i = 0; i < 60; i++) {
    const space = ['', 'mail', 'mail/archive'][i % 3]!;
    await store.put(space, utf8.encode(`key ${String(i).padStart(3, '0')}`), prng.bytes(prng.below(120)));
  }
  for (let i = 0; i < 60; i += 7) {
    await store.delete(
      ['', 'mail', 'mail/archive'][i % 3]!,
      utf8.encode(`key ${String(i).padStart(3, '0')}`),
    );
  }
}

/** Commits after the first checkpoint: overwrites, deletes, new keys. */
async function goOn(store: Fixture): Promise<void> {
  const { prng } = store;
  for (let i = 1; i < 60; i += 5) {
    const space = ['', 'mail', 'mail/archive'][i % 3]!;
    await store.put(space, utf8.encode(`key ${String(i).padStart(3, '0')}`), prng.bytes(prng.below(200)));
  }
  await store.delete('', utf8.encode('one chunk'));
  await store.put('log only', utf8.encode('tree'), prng.bytes(9_000));
  await store.put('log only', utf8.encode('small'), utf8.encode('behind the checkpoint'));
}

async function makeClosed(): Promise<Fixture> {
  const store = new Fixture(seed);
  await store.open({ algorithm: 'fastcdc', min: 64, avg: 1024, max: 2048 });
  await fill(store);
  await store.engine.flush();
  await goOn(store);
  await store.engine.close();
  return store;
}

/** The log is cut in the middle of its last commit, as a writer that was killed leaves it. */
async function makeKilled(): Promise<{ store: Fixture; disk: MemoryFileSystem }> {
  const store = new Fixture(seed + 1);
  await store.open({ algorithm: 'sieve', min: 64, avg: 1024, max: 2048 });
  await fill(store);
  await store.engine.flush();
  await goOn(store);
  const path = lastLogOf(store.disk);
  const before = store.disk.bytesOf(path).length;
  await store.engine.put('never acknowledged', store.prng.bytes(30));
  const disk = store.disk.fork();
  const after = disk.bytesOf(path).length;
  if (after <= before) throw new Error('the last commit is in another file');
  disk.corrupt(path, (bytes) => bytes.slice(0, before + ((after - before) >> 1)));
  await store.engine.close();
  return { store, disk };
}

function lastLogOf(disk: MemoryFileSystem): string {
  const logs = disk.files().filter((path) => path.startsWith('wal/'));
  return logs.sort().at(-1)!;
}

async function write(disk: MemoryFileSystem, dir: string): Promise<void> {
  for (const path of disk.files()) {
    const target = join(dir, path);
    await mkdir(dirname(target), { recursive: true });
    await writeFile(target, disk.bytesOf(path));
  }
}

/**
 * A value of 300 equal chunks whose id ends a list node, so that its tree has two levels and takes next to
 * nothing. Data of period 2 meets no cut: every chunk is of the greatest size.
 */
function tallValue(): Uint8Array {
  const chunk = Buffer.alloc(2048);
  for (let pattern = 0; pattern < 65_536; pattern++) {
    for (let at = 0; at < chunk.length; at += 2) chunk.writeUInt16LE(pattern, at);
    if (endsListNode(createHash('sha256').update(chunk).digest(), 0, listLimits.min, listLimits))
      return Buffer.concat(Array.from({ length: 300 }, () => chunk));
  }
  throw new Error('no pattern ends a list node');
}

async function main(dir: string | undefined): Promise<void> {
  if (dir === undefined) throw new Error('name a directory that does not exist');
  setSha256(nodeSha256);
  const closed = await makeClosed();
  const killed = await makeKilled();
  await mkdir(dir);
  await write(closed.disk, join(dir, 'closed'));
  await write(killed.disk, join(dir, 'killed'));
  const expected = { closed: closed.expected(), killed: killed.store.expected() };
  await writeFile(join(dir, 'expected.json'), `${JSON.stringify(expected, undefined, 1)}\n`);
}

await main(process.argv[2]);
