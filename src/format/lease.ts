/**
 * A reader's lease: `readers/<nonce>.lease`, rewritten in place by a process that reads beside a writer.
 * Files that a state from `generation` on needs stay as long as the lease is rewritten, up to a bound.
 */
import { equalBytes } from '../base/bytes.ts';
import { checksumMatches, writeChecksum } from '../codec/checksum.ts';
import { decodeLayout, defineLayout, encodeLayout, f } from '../codec/layout.ts';
import { magicOf } from './file-header.ts';

const leaseMagic = magicOf(0x4c);

export const leaseRecord = defineLayout('lease', "a reader's lease", 64, {
  magic: f(0, 8, "89 'V' 'R' 'L' 0D 0A 1A 0A. guards: not our file"),
  dbUuid: f(8, 16, 'identity of the store; zero until the reader has opened it'),
  generation: f(24, 'u64', 'of the superblock slot by which the oldest state in use was opened; 0 = opening'),
  beats: f(32, 'u64', 'rises with every rewrite. guards: a reader that is dead'),
  reserved: f(40, 16, 'zero'),
  checksum: f(56, 'hash64', 'xxh64(0; bytes 0 to 55). guards: torn write'),
});

export interface Lease {
  readonly dbUuid: Uint8Array;
  readonly generation: number;
  readonly beats: number;
}

/** The 64 bytes of a lease, a new buffer. */
export function encodeLease({ dbUuid, generation, beats }: Lease): Uint8Array {
  const out = new Uint8Array(leaseRecord.size);
  encodeLayout(leaseRecord, { magic: leaseMagic, dbUuid, generation, beats, checksum: 0n }, out);
  writeChecksum(out, leaseRecord.at.checksum, 0, leaseRecord.at.checksum);
  return out;
}

/** Undefined where the bytes (borrowed) are none, or torn: nobody knows then what the reader needs. */
export function decodeLease(bytes: Uint8Array, file: string): Lease | undefined {
  if (bytes.length !== leaseRecord.size) return undefined;
  if (!equalBytes(bytes.subarray(0, leaseMagic.length), leaseMagic)) return undefined;
  if (!checksumMatches(bytes, leaseRecord.at.checksum, 0, leaseRecord.at.checksum)) return undefined;
  const { dbUuid, generation, beats } = decodeLayout(leaseRecord, bytes, 0, { file });
  return { dbUuid, generation, beats };
}
