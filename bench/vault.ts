/**
 * What vaults cost: an incremental backup of few changed keys among many, the rates of backup, restore and
 * verify over new data, and the memory of it all; restic over the same bytes, without compression, where it
 * is installed.
 *
 *     npm run bench:vault -- [--keys 200000] [--changed 1000] [--mib 256] [--dir DIR] [--json]
 *
 * The sizes of the goals: `--keys 10000000 --mib 1` (some 2 GB of disk, and about ten minutes of one core, by
 * an estimate, most of it for making the store) and `--keys 1000 --mib 16384` (70 GB). Times are wall clock
 * and, in brackets, seconds of CPU; on a machine that does other things compare those. MB/s are 10^6 bytes a
 * second. What calls take in memory where the index is large is measured by vault-memory.ts.
 */
import { execFileSync, spawnSync } from 'node:child_process';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { availableParallelism, tmpdir } from 'node:os';
import { join } from 'node:path';
import { MiB } from '../src/base/limits.ts';
import { Prng } from '../src/base/prng.ts';
import { openEngine, openVault, restore } from '../src/index.ts';
import { sha256 } from '../src/kernels/hash/sha256.ts';
import { PiscinaPool } from '../src/pool/piscina-pool.ts';
import { countOf, optionsOf } from './tools/command-line.ts';

interface Figure {
  readonly name: string;
  readonly seconds: number;
  /** User and system time, of threads and of restic too. */
  readonly cpuSeconds: number;
  readonly bytes?: number;
  readonly note?: string;
}

const usage = `What backups cost, beside restic where it is.

  --keys N         keys of the store that is backed up again (200000)
  --changed N      of those, changed between two backups (1000)
  --mib N          new data for the rates (256)
  --dir DIRECTORY  where everything is made
  --json           one piece of JSON
  --help           this text`;

const values = optionsOf(
  usage,
  {
    keys: { type: 'string', default: '200000' },
    changed: { type: 'string', default: '1000' },
    mib: { type: 'string', default: '256' },
    dir: { type: 'string', default: tmpdir() },
    json: { type: 'boolean', default: false },
  },
  ({ keys, changed, mib, dir: parent, json }) => ({
    keys: countOf('keys', keys),
    changed: countOf('changed', changed),
    mib: countOf('mib', mib),
    dir: parent,
    json,
  }),
);
const figures: Figure[] = [];
const dir = await mkdtemp(join(values.dir, 'varve-bench-vault-'));

async function measured<T>(name: string, bytes: number | undefined, task: () => Promise<T>): Promise<T> {
  const cpu = process.cpuUsage();
  const started = performance.now();
  const result = await task();
  const { user, system } = process.cpuUsage(cpu);
  note({ name, seconds: (performance.now() - started) / 1000, cpuSeconds: (user + system) / 1e6 }, bytes);
  return result;
}

function note(figure: Figure, bytes: number | undefined, text?: string): void {
  const whole = { ...figure, ...(bytes === undefined ? {} : { bytes }), ...(text && { note: text }) };
  figures.push(whole);
  if (values.json) return;
  const { name, seconds, cpuSeconds } = whole;
  const rate = bytes === undefined ? '' : `${(bytes / 1e6 / seconds).toFixed(0).padStart(8)} MB/s`;
  const cpuRate = bytes === undefined ? '' : ` (${(bytes / 1e6 / cpuSeconds).toFixed(0)} MB per CPU second)`;
  console.log(
    `${name.padEnd(44)} ${seconds.toFixed(2).padStart(8)} s (${cpuSeconds.toFixed(2)} s)${rate}${cpuRate}`,
  );
  if (text !== undefined) console.log(`    ${text}`);
}

async function incremental(keys: number, changed: number): Promise<void> {
  const prng = new Prng(1);
  const engine = await openEngine(join(dir, 'keys'), { durability: 'os' });
  const vault = await openVault(join(dir, 'keys-vault'), { create: true });
  const keyOf = (i: number): string => `user/${(i * 2_654_435_761) % 2 ** 32}/${i}`;
  for (let i = 0; i < keys; ) {
    const batch = [];
    for (const to = Math.min(keys, i + 1000); i < to; i++)
      batch.push({ type: 'put' as const, key: keyOf(i), value: prng.bytes(100) });
    await engine.batch(batch);
  }
  await engine.flush();
  await measured(`full backup of ${keys} keys`, undefined, () => engine.backup(vault));
  const sent: number[] = [];
  for (let i = 0; i < changed; i++) {
    const value = prng.bytes(100);
    sent.push(value.length);
    await engine.put(keyOf(prng.below(keys)), value);
  }
  const before = await vault.stats();
  const name = `incremental backup, ${changed} of ${keys} keys changed`;
  const report = await measured(name, undefined, () => engine.backup(vault));
  const after = await vault.stats();
  const bytes = after.packBytes + after.indexBytes - before.packBytes - before.indexBytes;
  const perKey = (bytes - sent.reduce((sum, one) => sum + one, 0)) / changed / 1024;
  console.error(`    ${report.keys} keys, ${bytes} bytes written: ${perKey.toFixed(1)} KiB a changed key`);
  await engine.close();
}

