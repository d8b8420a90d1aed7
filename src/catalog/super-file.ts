/** SUPER on disk: four slots read together, one slot written at a time. */
import { VarveError } from '../base/errors.ts';
import { superName } from '../format/file-names.ts';
import {
  decodeSuperSlot,
  encodeSuperSlot,
  type SuperSlot,
  slotBytes,
  slotCount,
  slotIndexOf,
} from '../format/superblock.ts';
import { hasErrno } from '../fs/dirs.ts';
import type { FsFile, FsPort } from '../fs/port.ts';

export interface ReadSlots {
  /** Valid slots by falling generation. */
  readonly slots: SuperSlot[];
  readonly problems: VarveError[];
}

/**
 * Reads every slot. Damaged ones are in `problems`. VARVE_NOT_FOUND without SUPER, VARVE_FORMAT_VERSION when
 * any slot is of a newer format: an older slot beside it must not be used.
 */
export async function readSlots(fs: FsPort): Promise<ReadSlots> {
  const file = await fs.open(superName, 'read').catch((error: unknown) => {
    if (!hasErrno(error, 'ENOENT')) throw error;
    throw new VarveError('VARVE_NOT_FOUND', `${fs.root}: no store here (no ${superName})`, {
      file: superName,
    });
  });
  try {
    return await slotsOf(file);
  } finally {
    await file.close();
  }
}

/** The same for a SUPER that is open. */
export async function slotsOf(file: FsFile): Promise<ReadSlots> {
  const bytes = new Uint8Array(slotCount * slotBytes);
  return slotsIn(bytes, await file.read(bytes, 0));
}

/** Highest generation of a valid slot, read on the calling thread; 0 without one. Errors as readSlots. */
export function newestGeneration(file: FsFile): number {
  const bytes = new Uint8Array(slotCount * slotBytes);
  return slotsIn(bytes, file.readSync(bytes, 0)).slots[0]?.generation ?? 0;
}

function slotsIn(bytes: Uint8Array, got: number): ReadSlots {
  const slots: SuperSlot[] = [];
  const problems: VarveError[] = [];
  for (let i = 0; i < slotCount; i++) {
    const from = i * slotBytes;
    try {
      slots.push(
        decodeSuperSlot(bytes.subarray(from, Math.min(from + slotBytes, Math.max(got, from))), i, superName),
      );
    } catch (error) {
      if (!(error instanceof VarveError) || error.code !== 'VARVE_CORRUPT') throw error;
      problems.push(error);
    }
  }
  slots.sort((a, b) => b.generation - a.generation);
  return { slots, problems };
}

/** Overwrites the slot that `slot.generation` belongs to and syncs: durable when it resolves. */
export async function writeSlot(file: FsFile, slot: SuperSlot): Promise<void> {
  await file.write(encodeSuperSlot(slot), slot.slotIndex * slotBytes);
  await file.sync();
}

/** `slot` with another generation, at the place that belongs to it. */
export function atGeneration(slot: SuperSlot, generation: number): SuperSlot {
  return { ...slot, generation, slotIndex: slotIndexOf(generation) };
}
