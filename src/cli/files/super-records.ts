/** SUPER and LOCK, record by record. */
import { isZero } from '../../base/bytes.ts';
import { decodeSuperSlot, slotBytes, slotCount, superSlot } from '../../format/superblock.ts';
import { decodeLockRecord, lockRecordBytes } from '../../fs/lock-record.ts';
import type { FsFile } from '../../fs/port.ts';
import { damageRecord, type Emit, faultOf, layoutRecord, readUpTo } from './file-record.ts';

/** Emits every slot that was ever written. */
export async function superRecords(file: FsFile, emit: Emit): Promise<void> {
  const bytes = await readUpTo(file, 0, slotBytes * slotCount);
  let written = 0;
  for (let i = 0; i < slotCount; i++) {
    const offset = i * slotBytes;
    const slot = bytes.subarray(offset, offset + slotBytes);
    if (isZero(slot)) continue;
    written++;
    const error = faultOf(() => decodeSuperSlot(slot, i, file.path));
    await emit(layoutRecord(superSlot, slot, 0, offset, error));
  }
  if (written === 0)
    await emit({ offset: 0, what: 'superblock', fields: {}, error: 'no slot was ever written' });
}

/** Emits the owner record, if there ever was one. */
export async function lockRecords(file: FsFile, emit: Emit): Promise<void> {
  const bytes = await readUpTo(file, 0, lockRecordBytes);
  try {
    const owner = decodeLockRecord(bytes, file.path);
    if (owner !== null) await emit({ offset: 0, what: 'lock owner', fields: { ...owner } });
  } catch (error) {
    await emit(damageRecord('lock owner', 0, error));
  }
}
