/** Restores with threads, also such that die, and of vaults with damage that only a SHA-256 shows. */
import { describe, expect, test } from 'vitest';
import { MemoryBlobs } from '../../src/backup/memory-blobs.ts';
import { type RestoreReport, runRestore } from '../../src/backup/restore-run.ts';
import { Prng } from '../../src/base/prng.ts';
import { writeChecksum } from '../../src/codec/checksum.ts';
import { chunkFrame } from '../../src/format/chunk-frame.ts';
import { packName } from '../../src/format/vault-names.ts';
import { MemoryFileSystem } from '../../src/fs/memory-file-system.ts';
import { BufferRing } from '../../src/pool/buffer-ring.ts';
import type { HashThreads } from '../../src/pool/id-checker.ts';
import { Jobs } from '../../src/pool/jobs.ts';
import { bytesOf, newStore, openOn, TestClock } from '../engine/engine-kit.ts';
import { FakePool, type Faults } from '../pool/fake-pool.ts';
import { entriesOf, everything, refsOf, vaultOn } from './backup-kit.ts';

function threadsOf(seed: number, faults: Faults): HashThreads {
  const pool = new FakePool(2, new Prng(seed), faults);
  const jobs = new Jobs({ pool, clock: new TestClock(), onFailure: () => undefined, startBytes: 0 });
  return { jobs, ring: new BufferRing(64 * 1024, 4) };
}

/** A vault of small and large values that share chunks; `wrong`: a chunk whose frame has other bytes. */
async function vaultWith(wrong = false) {
  const { engine } = await newStore();
  for (let i = 0; i < 60; i++) await engine.put(`k${i}`, bytesOf(i % 40, 3000 + i));
  for (let i = 0; i < 4; i++) await engine.put(`tree${i}`, bytesOf(100 + (i % 3), 150_000));
  for (let i = 0; i < 20; i++) await engine.put(`small${i}`, `value ${i}`);
  const store = new MemoryBlobs();
  const vault = await vaultOn(store);
  await engine.backup(vault);
  if (wrong) {
    const data = (await entriesOf(vault)).filter(({ kind }) => kind === 0);
    for (const { pack, off8 } of [data[3]!, data[30]!]) {
      const bytes = await store.get(packName(pack), 1 << 30);
      const pos = off8 * 8;
      bytes[pos + chunkFrame.size]! ^= 1;
      const length = Buffer.from(bytes).readUInt32LE(pos + 4);
      writeChecksum(bytes, pos + 8, pos + 16, pos + chunkFrame.size + length);
      await store.put(packName(pack), bytes);
    }
  }
  return { vault, engine };
}

describe('an intake of chunks', () => {
  test('what is restored does not depend on threads', async () => {
    for (const wrong of [false, true]) {
      const { vault, engine } = await vaultWith(wrong);
      const restore = async (threads: HashThreads | undefined) => {
        const disk = new MemoryFileSystem();
        const bounds = { segmentBytes: 16 * 1024, memtableBytes: 32 * 1024, threads };
        const report: RestoreReport = await runRestore(vault.env, disk, {}, bounds);
        const refs = wrong ? undefined : [...(await refsOf(disk))].sort();
        const copy = await openOn(disk);
        const all = await everything(copy);
        await copy.close();
        const { ms: _ms, damage, ...rest } = report;
        const told = damage.map(({ message, keys }) => `${message} ${keys}`).sort();
        return { rest, told, all, refs };
      };
      const alone = await restore(undefined);
      expect(alone.rest.proved).toBe(!wrong);
      if (wrong) expect(alone.told.length).toBeGreaterThan(1);
      else expect(alone.all).toEqual(await everything(engine));
      for (const faults of [{}, { dies: 20 }]) {
        const threads = threadsOf(wrong ? 3 : 4, faults);
        expect(await restore(threads)).toEqual(alone);
        expect(threads.jobs.counters.tasks).toBeGreaterThan(2);
        expect(threads.ring.out).toBe(0);
        expect(threads.ring.users).toBe(0);
      }
    }
  });

  test('an abort on the way gives every buffer back', async () => {
    const { vault } = await vaultWith();
    const threads = threadsOf(5, {});
    const stop = new AbortController();
    const disk = new MemoryFileSystem();
    const onProgress = (): void => stop.abort();
    let calls = 0;
    const submit = threads.jobs.submit.bind(threads.jobs);
    threads.jobs.submit = (task) => {
      if (++calls === 2) onProgress();
      return submit(task);
    };
    const restoring = runRestore(vault.env, disk, { signal: stop.signal }, { threads });
    await expect(restoring).rejects.toMatchObject({ code: 'VARVE_ABORTED' });
    expect(threads.ring.out).toBe(0);
    expect(threads.ring.users).toBe(0);
  });
});
