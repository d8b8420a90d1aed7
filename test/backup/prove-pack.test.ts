import { describe, expect, test } from 'vitest';
import { MemoryBlobs } from '../../src/backup/memory-blobs.ts';
import { PackBuilder } from '../../src/backup/pack-builder.ts';
import { checkPack } from '../../src/backup/pack-check.ts';
import { provePack } from '../../src/backup/prove-pack.ts';
import { Prng } from '../../src/base/prng.ts';
import { writeChecksum } from '../../src/codec/checksum.ts';
import { chunkFrame } from '../../src/format/chunk-frame.ts';
import { chunkKinds } from '../../src/format/chunk-ref.ts';
import { encodeFileHeader } from '../../src/format/file-header.ts';
import { packName } from '../../src/format/vault-names.ts';
import { sha256, sha256Hex } from '../../src/kernels/hash/sha256.ts';
import { BufferRing } from '../../src/pool/buffer-ring.ts';
import type { HashThreads } from '../../src/pool/id-checker.ts';
import { Jobs } from '../../src/pool/jobs.ts';
import { bytesOf, TestClock } from '../engine/engine-kit.ts';
import { FakePool, type Faults } from '../pool/fake-pool.ts';

const vaultId = bytesOf(1, 16);
const salt = bytesOf(2, 12);

/** A pack of chunks of these lengths; `wrong`: a chunk whose frame names other bytes than it has. */
function packOf(lengths: readonly number[], wrong = -1) {
  const builder = new PackBuilder(vaultId, salt, 1 << 20);
  for (const [i, length] of lengths.entries()) {
    const bytes = bytesOf(100 + i, length);
    builder.addChunk(sha256(i === wrong ? bytesOf(999, 5) : bytes), bytes, chunkKinds.data);
  }
  return builder.finish();
}

function threadsOf(faults: Faults): HashThreads {
  const jobs = new Jobs({
    pool: new FakePool(3, new Prng(5), faults),
    clock: new TestClock(),
    onFailure: () => undefined,
  });
  return { jobs, ring: new BufferRing(2048, 3) };
}

/** The number of frames where the pack `hash` is proved to be whole in a vault with these bytes of it. */
async function proved(bytes: Uint8Array, hash: string, threads?: HashThreads): Promise<number | undefined> {
  const clock = new TestClock();
  const store = new MemoryBlobs([[packName(hash), bytes]]);
  const env = { store, vaultId, clock, random: (n: number) => new Uint8Array(n) };
  return (await provePack(env, { hash, size: bytes.length }, { threads }))?.count;
}

describe('the proof of a pack', () => {
  test('whatever bit is flipped, the pack is not proved', async () => {
    const { bytes, hash } = packOf([40, 0, 13, 100]);
    expect(await proved(bytes, hash)).toBe(4);
    for (let bit = 0; bit < bytes.length * 8; bit++) {
      const damaged = bytes.slice();
      damaged[bit >> 3]! ^= 1 << (bit & 7);
      expect(await proved(damaged, hash), `bit ${bit}`).toBeUndefined();
    }
  });

  test('packs are proved on threads and without, also where those die or lie', async () => {
    const prng = new Prng(4);
    for (const faults of [undefined, {}, { dies: 30 }, { lies: 30 }, { dies: 100 }]) {
      const lengths = Array.from({ length: 80 }, () => prng.below(900));
      const { bytes, hash } = packOf(lengths);
      const threads = faults === undefined ? undefined : threadsOf(faults);
      expect(await proved(bytes, hash, threads)).toBe(80);
      const damaged = bytes.slice();
      damaged[prng.below(bytes.length)]! ^= 16;
      expect(await proved(damaged, hash, threads)).toBeUndefined();
      expect(threads?.ring.out ?? 0).toBe(0);
      expect(threads?.ring.users ?? 0).toBe(0);
    }
  });

  test('neither a wrong id nor a change with its checksum is proved', async () => {
    const pack = packOf([40, 700, 13], 1);
    expect(await proved(pack.bytes, pack.hash)).toBeUndefined();
    const { bytes, hash } = packOf([40]);
    bytes[64 + chunkFrame.at.checksum]! ^= 1;
    expect(await proved(bytes, hash)).toBeUndefined();
    bytes[64 + chunkFrame.size]! ^= 1;
    writeChecksum(bytes, 64 + 8, 64 + 16, 64 + chunkFrame.size + 40);
    expect(await proved(bytes, hash)).toBeUndefined();
  });

  test('what is cut off or named by its bytes is left to the whole check', async () => {
    const { bytes, hash } = packOf([40, 3000]);
    expect(await proved(bytes.subarray(0, -8), hash)).toBeUndefined();
    expect(await proved(Uint8Array.from([...bytes, 0, 0]), hash)).toBeUndefined();
    expect(await proved(bytes, hash)).toBe(2);
    // Longer than a buffer.
    expect(await proved(bytes, hash, threadsOf({}))).toBe(2);
    const old = bytes.slice();
    old.set(encodeFileHeader({ kind: 'pack', subKind: 0, fileNo: 0, dbUuid: vaultId, salt }));
    expect(await proved(old, sha256Hex(old))).toBeUndefined();
    expect((await checkPack(old, sha256Hex(old), vaultId, { named: true })).faults).toEqual([]);
  });
});