async function rates(mib: number): Promise<void> {
  const prng = new Prng(2);
  const files = join(dir, 'files');
  await mkdir(files);
  const engine = await openEngine(join(dir, 'data'), { durability: 'os' });
  for (let i = 0; i < mib; i++) {
    const bytes = prng.bytes(MiB);
    await engine.put(`f${i}`, bytes);
    await writeFile(join(files, `f${i}`), bytes);
  }
  await engine.flush();
  const bytes = mib * MiB;
  const vault = await openVault(join(dir, 'data-vault'), { create: true });
  await measured('backup of new data, read back', bytes, () => engine.backup(vault));
  const plain = await openVault(join(dir, 'data-plain'), { create: true });
  await measured('backup of new data, not read back', bytes, () => engine.backup(plain, { verify: false }));
  await engine.close();
  await measured('restore', bytes, () => restore(vault, join(dir, 'again')));
  await measured('verify, level 3', bytes, () => vault.verify());
  const block = prng.bytes(16 * MiB);
  const cores = availableParallelism();
  await measured(`SHA-256, one of ${cores} cores`, 16 * block.length, async () => {
    for (let i = 0; i < 16; i++) sha256(block);
  });
  await shaOfAllCores(cores);
  restic(files, bytes);
}

/** What bounds a verify: chunks in the processor's reach, hashed by warm threads that do nothing else. */
async function shaOfAllCores(cores: number): Promise<void> {
  const pool = new PiscinaPool(cores);
  const { signal } = new AbortController();
  const shared = new SharedArrayBuffer(16 * MiB);
  const ranges = Uint32Array.from({ length: 512 }, (_, i) => ((i + 1) >> 1) * 64 * 1024);
  const rounds = async (count: number): Promise<void> => {
    const one = async (): Promise<void> => {
      for (let i = 0; i < count; i++) await pool.run({ kind: 'hash', shared, ranges }, signal);
    };
    await Promise.all(Array.from({ length: cores }, one));
  };
  await rounds(1);
  await measured(`SHA-256, all ${cores} cores`, cores * 16 * shared.byteLength, () => rounds(16));
  await pool.close();
}

function restic(files: string, bytes: number): void {
  if (spawnSync('restic', ['version']).status !== 0) return;
  const repository = join(dir, 'restic');
  const env = { ...process.env, RESTIC_PASSWORD: 'bench', RESTIC_REPOSITORY: repository };
  const run = (name: string, args: readonly string[]): void => {
    const started = performance.now();
    const script = 'TIMEFORMAT="%U %S"; time restic "$@" --no-cache >/dev/null 2>&1';
    const { stderr, status } = spawnSync('bash', ['-c', script, 'restic', ...args], {
      env,
      encoding: 'utf8',
    });
    if (status !== 0) throw new Error(`restic ${args.join(' ')} failed`);
    const [user, system] = stderr.trim().split(' ').map(Number);
    note({ name, seconds: (performance.now() - started) / 1000, cpuSeconds: user! + system! }, bytes);
  };
  execFileSync('restic', ['init'], { env, stdio: 'ignore' });
  run('restic backup, no compression', ['backup', '--compression', 'off', files]);
  run('restic restore', ['restore', 'latest', '--target', join(dir, 'restic-again')]);
  run('restic check --read-data', ['check', '--read-data']);
}

try {
  await incremental(values.keys, values.changed);
  await rates(values.mib);
  const rss = process.resourceUsage().maxRSS / 1024;
  if (values.json) console.log(JSON.stringify({ figures, maxRssMiB: Math.round(rss) }, undefined, 2));
  else console.log(`highest RSS ${rss.toFixed(0)} MiB`);
} finally {
  await rm(dir, { recursive: true, force: true });
}
