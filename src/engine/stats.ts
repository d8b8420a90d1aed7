/** Figures of a running engine, gathered when asked for. */

import { nameOfAlgorithm } from '../kernels/chunker/params.ts';
import type { ForestStats } from '../tree/forest.ts';
import type { LookupCounts } from '../tree/lookup-counts.ts';
import { spaceStats } from './cleaning/space-stats.ts';
import { purgeStats } from './purging/purge-stats.ts';
import type { Store } from './store.ts';
import type { Stats } from './types.ts';

const noMerges = { merges: 0, moves: 0, failures: 0, bytesRead: 0, bytesWritten: 0, rowsDropped: 0 };

function compactionStats(store: Store, levels: ForestStats['levels']): Stats['compaction'] {
  const { write } = store.parts;
  const { level0Tables, bytes } = write?.compactor.debt ?? { level0Tables: 0, bytes: 0 };
  const counters = write?.compactor.counters ?? noMerges;
  const flushed = write?.checkpointer.flushedBytes ?? 0;
  return {
    levels: { keys: levels.K, chunks: levels.C, indexes: levels.X, system: levels.S },
    running: write?.compactor.isRunning ?? false,
    level0Tables,
    debtBytes: bytes,
    ...counters,
    writeAmplification: flushed === 0 ? 1 : 1 + counters.bytesWritten / flushed,
    waitedMs: write?.pacer.waitedMs ?? 0,
  };
}

function rangeStats({ parts: { forest, write } }: Store): Stats['ranges'] {
  const { ranges, deletes } = write?.reaper.counters ?? { ranges: 0, deletes: 0 };
  const failures = write?.reaper.work.failures ?? 0;
  const running = write?.reaper.work.isRunning ?? false;
  return { pending: forest.ranges.count, running, done: ranges, deletes, failures };
}

function historyStats(store: Store): Stats['history'] {
  const { views, forest, visibleSeq } = store;
  const snapshots = forest.history.snapshotsAt(visibleSeq).length;
  return { views: views.count, oldestViewMs: views.oldestMs, snapshots, horizon: store.keepRule().horizon };
}

function changeStats({ logHistory, feeds }: Store): Stats['changes'] {
  const { files, bytes } = logHistory.kept;
  return { keptFiles: files, keptBytes: bytes, waiting: feeds.size };
}

function deathStats(store: Store): Pick<Stats, 'ranges' | 'purge'> {
  return { ranges: rangeStats(store), purge: purgeStats(store) };
}

/** Everything stats() tells; reads no file. */
export function statsOf(store: Store): Stats {
  const { parts } = store;
  const { options, identity, lanes, write } = parts;
  const forest = parts.forest.stats();
  const catalog = parts.catalog();
  const sealed = lanes.sealed();
  const open = parts.resting?.open ?? lanes.openBytes();
  const segmentBytes = sealed.reduce((sum, { size }) => sum + size, 0) + open.bytes;
  const logBytes = write?.checkpointer.logFile?.end ?? parts.resting?.logBytes ?? 0;
  const { counters } = parts.chunks;
  return {
    seq: store.visibleSeq,
    durableSeq: write?.log.durableSeq ?? parts.openedSeq,
    checkpointSeq: catalog.checkpointSeq,
    disk: {
      totalBytes: segmentBytes + forest.bytes + logBytes,
      segmentBytes,
      tableBytes: forest.bytes,
      logBytes,
    },
    log: { used: logBytes, budget: options.checkpointLogBytes },
    segments: {
      sealed: sealed.length,
      open: open.count,
      dataBytes: sealed.reduce((sum, { dataLen }) => sum + dataLen, 0) + open.dataBytes,
    },
    tables: {
      keys: forest.tables.K,
      chunks: forest.tables.C,
      indexes: forest.tables.X,
      system: forest.tables.S,
      entries: forest.entries,
      bytes: forest.bytes,
    },
    compaction: compactionStats(store, forest.levels),
    history: historyStats(store),
    ...deathStats(store),
    space: spaceStats(store),
    changes: changeStats(store),
    commits: { ...(write?.log.counters ?? { count: 0, groups: 0, syncs: 0, logBytes: 0 }) },
    chunks: { ...counters },
    lookups: { keys: { ...store.forest.keys.counts }, chunks: lookupsOf(store.forest.chunks.counts) },
    ingestedBytes: store.ingestedBytes,
    memory: memoryStats(store, forest),
    workers: parts.threads?.jobs.size ?? 0,
    threads: { tasks: 0, helped: 0, failures: 0, ...parts.threads?.jobs.counters },
    chunking: {
      algorithm: nameOfAlgorithm(identity.chunkerAlgo)!,
      min: identity.chunkMin,
      avg: identity.chunkAvg,
      max: identity.chunkMax,
    },
    durability: options.durability,
  };
}

function lookupsOf({ lookups, filters, tables }: LookupCounts): Omit<Stats['lookups']['keys'], 'remembered'> {
  return { lookups, filters, tables };
}

function memoryStats({ parts, forest: { keys } }: Store, forest: ForestStats): Stats['memory'] {
  const { options, write, locality, blockCache } = parts;
  const { memory } = options;
  return {
    memtable: { used: forest.memtableBytes, budget: memory.memtableBytes },
    blockCache: {
      used: blockCache.used,
      budget: blockCache.budget,
      hits: blockCache.hits,
      misses: blockCache.misses,
    },
    trailerCache: {
      used: locality.bytesUsed,
      budget: locality.bytesMax,
      hits: locality.hits,
      misses: locality.misses,
    },
    pendingCommits: { used: write?.log.pendingBytes ?? 0, budget: memory.pendingCommitBytes },
    foundRows: { used: keys.memo.bytes, budget: memory.foundRowBytes },
    tableFilters: { used: forest.filterBytes, budget: memory.tableFilterBytes },
    tableIndexes: { used: forest.indexBytes, budget: memory.tableIndexBytes },
  };
}
