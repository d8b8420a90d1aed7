import { describe, expect, test } from 'vitest';
import type { BlobCaps } from '../../src/backup/blob-store.ts';
import { MemoryBlobs } from '../../src/backup/memory-blobs.ts';
import { checkPack } from '../../src/backup/pack-check.ts';
import { Upload } from '../../src/backup/upload.ts';
import { VaultIndex } from '../../src/backup/vault-index.ts';
import type { PackState } from '../../src/backup/vault-state.ts';
import { Prng } from '../../src/base/prng.ts';
import { chunkKinds } from '../../src/format/chunk-ref.ts';
import { packHashOf } from '../../src/format/vault-names.ts';
import { sha256 } from '../../src/kernels/hash/sha256.ts';
import { BufferRing } from '../../src/pool/buffer-ring.ts';
import type { HashThreads } from '../../src/pool/id-checker.ts';
import { Jobs } from '../../src/pool/jobs.ts';
import { bytesOf, TestClock, turn } from '../engine/engine-kit.ts';
import { FakePool, type Faults } from '../pool/fake-pool.ts';

/** Takes its time, counts what is under way, and gives back the pack `lies` names with a bit inverted. */
class SlowBlobs extends MemoryBlobs {
  readonly #prng = new Prng(3);
  readonly lies: { pack: number; at: number } | undefined;
  readonly seen: string[] = [];
  override readonly caps: BlobCaps;
  underWay = 0;
  underWayMax = 0;

  constructor(lies?: { pack: number; at: number }, local = true) {
    super();
    this.lies = lies;
    this.caps = { conditionalPut: true, local };
  }

  override async put(name: string, data: Uint8Array): Promise<boolean> {
    this.seen.push(name);
    this.underWayMax = Math.max(this.underWayMax, ++this.underWay);
    for (let turns = this.#prng.below(30); turns > 0; turns--) await turn();
    const made = await super.put(name, data);
    this.underWay--;
    return made;
  }

  override async getRange(name: string, from: number, length: number): Promise<Uint8Array> {
    await turn();
    const bytes = await super.getRange(name, from, length);
    if (this.lies !== undefined && this.seen[this.lies.pack] === name) bytes[this.lies.at]! ^= 4;
    return bytes;
  }
}

function threadsOf(faults: Faults): HashThreads {
  const pool = new FakePool(2, new Prng(11), faults);
  const jobs = new Jobs({ pool, clock: new TestClock(), onFailure: () => undefined, startBytes: 3000 });
  return { jobs, ring: new BufferRing(2048, 3) };
}

/** `wrong`: a chunk that is given with another id than its bytes have. */
async function uploaded(store: SlowBlobs, threads?: HashThreads, wrong = -1): Promise<PackState[]> {
  const clock = new TestClock();
  const prng = new Prng(5);
  const packs: PackState[] = [];
  const env = { store, vaultId: bytesOf(1, 16), clock, random: (n: number) => prng.bytes(n) };
  const index = new VaultIndex([], { isPending: () => false, refresh: async () => [] });
  const upload = new Upload(env, packs, index, {
    packBytes: 2000,
    prove: true,
    dryRun: false,
    onBytes: () => undefined,
    threads,
  });
  for (let i = 0; i < 40; i++) {
    const bytes = bytesOf(i, 700 + i);
    const added = upload.addChunk(sha256(i === wrong ? bytesOf(1, 1) : bytes), bytes, chunkKinds.data);
    if (added !== undefined) await added;
  }
  await upload.finish().finally(() => expect(upload.wrongIds).toBe(wrong >= 0));
  return packs;
}

describe('an upload', () => {
  test('has one pack under way, two where the target is far, and all are there', async () => {
    for (const local of [true, false]) {
      const store = new SlowBlobs(undefined, local);
      const packs = await uploaded(store);
      expect(packs.length).toBeGreaterThan(10);
      expect(store.underWayMax).toBe(local ? 1 : 2);
      expect(store.underWay).toBe(0);
      expect(store.names().sort()).toEqual([...store.seen].sort());
      expect(store.seen).toHaveLength(packs.length);
    }
  });

  test('packs that threads name are the same, also where threads die', async () => {
    const told = (packs: PackState[]) => packs.map(({ hash, size, frames }) => [hash, size, frames]);
    const alone = told(await uploaded(new SlowBlobs()));
    for (const faults of [{}, { dies: 40 }]) {
      const store = new SlowBlobs();
      const threads = threadsOf(faults);
      expect(told(await uploaded(store, threads))).toEqual(alone);
      expect(threads.jobs.counters.tasks + threads.jobs.counters.failures).toBeGreaterThan(10);
    }
  });

  test('a chunk with other bytes than its id names stops the pack', async () => {
    const store = new SlowBlobs();
    await expect(uploaded(store, threadsOf({}), 25)).rejects.toMatchObject({ code: 'VARVE_IO' });
    for (const name of store.names())
      expect((await checkPack(await store.get(name, 1e6), packHashOf(name)!, bytesOf(1, 16))).faults).toEqual(
        [],
      );
  });

  test('fails where any pack comes back with another bit, wherever that is', async () => {
    const count = (await uploaded(new SlowBlobs())).length;
    for (let pack = 0; pack < count; pack++) {
      const store = new SlowBlobs({ pack, at: [0, 3, 64, 601, 900][pack % 5]! });
      await expect(uploaded(store)).rejects.toMatchObject({
        code: 'VARVE_IO',
        message: expect.stringContaining('does not give back'),
      });
    }
  });
});
