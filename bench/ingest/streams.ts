/**
 * The engine's own calls over a directory, in a process of their own: `put` of a stream for each file, or
 * `stream` with checks of each value.
 *
 *     node dist/bench/ingest/streams.js make|put|get STORE [DIR]
 *
 * Prints the seconds as JSON, from the open to the end of the close, without the start of Node.
 */
import { createReadStream, createWriteStream, mkdirSync } from 'node:fs';
import { readdir } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { chunkSizes } from './chunk-sizes.ts';

// What is published, and not the tree of modules it was made from: its threads load what those of users load.
const published = new URL('../../lib/index.js', import.meta.url).href;
const { openEngine } = (await import(published)) as typeof import('../../src/index.ts');

const pieceBytes = 2 ** 20;

async function make(store: string): Promise<void> {
  await (await openEngine(store, { chunking: chunkSizes })).close();
}

async function put(store: string, dir: string): Promise<void> {
  const engine = await openEngine(store);
  const entries = await readdir(dir, { recursive: true, withFileTypes: true });
  for (const entry of entries) {
    if (!entry.isFile()) continue;
    const path = join(entry.parentPath, entry.name);
    await engine.put(path.slice(dir.length + 1), createReadStream(path, { highWaterMark: pieceBytes }));
  }
  await engine.close();
}

async function get(store: string, dir: string): Promise<void> {
  const engine = await openEngine(store, { readOnly: true });
  for await (const { key } of engine.scan<string>({ values: false })) {
    const target = join(dir, key!);
    mkdirSync(dirname(target), { recursive: true });
    await pipeline(engine.stream(key!, { verify: true }), createWriteStream(target));
  }
  await engine.close();
}

const [what, store, dir] = process.argv.slice(2);
if (store === undefined || (dir === undefined && what !== 'make'))
  throw new Error('make|put|get STORE [DIR]');
const began = performance.now();
if (what === 'make') await make(store);
else if (what === 'put') await put(store, dir!);
else await get(store, dir!);
console.log(JSON.stringify({ seconds: (performance.now() - began) / 1000 }));
