/** Lanes of a store that is not written to. */
import { VarveError } from '../../base/errors.ts';
import { segmentBytesTarget } from '../../base/limits.ts';
import { SegmentLanes } from '../../chunk/segment-lanes.ts';
import type { Found } from './found.ts';

/** They only know the sealed segments. */
export function idleLanes({ env, loaded, segments }: Found): SegmentLanes {
  const refuse = (): never => {
    throw new VarveError('VARVE_READ_ONLY', 'the store is not open for writing');
  };
  return new SegmentLanes(
    {
      fs: env.fs,
      dbUuid: loaded.slot.dbUuid,
      random: env.random,
      takeFileNo: refuse,
      segments,
      segmentBytes: segmentBytesTarget,
      onOpened: refuse,
      onSealed: refuse,
      onFailed: refuse,
    },
    loaded.catalog.sealed,
  );
}
