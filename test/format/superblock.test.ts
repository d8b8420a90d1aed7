import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { toHex, viewOf } from '../../src/base/bytes.ts';
import { writeChecksum } from '../../src/codec/checksum.ts';
import { formatLadder, knowsVersion, unknownFlags } from '../../src/format/format-ladder.ts';
import {
  decodeSuperSlot,
  encodeSuperSlot,
  type SuperSlot,
  slotBytes,
  superSlot,
} from '../../src/format/superblock.ts';

const slot: SuperSlot = {
  formatVersion: 0x0100,
  slotIndex: 2,
  incompatFlags: 0,
  roCompatFlags: 0,
  compatFlags: 0,
  generation: 6,
  dbUuid: Uint8Array.from({ length: 16 }, (_, i) => i),
  writerEpoch: 3,
  catalogNo: 9,
  catalogChecksum: 0x1122_3344_5566_7788n,
  checkpointSeq: 100,
  walFirstNo: 8,
  timelineId: 1,
  cleanShutdown: true,
  checksumAlgo: 1,
  idScheme: 1,
  chunkerAlgo: 2,
  chunkMin: 4096,
  chunkAvg: 16_384,
  chunkMax: 65_536,
  inlineMax: 1024,
  segTarget: 67_108_864,
  createdMs: 1_700_000_000_000,
  writtenMs: 1_700_000_000_001,
  chunkerNormalPoint: 11,
  chunkerStrict: 12,
  chunkerLoose: 13,
  chunkerKeyCheck: 14n,
  previousCatalogNo: 7,
  previousCatalogChecksum: 15n,
};

/** Changes bytes of an encoded slot and makes its checksum right again. */
function forged(change: (bytes: Uint8Array, view: DataView) => void): Uint8Array {
  const bytes = encodeSuperSlot(slot);
  change(bytes, viewOf(bytes));
  writeChecksum(bytes, superSlot.at.checksum, 0, superSlot.at.checksum, BigInt(slot.slotIndex));
  return bytes;
}

describe('superblock slot', () => {
  test('has the bytes that version 1.0 wrote', () => {
    const bytes = encodeSuperSlot(slot);
    expect(toHex(bytes.subarray(0, 216))).toBe(goldenHead);
    expect(toHex(bytes.subarray(4088))).toBe(goldenChecksum);
  });

  test('decodes to what was encoded', () => {
    expect(decodeSuperSlot(encodeSuperSlot(slot), 2, 'SUPER')).toEqual(slot);
    fc.assert(
      fc.property(
        fc.integer({ min: 0, max: 2 ** 50 }),
        fc.maxSafeNat(),
        fc.bigInt(0n, 2n ** 64n - 1n),
        (generation, epoch, checksum) => {
          const each = {
            ...slot,
            generation,
            slotIndex: generation % 4,
            writerEpoch: epoch,
            catalogChecksum: checksum,
          };
          expect(decodeSuperSlot(encodeSuperSlot(each), generation % 4, 'SUPER')).toEqual(each);
        },
      ),
    );
  });

  test('any flipped bit is found', () => {
    const bytes = encodeSuperSlot(slot);
    const { reserved, checksum } = superSlot.at;
    for (
      let bit = 0;
      bit < bytes.length * 8;
      bit += bit >= reserved * 8 && bit < checksum * 8 - 61 ? 61 : 1
    ) {
      bytes[bit >> 3]! ^= 1 << (bit & 7);
      try {
        decodeSuperSlot(bytes, 2, 'SUPER');
        expect.fail(`bit ${bit}`);
      } catch (error) {
        expect((error as { code: string }).code).toBe('VARVE_CORRUPT');
      }
      bytes[bit >> 3]! ^= 1 << (bit & 7);
    }
  });

  test('a slot at another place, of another generation or cut off is corrupt, with file and offset', () => {
    const bytes = encodeSuperSlot(slot);
    for (const [given, index] of [
      [bytes, 1],
      [bytes.subarray(0, 100), 2],
      [
        forged((b) => {
          b[superSlot.at.generation] = 7;
        }),
        2,
      ],
      [
        forged((b) => {
          b[superSlot.at.cleanShutdown] = 2;
        }),
        2,
      ],
      [
        forged((b) => {
          b[3000] = 1;
        }),
        2,
      ],
    ] as const) {
      expect(() => decodeSuperSlot(given, index, 'SUPER')).toThrow(
        expect.objectContaining({
          code: 'VARVE_CORRUPT',
          file: 'SUPER',
          offset: expect.toSatisfy((at: number) => at >= index * slotBytes),
        }),
      );
    }
  });

  test('a newer format, unknown features and encryption are refused by their own code', () => {
    const cases = [
      forged((_, view) => view.setUint16(superSlot.at.formatVersion, 0x0200, true)),
      forged((_, view) => view.setUint32(superSlot.at.incompatFlags, 1, true)),
      forged((b) => {
        b[superSlot.at.keysGen] = 1;
      }),
      forged((b) => {
        b[superSlot.at.keysHash + 31] = 1;
      }),
      forged((b) => {
        b[superSlot.at.checksumAlgo] = 2;
      }),
      forged((b) => {
        b[superSlot.at.idScheme] = 2;
      }),
    ];
    for (const bytes of cases)
      expect(() => decodeSuperSlot(bytes, 2, 'SUPER')).toThrow(
        expect.objectContaining({ code: 'VARVE_FORMAT_VERSION' }),
      );
  });

  test('unknown features that only forbid writing are left to the caller', () => {
    const bytes = forged((_, view) => view.setUint32(superSlot.at.roCompatFlags, 0x8000_0000, true));
    const { roCompatFlags } = decodeSuperSlot(bytes, 2, 'SUPER');
    expect(unknownFlags(roCompatFlags, [])).toBe(0x8000_0000);
    expect(unknownFlags(3, [{ bit: 1, name: 'one', summary: '' }])).toBe(2);
  });

  test('the ladder knows every minor version of its major ones and no other', () => {
    expect(knowsVersion(formatLadder.at(-1)!.version)).toBe(true);
    expect(knowsVersion(0x0105)).toBe(true);
    expect(knowsVersion(0x0000)).toBe(false);
    expect(knowsVersion(0x0200)).toBe(false);
  });
});

const goldenHead = [
  '895652550d0a1a0a000102000000000000000000000000000600000000000000000102030405060708090a0b0c0d0e0f',
  '030000000000000009000000000000008877665544332211640000000000000008000000000000000100000000000000',
  '00000000000000000101010200100000004000000000010000040000000000040068e5cf8b0100000168e5cf8b010000',
  '00000000000000000000000000000000000000000000000000000000000000000b0000000c0000000d00000000000000',
  '0e0000000000000007000000000000000f00000000000000',
].join('');
const goldenChecksum = '966093a1e2b16379';
