/** The package as it is published: dist/lib, which `npm test` builds first. */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { expect, onTestFinished, test } from 'vitest';
import { sha256 } from '../../src/kernels/hash/sha256.ts';
import { PiscinaPool } from '../../src/pool/piscina-pool.ts';
import type { WorkPool } from '../../src/pool/port.ts';
import { ThreadPool } from '../../src/pool/thread-pool.ts';
import { importClosure } from '../tidy/closure.ts';

const root = fileURLToPath(new URL('../../', import.meta.url));
const lib = join(root, 'dist/lib');
if (!existsSync(lib)) throw new Error('build first: npm run build');
const manifest = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));
const libFiles = readdirSync(lib).filter((name) => name.endsWith('.js'));
const textOf = (name: string): string => readFileSync(join(lib, name), 'utf8');

/** Files of the package that are loaded with `name`, itself included; not those that are loaded later. */
function loadedWith(name: string, seen = new Set<string>()): Set<string> {
  if (seen.has(name)) return seen;
  seen.add(name);
  for (const [, next] of textOf(name).matchAll(/^(?:import|export)\b[^;]*?"\.\/([^"]+)";$/gm))
    loadedWith(next!, seen);
  return seen;
}

test('every file the manifest names is there', () => {
  const { '.': main, './native-free': portable } = manifest.exports;
  const named: string[] = [manifest.bin.varve, main.types, main.default, portable.types, portable.default];
  expect(named.filter((path) => !existsSync(join(root, path)))).toEqual([]);
});

test('an entry is loaded from few files', () => {
  expect(loadedWith('index.js').size).toBeGreaterThan(1);
  for (const name of ['index.js', 'native-free.js', 'main.js', 'worker.js', 'thread-worker.js'])
    expect(loadedWith(name).size).toBeLessThan(40);
});

test('all entries share one class of errors', () => {
  const having = libFiles.filter((name) => textOf(name).includes('VarveError = class extends'));
  expect(having).toHaveLength(1);
  for (const name of ['index.js', 'native-free.js', 'main.js']) expect(loadedWith(name)).toContain(having[0]);
});

test('nothing native is in the import closure of the portable entry', () => {
  const { findings, files } = importClosure(join(lib, 'native-free.js'));
  expect(findings).toEqual([]);
  expect(files).toContain('dist/lib/thread-worker.js');
  expect(files).not.toContain('dist/lib/worker.js');
});

test('threads are found beside the files that start them', () => {
  const named = libFiles.flatMap((name) =>
    Array.from(textOf(name).matchAll(/new URL\("([^"]+)", import\.meta\.url\)/g), ([, path]) => path!),
  );
  expect(named.sort()).toEqual(['./thread-worker.js', './worker.js']);
  expect(named.filter((path) => !existsSync(join(lib, path)))).toEqual([]);
});

test.each<[string, (entry: URL) => WorkPool]>([
  ['worker.js', (entry) => new PiscinaPool(1, { entry })],
  ['thread-worker.js', (entry) => new ThreadPool(1, { entry, sha256: 'node' })],
  ['thread-worker.js', (entry) => new ThreadPool(1, { entry, sha256: 'javascript' })],
])('a thread that begins in %s computes', async (name, make) => {
  const pool = make(pathToFileURL(join(lib, name)));
  onTestFinished(() => pool.close());
  const shared = new SharedArrayBuffer(1000);
  const task = { kind: 'hash', shared, ranges: Uint32Array.of(0, 1000) } as const;
  const { ids } = await pool.run(task, new AbortController().signal);
  expect(Buffer.compare(ids, sha256(new Uint8Array(1000)))).toBe(0);
});
