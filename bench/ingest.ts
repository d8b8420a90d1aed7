/**
 * Ingest of several releases of one package, uncompressed tars from memory, into a new store each round:
 *
 *     node dist/bench/ingest.js [--rounds 5] [--algorithm fastcdc|sieve] [--json]
 *
 * MB/s are 10^6 bytes of tar per second from the first put to the end of flush(), one process, one thread,
 * durability 'full'. The dedup ratio is bytes of tar per byte of unique chunk (list nodes included). Rounds
 * alternate with borg's on the same files where borg is on PATH; borg's time includes starting its process.
 */
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { openEngine } from '../src/index.ts';
import { borgIngest, borgVersion } from './tools/borg.ts';
import { npmTars, typescriptReleases } from './tools/npm-tars.ts';
import { report, show, spreadOf } from './tools/rounds.ts';

interface Ingested {
  readonly seconds: number;
  readonly storedBytes: number;
  readonly chunks: number;
  readonly diskBytes: number;
}

async function ingest(tars: readonly Uint8Array[], algorithm: 'fastcdc' | 'sieve'): Promise<Ingested> {
  const dir = mkdtempSync(join(tmpdir(), 'varve-ingest-'));
  try {
    const engine = await openEngine(dir, { chunking: { algorithm, min: 4096, avg: 16_384, max: 65_536 } });
    const began = performance.now();
    let chunks = 0;
    for (const [i, tar] of tars.entries()) chunks += (await engine.put(`release/${i}`, tar)).chunks;
    await engine.flush();
    const seconds = (performance.now() - began) / 1000;
    const { chunks: stored, disk } = engine.stats();
    await engine.close();
    return { seconds, storedBytes: stored.storedBytes, chunks, diskBytes: disk.totalBytes };
  } finally {
    rmSync(dir, { recursive: true });
  }
}

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      rounds: { type: 'string', default: '5' },
      algorithm: { type: 'string', default: 'fastcdc' },
      json: { type: 'boolean', default: false },
    },
  });
  const algorithm = values.algorithm === 'sieve' ? 'sieve' : 'fastcdc';
  const paths = npmTars('typescript', typescriptReleases);
  const tars = paths.map((path) => new Uint8Array(readFileSync(path)));
  const bytes = tars.reduce((sum, tar) => sum + tar.length, 0);
  const borg = borgVersion();
  const ours: number[] = [];
  const theirs: number[] = [];
  let last: Ingested | undefined;
  let borgUnique = 0;
  await ingest(tars, algorithm);
  for (let round = 0; round < Number(values.rounds); round++) {
    last = await ingest(tars, algorithm);
    ours.push(bytes / last.seconds / 1e6);
    if (borg === undefined) continue;
    const run = borgIngest(paths);
    theirs.push(bytes / run.seconds / 1e6);
    borgUnique = run.uniqueBytes;
  }
  const ratio = bytes / last!.storedBytes;
  const onDisk = (last!.diskBytes / 1e6).toFixed(1);
  const figures = {
    bytes,
    algorithm,
    rate: spreadOf(ours),
    ratio,
    chunks: last!.chunks,
    diskBytes: last!.diskBytes,
    ...(borg === undefined
      ? {}
      : { borg: { rate: spreadOf(theirs), ratio: bytes / borgUnique, version: borg } }),
  };
  report(values.json, figures, [
    `${tars.length} releases, ${(bytes / 1e6).toFixed(1)} MB, ${last!.chunks} chunks, ${algorithm}`,
    `varve: ${show(figures.rate)} MB/s, dedup ratio ${ratio.toFixed(3)}, ${onDisk} MB on disk`,
    borg === undefined
      ? 'borg: not installed'
      : `${borg}: ${show(spreadOf(theirs))} MB/s, dedup ratio ${(bytes / borgUnique).toFixed(3)}`,
  ]);
}

await main();
