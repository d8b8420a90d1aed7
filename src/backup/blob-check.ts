/**
 * What every BlobStore must do, as a function that its author runs in a test of any framework. Throws at the
 * first thing that is not so.
 */
import { compareBytes, equalBytes } from '../base/bytes.ts';
import { invalid, isVarveError, VarveError, type VarveErrorCode } from '../base/errors.ts';
import { Prng } from '../base/prng.ts';
import { type BlobStore, openBlob, readRange } from './blob-store.ts';

/** One requirement, by name. */
interface Check {
  readonly name: string;
  readonly run: (store: BlobStore) => Promise<void>;
}

const bytesOf = (seed: number, length: number): Uint8Array => new Prng(seed).bytes(length);

/**
 * Runs the conformance suite. `make` gives a store without objects each time; `report`, where given, is told
 * the name of each requirement that holds. Rejects with VARVE_CORRUPT naming the one that does not.
 */
export async function checkBlobStore(
  make: () => Promise<BlobStore> | BlobStore,
  report?: (name: string) => void,
): Promise<void> {
  if (typeof make !== 'function') throw invalid('checkBlobStore takes a function that makes a store');
  for (const { name, run } of checks) {
    const store = await make();
    if (typeof store !== 'object' || store === null) throw invalid('what was made is no store of objects');
    try {
      await run(store);
    } catch (error) {
      throw new VarveError('VARVE_CORRUPT', `blob store ${store.root}: not so: ${name}`, { cause: error });
    }
    report?.(name);
  }
}

