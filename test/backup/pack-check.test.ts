import { describe, expect, test } from 'vitest';
import { MemoryBlobs } from '../../src/backup/memory-blobs.ts';
import { PackBuilder } from '../../src/backup/pack-builder.ts';
import { checkPack, type PackCheckResult } from '../../src/backup/pack-check.ts';
import { Prng } from '../../src/base/prng.ts';
import { chunkKinds } from '../../src/format/chunk-ref.ts';
import { encodeFileHeader } from '../../src/format/file-header.ts';
import { sha256, sha256Hex } from '../../src/kernels/hash/sha256.ts';
import { BufferRing } from '../../src/pool/buffer-ring.ts';
import type { HashThreads } from '../../src/pool/id-checker.ts';
import { Jobs } from '../../src/pool/jobs.ts';
import { bytesOf, newStore, TestClock } from '../engine/engine-kit.ts';
import { FakePool, type Faults } from '../pool/fake-pool.ts';
import { vaultOn } from './backup-kit.ts';

const vaultId = bytesOf(1, 16);

/** A pack of chunks of these lengths; `wrong`: chunks whose frames name other bytes than they have. */
function packOf(lengths: readonly number[], wrong: readonly number[] = []) {
  const builder = new PackBuilder(vaultId, bytesOf(2, 12), 4096);
  const ids: string[] = [];
  const ends: number[] = [];
  for (const [i, length] of lengths.entries()) {
    const bytes = bytesOf(100 + i, length);
    const id = sha256(wrong.includes(i) ? bytesOf(999, 5) : bytes);
    const from = builder.addChunk(id, bytes, chunkKinds.data) * 8;
    ids.push(Buffer.from(id).toString('hex'));
    ends.push(from + 64 + Math.ceil(length / 8) * 8);
  }
  return { ...builder.finish(), ids, ends };
}

/** The same pack, named by all of its bytes, as packs once were. */
function namedByBytes({ bytes }: { readonly bytes: Uint8Array }) {
  const old = bytes.slice();
  const [dbUuid, salt] = [bytes.slice(24, 40), bytes.slice(40, 52)];
  old.set(encodeFileHeader({ kind: 'pack', subKind: 0, fileNo: 0, dbUuid, salt }));
  return { bytes: old, hash: sha256Hex(old) };
}

function threadsOf(seed: number, faults: Faults): HashThreads {
  const pool = new FakePool(3, new Prng(seed), faults);
  const jobs = new Jobs({ pool, clock: new TestClock(), onFailure: () => undefined });
  return { jobs, ring: new BufferRing(2048, 3) };
}

function told({ faults, whole }: PackCheckResult): unknown {
  const texts = faults.map(({ error, ids }) => [
    error.message,
    error.offset,
    ids.map((id) => Buffer.from(id).toString('hex')),
  ]);
  return [texts, whole];
}

describe('a check of a pack', () => {
  test('every flipped bit of a pack is found by what lies in it, and named', async () => {
    const { bytes, hash, ids, ends } = packOf([40, 0, 13, 100]);
    expect((await checkPack(bytes, hash, vaultId)).faults).toEqual([]);
    const missed: number[] = [];
    for (let bit = 0; bit < bytes.length * 8; bit++) {
      const damaged = bytes.slice();
      damaged[bit >> 3]! ^= 1 << (bit & 7);
      const { faults, whole } = await checkPack(damaged, hash, vaultId);
      const frame = bit >> 3 < 64 ? -1 : ends.findIndex((end) => bit >> 3 < end);
      const named = faults[0]?.ids.map((id) => Buffer.from(id).toString('hex')).join();
      const isRight = faults.length === 1 && named === (ids[frame] ?? '');
      if (!isRight || whole.length !== (frame < 0 ? 4 : 3)) missed.push(bit);
    }
    expect(missed).toEqual([]);
  });

  test('a whole pack of other chunks is found by the index', async () => {
    const { engine } = await newStore();
    const store = new MemoryBlobs();
    const vault = await vaultOn(store);
    await engine.put('k', bytesOf(3, 3000));
    const { id } = await engine.backup(vault);
    const last = store.names().find((name) => name.startsWith('packs/'))!;
    // Of the same size and vault, and whole.
    const other = new PackBuilder(vault.env.vaultId, bytesOf(5, 12), 4096);
    const room = (await store.size(last))! - 64 - 64 - 48 - 64;
    other.addChunk(sha256(bytesOf(6, room)), bytesOf(6, room), chunkKinds.data);
    const pack = other.finish();
    const { bytes } = namedByBytes(pack);
    expect(bytes.length).toBe(await store.size(last));
    await store.put(last, bytes);
    const { damage } = await vault.verify();
    expect(damage.at(-1)).toMatchObject({
      file: last,
      message: expect.stringContaining('pack and index differ'),
      snapshots: [id],
    });
    await store.put(last, pack.bytes);
    expect((await vault.verify()).damage.at(-1)).toMatchObject({
      file: last,
      message: expect.stringContaining('does not have the bytes its name says'),
      snapshots: [id],
    });
  });

  test('a chunk that was packed under a wrong id is found, and only that', async () => {
    const { bytes, hash, ids } = packOf([40, 700, 13], [1]);
    const { faults, whole } = await checkPack(bytes, hash, vaultId, { named: true });
    expect(faults.map((fault) => fault.ids.map((id) => Buffer.from(id).toString('hex')))).toEqual([[ids[1]]]);
    expect(whole).toHaveLength(2);
  });

  test('a whole pack under another name is found, or where that is asked for', async () => {
    const other = '0'.repeat(64);
    const { bytes } = packOf([40]);
    expect((await checkPack(bytes, other, vaultId)).faults).toHaveLength(1);
    const old = namedByBytes({ bytes });
    expect((await checkPack(old.bytes, other, vaultId, { named: true })).faults).toHaveLength(1);
    expect((await checkPack(old.bytes, other, vaultId)).faults).toHaveLength(0);
    expect((await checkPack(old.bytes, old.hash, vaultId, { named: true })).faults).toHaveLength(0);
  });

  test('threads that die or lie change nothing that is found', async () => {
    const prng = new Prng(7);
    const lengths = Array.from({ length: 60 }, () => prng.below(700));
    lengths[30] = 5000;
    for (let seed = 0; seed < 12; seed++) {
      const { bytes, hash } = packOf(lengths, [prng.below(60), prng.below(60), 30]);
      const damaged = bytes.slice();
      for (let i = 0; i < seed % 4; i++) damaged[prng.below(bytes.length)]! ^= 1;
      const alone = await checkPack(damaged, hash, vaultId);
      const threads = threadsOf(seed, { dies: 15, lies: 15 });
      expect(told(await checkPack(damaged, hash, vaultId, { threads })), `seed ${seed}`).toEqual(told(alone));
      expect(threads.ring.out).toBe(0);
    }
  });
});
