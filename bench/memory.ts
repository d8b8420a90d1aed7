/**
 * Peak memory of everything that goes through a whole store, each in a process of its own:
 *
 *     npm run build && node dist/bench/memory.js [--mib 1024] [--json]
 *
 * Half of the bytes are large files, half small ones, random, so that nothing deduplicates. Peak memory is
 * the kernel's high-water mark of the process, Node itself included (about 45 MiB). MB/s are 10^6 bytes of
 * content per second of that step, its start left out. Needs six times the size of disk in the temporary
 * directory.
 */
import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { MiB } from '../src/base/limits.ts';
import { Prng } from '../src/base/prng.ts';
import { exportTree } from '../src/cli/tree/export-tree.ts';
import { importTree } from '../src/cli/tree/import-tree.ts';
import { type Engine, openEngine, openVault, restore } from '../src/index.ts';
import { countOf, optionsOf } from './tools/command-line.ts';
import { report } from './tools/rounds.ts';

const largeBytes = 64 * MiB;
const smallBytes = 32 * 1024;
/** What every step is to stay below, MiB. */
const boundMiB = 350;

/** A step: where it works, and the bytes of the whole. */
type Step = (dir: string, bytes: number) => Promise<void>;

const steps: Readonly<Record<string, Step>> = {
  'stream put': (dir, bytes) =>
    withStore(join(dir, 'streamed'), async (engine) => {
      await engine.put('value', randomPieces(bytes));
    }),
  'stream read, verified': (dir, bytes) =>
    withStore(join(dir, 'streamed'), async (engine) => {
      let read = 0;
      for await (const piece of engine.stream('value', { verify: true })) read += piece.length;
      if (read !== bytes) throw new Error(`read ${read} of ${bytes} bytes`);
    }),
  import: (dir) => withStore(join(dir, 'store'), (engine) => done(importTree(engine, join(dir, 'tree')))),
  'import again': (dir) =>
    withStore(join(dir, 'store'), (engine) => done(importTree(engine, join(dir, 'tree')))),
  verify: (dir) => withStore(join(dir, 'store'), (engine) => done(engine.verify({ level: 'full' }))),
  export: (dir) => withStore(join(dir, 'store'), (engine) => done(exportTree(engine, join(dir, 'exported')))),
  backup: (dir) =>
    withStore(join(dir, 'store'), async (engine) => {
      await engine.backup(await openVault(join(dir, 'vault'), { create: true }));
    }),
  'vault verify': async (dir) => done((await openVault(join(dir, 'vault'))).verify()),
  restore: async (dir) => done(restore(await openVault(join(dir, 'vault')), join(dir, 'restored'))),
};

async function withStore(dir: string, work: (engine: Engine) => Promise<void>): Promise<void> {
  const engine = await openEngine(dir);
  try {
    await work(engine);
  } finally {
    await engine.close();
  }
}

async function done(work: Promise<{ readonly ok: boolean }>): Promise<void> {
  const result = await work;
  if (!result.ok) throw new Error(`not ok: ${JSON.stringify(result)}`);
}

/** Random bytes in one buffer that is changed from piece to piece; borrowed until the next. */
async function* randomPieces(bytes: number): AsyncGenerator<Uint8Array> {
  const source = new Prng(7);
  const piece = source.bytes(MiB);
  const words = new Uint32Array(piece.buffer);
  for (let at = 0; at < bytes; at += piece.length) {
    for (let i = 0; i < words.length; i++) words[i] = Math.imul(words[i]! + at + 1, 0x85ebca6b) ^ (i >>> 3);
    yield piece.subarray(0, Math.min(piece.length, bytes - at));
  }
}

function makeTree(dir: string, bytes: number): void {
  const prng = new Prng(11);
  let made = 0;
  for (let i = 0; made < bytes; i++) {
    const folder = join(dir, `d${i % 32}`);
    mkdirSync(folder, { recursive: true });
    const length = Math.min(bytes - made, made < bytes / 2 ? largeBytes : smallBytes);
    writeFileSync(join(folder, `f${i}`), prng.bytes(length));
    made += length;
  }
}

interface Measured {
  readonly step: string;
  readonly seconds: number;
  readonly rate: number;
  readonly peakMiB: number;
}

/** Runs one step in this process and prints what it took. */
async function runStep(step: string, dir: string, bytes: number): Promise<void> {
  const began = performance.now();
  await steps[step]!(dir, bytes);
  const seconds = (performance.now() - began) / 1000;
  const peakMiB = process.resourceUsage().maxRSS / 1024;
  console.log(JSON.stringify({ step, seconds, rate: bytes / seconds / 1e6, peakMiB } satisfies Measured));
}

function measureAll(mib: number, json: boolean): void {
  const dir = mkdtempSync(join(tmpdir(), 'varve-memory-'));
  const bytes = mib * MiB;
  const measured: Measured[] = [];
  try {
    makeTree(join(dir, 'tree'), bytes);
    for (const step of Object.keys(steps)) {
      const given = [fileURLToPath(import.meta.url), '--step', step, '--dir', dir, '--mib', `${mib}`];
      const printed = execFileSync(process.execPath, given, { encoding: 'utf8', stdio: 'pipe' });
      measured.push(JSON.parse(printed) as Measured);
    }
  } finally {
    rmSync(dir, { recursive: true });
  }
  const lines = measured.map(
    ({ step, rate, peakMiB }) =>
      `${step.padEnd(22)} ${rate.toFixed(0).padStart(6)} MB/s, peak memory ${peakMiB.toFixed(0)} MiB` +
      (peakMiB > boundMiB ? `, MORE THAN ${boundMiB}` : ''),
  );
  report(json, { bytes, boundMiB, steps: measured }, [`${mib} MiB, each step a process:`, ...lines]);
}

const usage = `Peak memory of everything that goes through a whole store, each in a process of its own.

  --mib N   content, MiB; needs six times as much disk (1024)
  --json    one line of JSON
  --help    this text`;

const { mib, json, step, dir } = optionsOf(
  usage,
  {
    mib: { type: 'string', default: '1024' },
    json: { type: 'boolean', default: false },
    // What it starts its own processes with.
    step: { type: 'string' },
    dir: { type: 'string' },
  },
  (values) => ({ ...values, mib: countOf('mib', values.mib) }),
);
if (step === undefined) measureAll(mib, json);
else await runStep(step, dir!, mib * MiB);