const checks: readonly Check[] = [
  {
    name: 'an object reads back as it was put, whole and in parts',
    async run(store) {
      const bytes = bytesOf(1, 100_000);
      expect(await store.put('packs/ab/cd/x.pack', bytes), 'put answers true');
      expect(equalBytes(await store.get('packs/ab/cd/x.pack', 100_000), bytes), 'whole');
      const part = await store.getRange('packs/ab/cd/x.pack', 70_000, 20_000);
      expect(equalBytes(part, bytes.subarray(70_000, 90_000)), 'part');
      const end = await store.getRange('packs/ab/cd/x.pack', 99_990, 100);
      expect(equalBytes(end, bytes.subarray(99_990)), 'a part beyond the end is what is there');
      expect((await store.getRange('packs/ab/cd/x.pack', 200_000, 5)).length === 0, 'behind the end');
      expect((await store.size('packs/ab/cd/x.pack')) === 100_000, 'size');
      const into = new Uint8Array(200);
      const got = await readRange(store, 'packs/ab/cd/x.pack', 99_900, into);
      expect(equalBytes(got, bytes.subarray(99_900)), 'a part into memory');
      const blob = await openBlob(store, 'packs/ab/cd/x.pack');
      for (const from of [500, 0, 99_900]) {
        const piece = await blob.read(from, into);
        expect(equalBytes(piece, bytes.subarray(from, from + 200)), 'a part of what is open');
      }
      await blob.close();
    },
  },
  {
    name: 'an object given in pieces is their concatenation, and an empty one is an object',
    async run(store) {
      const bytes = bytesOf(2, 5000);
      await store.put('a', pieces(bytes, 700));
      expect(equalBytes(await store.get('a', 5000), bytes), 'pieces');
      await store.put('empty', new Uint8Array(0));
      expect((await store.size('empty')) === 0, 'an empty object is there');
    },
  },
  {
    name: 'what is not there is said so',
    async run(store) {
      await fails(() => store.get('no', 10), 'VARVE_NOT_FOUND');
      await fails(() => store.getRange('no/such', 0, 10), 'VARVE_NOT_FOUND');
      await fails(() => readRange(store, 'no/such', 0, new Uint8Array(10)), 'VARVE_NOT_FOUND');
      await fails(
        async () => (await openBlob(store, 'no/such')).read(0, new Uint8Array(10)),
        'VARVE_NOT_FOUND',
      );
      expect((await store.size('no')) === undefined, 'size');
      expect((await store.delete('no')) === false, 'delete');
      expect((await names(store, 'no/')).length === 0, 'list');
    },
  },
  {
    name: 'an object longer than the caller takes is refused',
    async run(store) {
      await store.put('long', bytesOf(3, 100));
      await fails(() => store.get('long', 99), 'VARVE_CORRUPT');
      expect((await store.get('long', 100)).length === 100, 'at the bound');
    },
  },
  {
    name: 'a conditional put leaves what is there, an unconditional one replaces it',
    async run(store) {
      await store.put('x', bytesOf(4, 50));
      expect((await store.put('x', bytesOf(5, 60), { ifAbsent: true })) === false, 'the name is taken');
      expect(equalBytes(await store.get('x', 100), bytesOf(4, 50)), 'nothing changed');
      expect((await store.put('y', bytesOf(5, 60), { ifAbsent: true })) === true, 'the name is free');
      await store.put('x', bytesOf(6, 70));
      expect(equalBytes(await store.get('x', 100), bytesOf(6, 70)), 'replaced');
    },
  },
  {
    name: 'of many conditional puts of one name one wins, and its bytes are there',
    async run(store) {
      if (!store.caps.conditionalPut) return;
      const all = Array.from({ length: 16 }, (_, i) => bytesOf(100 + i, 2000));
      const won = await Promise.all(all.map((bytes) => store.put('race', bytes, { ifAbsent: true })));
      expect(won.filter(Boolean).length === 1, 'one wins');
      expect(equalBytes(await store.get('race', 2000), all[won.indexOf(true)]!), 'the bytes of the winner');
    },
  },
  {
    name: 'a listing has the names under a prefix with their sizes, and no other',
    async run(store) {
      for (const name of ['p/a', 'p/b/c', 'p/b/d', 'q/a', 'pp'])
        await store.put(name, bytesOf(7, name.length));
      const found = await names(store, 'p/');
      expect(found.join() === 'p/a:3,p/b/c:5,p/b/d:5', `under p/: ${found.join()}`);
      expect((await names(store, 'p/b/')).length === 2, 'under p/b/');
      expect((await names(store, '')).length === 5, 'all');
    },
  },
  {
    name: 'a deleted object is gone, from listings too, and its name is free',
    async run(store) {
      await store.put('d/x', bytesOf(8, 10));
      expect((await store.delete('d/x')) === true, 'there was one');
      expect((await store.size('d/x')) === undefined, 'gone');
      expect((await names(store, 'd/')).length === 0, 'not listed');
      expect((await store.put('d/x', bytesOf(9, 10), { ifAbsent: true })) === true, 'free');
    },
  },
  {
    name: 'a put whose pieces fail leaves nothing',
    async run(store) {
      const failing = async function* (): AsyncGenerator<Uint8Array> {
        yield bytesOf(10, 1000);
        throw new VarveError('VARVE_ABORTED', 'the source failed');
      };
      await fails(() => store.put('half', failing()), 'VARVE_ABORTED');
      expect((await store.size('half')) === undefined, 'no object');
      expect((await names(store, '')).length === 0, 'nothing listed');
    },
  },
  {
    name: 'names that could leave the store are refused',
    async run(store) {
      for (const name of ['', '/', '../x', 'a/../b', 'a//b', 'a/', '/a', 'a\\b', 'a b', 'é'])
        await fails(() => store.put(name, bytesOf(1, 1)), 'VARVE_INVALID_ARGUMENT');
    },
  },
  {
    name: 'a buffer may be changed once put has resolved, and a result belongs to the caller',
    async run(store) {
      const bytes = bytesOf(11, 100);
      await store.put('own', bytes);
      bytes.fill(0);
      const first = await store.get('own', 100);
      first.fill(1);
      expect(equalBytes(await store.get('own', 100), bytesOf(11, 100)), 'unchanged');
    },
  },
  {
    name: 'calls side by side do not disturb each other',
    async run(store) {
      const all = Array.from({ length: 24 }, (_, i) => [`s/${i % 5}/${i}`, bytesOf(i, 3000 + i)] as const);
      await Promise.all(all.map(([name, bytes]) => store.put(name, bytes)));
      const read = await Promise.all(all.map(([name]) => store.get(name, 4000)));
      expect(
        read.every((bytes, i) => compareBytes(bytes, all[i]![1]) === 0),
        'each its own bytes',
      );
    },
  },
];

function expect(holds: boolean, what: string): void {
  if (!holds) throw new VarveError('VARVE_CORRUPT', what);
}

async function fails(call: () => Promise<unknown>, code: VarveErrorCode): Promise<void> {
  try {
    await call();
  } catch (error) {
    if (isVarveError(error, code)) return;
    throw error;
  }
  throw new VarveError('VARVE_CORRUPT', `expected ${code}`);
}

async function names(store: BlobStore, prefix: string): Promise<string[]> {
  const found: string[] = [];
  for await (const { name, size } of store.list(prefix)) found.push(`${name}:${size}`);
  return found.sort();
}

async function* pieces(bytes: Uint8Array, length: number): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < bytes.length; at += length) yield bytes.slice(at, at + length);
}
