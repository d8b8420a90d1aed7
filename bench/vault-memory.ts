/**
 * The memory that calls on a vault take where its index is large: a made vault has so many chunks in index
 * objects, of packs that are there and full of holes, and a real store beside them.
 *
 *     npm run build && node dist/bench/vault-memory.js [--chunks 4000000] [--mib 256] [--dir DIR]
 *
 * Each line: the call, its time, and the highest RSS of the process so far.
 */
import { spawnSync } from 'node:child_process';
import { mkdir, mkdtemp, open, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { fromHex, toHex } from '../src/base/bytes.ts';
import { MiB } from '../src/base/limits.ts';
import { Prng } from '../src/base/prng.ts';
import { VaultIndexBuilder, vaultIndexEntriesMax, vaultIndexEntry } from '../src/format/vault-index.ts';
import { indexName, packName } from '../src/format/vault-names.ts';
import { openEngine, openVault, restore } from '../src/index.ts';
import { sha256 } from '../src/kernels/hash/sha256.ts';
import { countOf, optionsOf } from './tools/command-line.ts';

const usage = `The memory of calls on a vault with a large index.

  --chunks N       chunks in index objects beside those of the store (4000000)
  --mib N          data of the store (256)
  --dir DIRECTORY  where everything is made
  --help           this text`;

const values = optionsOf(
  usage,
  {
    chunks: { type: 'string', default: '4000000' },
    mib: { type: 'string', default: '256' },
    dir: { type: 'string', default: tmpdir() },
    make: { type: 'string' },
  },
  ({ chunks, mib, dir, make }) => {
    return { chunks: countOf('chunks', chunks), mib: countOf('mib', mib), dir, make };
  },
);
const chunkBytes: number = 64 * 1024;
const packBytes: number = 64 * MiB;
const chunksOfPack = Math.floor(packBytes / (chunkBytes + 64)) - 2;

/** Index objects and the packs they name, whose content nothing here reads. */
async function make(vaultDir: string, chunks: number): Promise<void> {
  const vault = await openVault(vaultDir, { create: true });
  const prng = new Prng(7);
  for (let done = 0, object = 0; done < chunks; object++) {
    const entries = Math.min(chunks - done, vaultIndexEntriesMax);
    const packs = Array.from({ length: Math.ceil(entries / chunksOfPack) }, (_, i) => {
      const name = sha256(new TextEncoder().encode(`${object} ${i}`));
      return { name, size: packBytes, frames: chunksOfPack };
    });
    for (const { name } of packs) {
      const path = join(vaultDir, packName(toHex(name)));
      await mkdir(dirname(path), { recursive: true });
      const file = await open(path, 'w');
      await file.truncate(packBytes);
      await file.close();
    }
    const builder = new VaultIndexBuilder(fromHex(vault.id), prng.bytes(12), packs, [], entries);
    const entry = new Uint8Array(vaultIndexEntry.size);
    const view = new DataView(entry.buffer);
    const { at } = vaultIndexEntry;
    for (let i = 0; i < entries; i++) {
      entry.set(prng.bytes(32));
      // Rising.
      view.setUint32(0, Math.floor(((i + 0.5) / entries) * 2 ** 32), false);
      // Neighbours by id lie in different packs.
      view.setUint32(at.off8, (64 + Math.floor(i / packs.length) * (chunkBytes + 64)) / 8, true);
      view.setUint32(at.storedLen, chunkBytes, true);
      view.setUint32(at.rawLen, chunkBytes, true);
      builder.addEntry(entry, 0, i % packs.length);
    }
    const bytes = builder.finish();
    await vault.env.store.put(indexName(toHex(sha256(bytes))), bytes);
    done += entries;
  }
}

async function measured(name: string, task: () => Promise<unknown>): Promise<void> {
  const started = performance.now();
  const cpu = process.cpuUsage();
  await task();
  const { user, system } = process.cpuUsage(cpu);
  const seconds = ((performance.now() - started) / 1000).toFixed(1);
  const rss = Math.round(process.resourceUsage().maxRSS / 1024);
  console.log(`${name.padEnd(44)} ${seconds} s (${((user + system) / 1e6).toFixed(1)} s CPU), ${rss} MiB`);
}

async function run(dir: string): Promise<void> {
  const prng = new Prng(3);
  const vaultDir = join(dir, 'vault');
  const made = ['--chunks', String(values.chunks), '--make', vaultDir];
  const child = spawnSync(process.execPath, [fileURLToPath(import.meta.url), ...made], { stdio: 'inherit' });
  if (child.status !== 0) throw new Error('the vault could not be made');
  const engine = await openEngine(join(dir, 'store'), { durability: 'os' });
  await measured(`a store of ${values.mib} MiB`, async () => {
    for (let i = 0; i < values.mib; i++) await engine.put(`k${i}`, prng.bytes(MiB));
  });
  const vault = await openVault(vaultDir);
  const { chunks, indexBytes, indexObjects } = await vault.stats();
  console.log(`${chunks} chunks, ${Math.round(indexBytes / MiB)} MiB in ${indexObjects} index objects`);
  await measured('backup of all of it', () => engine.backup(vault));
  await engine.put('new', prng.bytes(MiB));
  await measured('incremental backup', () => engine.backup(vault));
  await measured('differential backup', () => engine.backup(vault, { mode: 'differential' }));
  await engine.close();
  await measured('verify, level 0', () => vault.verify({ level: 0 }));
  await measured('restore', () => restore(vault, join(dir, 'again')));
  await measured('prune, dry run', () => vault.prune({ dryRun: true }));
  await measured('prune', () => vault.prune());
  await measured('verify, level 3', async () => {
    const { damage } = await vault.verify();
    if (damage.length > 0) throw new Error(damage[0]!.message);
  });
}

if (values.make !== undefined) await make(values.make, values.chunks);
else {
  const dir = await mkdtemp(join(values.dir, 'varve-bench-memory-'));
  try {
    await run(dir);
  } finally {
    await rm(dir, { recursive: true, force: true });
  }
}
