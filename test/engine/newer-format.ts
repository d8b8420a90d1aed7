/** A superblock as a later version would write it. */
import { viewOf } from '../../src/base/bytes.ts';
import { xxh64 } from '../../src/codec/checksum.ts';
import { slotBytes, slotCount, superSlot } from '../../src/format/superblock.ts';

/** Every slot says a format version that nobody knows yet, with a checksum that holds. */
export function newerSuper(bytes: Uint8Array): Uint8Array {
  for (let slot = 0; slot < slotCount; slot++) {
    const one = bytes.subarray(slot * slotBytes, (slot + 1) * slotBytes);
    viewOf(one).setUint16(superSlot.at.formatVersion, 0xff00, true);
    const { checksum } = superSlot.at;
    viewOf(one).setBigUint64(checksum, xxh64(one.subarray(0, checksum), BigInt(slot)), true);
  }
  return bytes;
}
