/** Figures of space: what is live, what is garbage, and what holds it. Reads no file. */
import type { FileNo } from '../../base/brands.ts';
import type { Store } from '../store.ts';
import type { PinnedSpace, SpaceStats } from './space-types.ts';

/** Garbage that cannot go now. `busy`: segments that puts under way hold. */
export function pinnedSpace({ parts }: Store, busy: readonly FileNo[]): PinnedSpace[] {
  const { write, lanes } = parts;
  if (write === undefined) return [];
  const { cleaner } = write;
  const live = cleaner.measured?.liveness.live;
  const garbageOf = (isIt: (no: FileNo) => boolean): number =>
    lanes
      .sealed()
      .filter(({ no }) => isIt(no) && !cleaner.leaving.has(no))
      .reduce((sum, { no, dataLen }) => sum + Math.max(0, dataLen - (live?.get(no) ?? 0)), 0);
  const { reads, checkpoint } = cleaner.leaving.bytes;
  const all: PinnedSpace[] = [
    { by: 'reads', bytes: reads },
    { by: 'checkpoint', bytes: checkpoint },
    { by: 'writes', bytes: garbageOf((no) => busy.includes(no)) },
    { by: 'damage', bytes: live === undefined ? 0 : garbageOf((no) => cleaner.isDamaged(no)) },
  ];
  return all.filter(({ bytes }) => bytes > 0);
}

/** The part of stats() about space. */
export function spaceStats(store: Store): SpaceStats {
  const { parts, forest } = store;
  const { lanes, write, resting, chunks } = parts;
  const open = resting?.open ?? lanes.openBytes();
  const sealed = lanes.sealed();
  const dataBytes = sealed.reduce((sum, { dataLen }) => sum + dataLen, 0) + open.dataBytes;
  const cleaner = write?.cleaner;
  const measured = cleaner?.measured;
  const counters = cleaner?.counters;
  const liveBytes = Math.min(dataBytes, measured?.liveness.liveBytes ?? 0);
  const deadBytes = measured === undefined ? 0 : dataBytes - liveBytes;
  const mean =
    measured === undefined || measured.liveness.liveFrames === 0
      ? 0
      : measured.liveness.liveBytes / measured.liveness.liveFrames;
  const since = forest.chunks.released * mean + chunks.guard.abandonedBytes;
  return {
    dataBytes,
    liveBytes,
    deadBytes,
    measuredSeq: measured?.atSeq ?? 0,
    reclaimableBytes: Math.min(dataBytes, Math.round(deadBytes + since)),
    pinned: pinnedSpace(store, []),
    ...(store.companions.held.last === undefined ? {} : { held: store.companions.held.last }),
    segments: {
      open: open.count,
      sealed: sealed.length,
      leaving: cleaner?.leaving.count ?? 0,
      damaged: cleaner === undefined ? 0 : sealed.filter(({ no }) => cleaner.isDamaged(no)).length,
    },
    cleaning: {
      running: write?.cleaning.work.isRunning ?? false,
      paused: cleaner?.gate.isPaused ?? false,
      cycles: counters?.cycles ?? 0,
      copiedBytes: counters?.copiedBytes ?? 0,
      removedSegments: counters?.removed ?? 0,
      removedBytes: counters?.removedBytes ?? 0,
      failures: counters?.failures ?? 0,
    },
  };
}
