/** The superblock a repaired store goes on with. */
import { formatVersion } from '../format/file-header.ts';
import { checksumAlgos, idSchemes, type SuperSlot } from '../format/superblock.ts';
import type { FoundRoots } from './repair-roots.ts';
import type { RepairWork } from './repair-types.ts';

/** The slot to go on from, under a higher epoch; made of the defaults where none is left. */
export function nextSlot(
  { slot, dbUuid, catalog, writerEpoch: known }: FoundRoots,
  { clock, defaults, writerEpoch: locked }: Pick<RepairWork, 'clock' | 'defaults' | 'writerEpoch'>,
  logEpoch: number,
): SuperSlot {
  const writerEpoch = Math.max(known, locked, logEpoch) + 1;
  const writtenMs = clock.now();
  if (slot !== undefined) return { ...slot, writerEpoch, writtenMs };
  return {
    ...defaults,
    ...(catalog === undefined ? {} : { timelineId: catalog.timelineId }),
    dbUuid,
    formatVersion,
    slotIndex: 0,
    incompatFlags: 0,
    roCompatFlags: 0,
    compatFlags: 0,
    generation: catalog?.generation ?? 0,
    writerEpoch,
    catalogNo: 0,
    catalogChecksum: 0n,
    checkpointSeq: 0,
    walFirstNo: 0,
    cleanShutdown: false,
    checksumAlgo: checksumAlgos.xxh64,
    idScheme: idSchemes.sha256,
    writtenMs,
    previousCatalogNo: 0,
    previousCatalogChecksum: 0n,
  };
}
