/** Restores with threads, also such that die, and of vaults with damage that only a SHA-256 shows. */
import { describe, expect, test } from 'vitest';
import type { BlobCaps } from '../../src/backup/blob-store.ts';
import { MemoryBlobs } from '../../src/backup/memory-blobs.ts';
import { type RestoreReport, runRestore } from '../../src/backup/restore-run.ts';
import { VarveError } from '../../src/base/errors.ts';
import { Prng } from '../../src/base/prng.ts';
import { writeChecksum } from '../../src/codec/checksum.ts';
import { chunkFrame } from '../../src/format/chunk-frame.ts';
import { packName } from '../../src/format/vault-names.ts';
import { alteredPort } from '../../src/fs/altered-port.ts';
import { MemoryFileSystem } from '../../src/fs/memory-file-system.ts';
import { CrashNow } from '../../src/fs/sim-machine.ts';
import { BufferRing } from '../../src/pool/buffer-ring.ts';
import type { HashThreads } from '../../src/pool/id-checker.ts';
import { Jobs } from '../../src/pool/jobs.ts';
import { bytesOf, newStore, openOn, TestClock, turn } from '../engine/engine-kit.ts';
import { FakePool, type Faults } from '../pool/fake-pool.ts';
import { entriesOf, everything, refsOf, vaultOn } from './backup-kit.ts';

function threadsOf(seed: number, faults: Faults, buffers = 4): HashThreads {
  const pool = new FakePool(2, new Prng(seed), faults);
  const jobs = new Jobs({ pool, clock: new TestClock(), onFailure: () => undefined, startBytes: 0 });
  return { jobs, ring: new BufferRing(64 * 1024, buffers) };
}

/** Reading takes a while, as it does from a disk. */
class SlowBlobs extends MemoryBlobs {
  override readonly caps: BlobCaps;

  constructor(local: boolean) {
    super();
    this.caps = { conditionalPut: true, local };
  }

  /** Reads of packs that are under way, and all that were begun. */
  reading = 0;
  reads = 0;
  /** Which one of them fails; none while it is 0. */
  fails = 0;

  override async getRange(name: string, from: number, length: number): Promise<Uint8Array> {
    if (!name.startsWith('packs/')) return await super.getRange(name, from, length);
    this.reading++;
    const refused = ++this.reads === this.fails;
    await turn();
    this.reading--;
    if (refused) throw new VarveError('VARVE_IO', 'refused', { file: name });
    return await super.getRange(name, from, length);
  }
}

interface Kind {
  /** Chunks have frames with other bytes. */
  readonly wrong?: boolean;
  readonly local?: boolean;
  /** Backups, each of which changes some keys: what the last one has lies in all their packs. */
  readonly backups?: number;
}

/** A vault of small and large values that share chunks. */
async function vaultWith({ wrong = false, local = true, backups = 1 }: Kind = {}) {
  const { engine } = await newStore();
  for (let i = 0; i < 60; i++) await engine.put(`k${i}`, bytesOf(i % 40, 3000 + i));
  for (let i = 0; i < 4; i++) await engine.put(`tree${i}`, bytesOf(100 + (i % 3), 150_000));
  for (let i = 0; i < 20; i++) await engine.put(`small${i}`, `value ${i}`);
  const store = new SlowBlobs(local);
  const vault = await vaultOn(store);
  await engine.backup(vault);
  for (let n = 1; n < backups; n++) {
    for (let i = n; i < 60; i += backups) await engine.put(`k${i}`, bytesOf(1000 * n + (i % 40), 3000 + i));
    await engine.put(`tree${n % 4}`, bytesOf(100 + (n % 3), 150_000 + n));
    await engine.backup(vault);
  }
  if (wrong) {
    const data = (await entriesOf(vault)).filter(({ kind }) => kind === 0);
    for (const { pack, off8 } of data.filter((_entry, i) => i % 10 === 3)) {
      const bytes = await store.get(packName(pack), 1 << 30);
      const pos = off8 * 8;
      bytes[pos + chunkFrame.size]! ^= 1;
      const length = Buffer.from(bytes).readUInt32LE(pos + 4);
      writeChecksum(bytes, pos + 8, pos + 16, pos + chunkFrame.size + length);
      await store.put(packName(pack), bytes);
    }
  }
  return { vault, engine, store };
}

describe('an intake of chunks', () => {
  test.for<Kind>([{}, { wrong: true }, { backups: 5 }, { wrong: true, backups: 5, local: false }])(
    'what is restored does not depend on threads (%o)',
    async (kind) => {
      const { wrong = false } = kind;
      const { vault, engine } = await vaultWith(kind);
      const restore = async (threads: HashThreads | undefined) => {
        const disk = new MemoryFileSystem();
        const bounds = { segmentBytes: 16 * 1024, memtableBytes: 32 * 1024, threads };
        const report: RestoreReport = await runRestore(vault.env, disk, {}, bounds);
        const refs = wrong ? undefined : [...(await refsOf(disk))].sort();
        const copy = await openOn(disk);
        const all = await everything(copy);
        await copy.close();
        const { ms: _ms, damage, ...rest } = report;
        // Of several damaged chunks of a value any one is named.
        const told = damage.map(({ message, keys }) => `${message.replace(/^.*: /, '')} ${keys}`).sort();
        return { rest, told, all, refs };
      };
      const alone = await restore(undefined);
      expect(alone.rest.proved).toBe(!wrong);
      if (wrong) expect(alone.told.length).toBeGreaterThan(1);
      else expect(alone.all).toEqual(await everything(engine));
      for (const [faults, buffers] of [
        [{}, 4],
        [{ dies: 20 }, 2],
        [{}, 1],
      ] as const) {
        const threads = threadsOf(wrong ? 3 : 4, faults, buffers);
        expect(await restore(threads)).toEqual(alone);
        if (buffers > 1) expect(threads.jobs.counters.tasks).toBeGreaterThan(2);
        expect(threads.ring.out).toBe(0);
        expect(threads.ring.users).toBe(0);
      }
    },
  );

  test('a crash at any operation leaves no store, and the restore goes on', async () => {
    const { vault, engine } = await vaultWith({ backups: 2 });
    const model = await everything(engine);
    const bounds = { segmentBytes: 128 * 1024, memtableBytes: 32 * 1024 };
    const dry = new MemoryFileSystem();
    await runRestore(vault.env, dry, {}, { ...bounds, threads: threadsOf(7, {}) });
    const prng = new Prng(8);
    const step = Math.max(1, Math.floor(dry.opCount / 8));
    for (let at = prng.below(step); at < dry.opCount; at += step) {
      const disk = new MemoryFileSystem();
      disk.failAt(at, 'crash');
      const threads = threadsOf(at, {});
      await runRestore(vault.env, disk, {}, { ...bounds, threads }).catch((error: unknown) => {
        if (!(error instanceof CrashNow)) throw error;
      });
      expect([threads.ring.out, threads.ring.users]).toEqual([0, 0]);
      const after = disk.crash(prng.pick(['none', 'all', prng] as const));
      if ((await after.stat('SUPER')) === null) {
        const report = await runRestore(vault.env, after, {}, { ...bounds, threads });
        expect(report, `operation ${at}`).toMatchObject({ ok: true, proved: true });
      }
      const copy = await openOn(after);
      expect(await everything(copy), `operation ${at}`).toEqual(model);
      await copy.close();
    }
  });

  test('what lies behind is read while chunks are hashed', async () => {
    const { vault, store } = await vaultWith();
    const threads = threadsOf(9, {}, 8);
    const submit = threads.jobs.submit.bind(threads.jobs);
    let beside = 0;
    threads.jobs.submit = (task) => {
      if (store.reading > 0) beside++;
      return submit(task);
    };
    expect(await runRestore(vault.env, new MemoryFileSystem(), {}, { threads })).toMatchObject({ ok: true });
    expect(beside).toBeGreaterThan(2);
  });

  test('a read that fails ends the restore, or was ahead of its turn and is done again', async () => {
    const { vault, store } = await vaultWith();
    const run = async () => {
      store.reads = 0;
      const threads = threadsOf(10, {}, 8);
      const ended = runRestore(vault.env, new MemoryFileSystem(), {}, { threads }).then(
        ({ ok, proved }) => `${ok} ${proved}`,
        (error: VarveError) => error.code,
      );
      const outcome = await ended;
      expect([threads.ring.out, threads.ring.users, store.reading]).toEqual([0, 0, 0]);
      return outcome;
    };
    expect(await run()).toBe('true true');
    const outcomes = new Map<string, number>();
    for (let which = store.reads; which > 0; which--) {
      store.fails = which;
      const outcome = await run();
      outcomes.set(outcome, (outcomes.get(outcome) ?? 0) + 1);
    }
    expect([...outcomes.keys()].sort()).toEqual(['VARVE_IO', 'true true']);
  });

  test('a failed write gives every buffer back', async () => {
    const { vault } = await vaultWith();
    for (const which of [1, 4]) {
      let writes = 0;
      const disk = new MemoryFileSystem();
      const fs = alteredPort(disk, {
        open: async (path, mode) => {
          const file = await disk.open(path, mode);
          if (!path.startsWith('seg/') || mode !== 'create') return file;
          const write = file.write.bind(file);
          file.write = async (bytes, offset) => {
            // The header comes first, and alone.
            if (offset > 0 && ++writes === which) throw new VarveError('VARVE_IO', 'refused', { file: path });
            await write(bytes, offset);
          };
          return file;
        },
      });
      const threads = threadsOf(6, {});
      await expect(runRestore(vault.env, fs, {}, { threads })).rejects.toMatchObject({ code: 'VARVE_IO' });
      expect(writes).toBeGreaterThanOrEqual(which);
      expect([threads.ring.out, threads.ring.users]).toEqual([0, 0]);
      expect(await disk.stat('SUPER')).toBeNull();
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
