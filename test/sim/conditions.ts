/** What each life of a simulation opens with, and what calm asks of it. */

import type { OpenBounds } from '../../src/engine/open-bounds.ts';
import type { EngineOptions } from '../../src/engine/options.ts';
import { bulkWrites } from '../segment/support.ts';
import type { SimOp, SimOptions } from './plan.ts';

/** Longer than anything that hangs: a rival that is slow to let go makes the next open wait, not fail. */
const lockWaitMs = 3_600_000;

/** Options of the engine in life `number`, counted from 1. */
export function engineOptionsOf(options: SimOptions, number: number): EngineOptions {
  const [min, avg, max] = options.chunkSizes;
  return {
    durability: number % 2 === 1 ? options.durability : options.durability2,
    chunking: { algorithm: options.algorithm, min, avg, max },
    inlineMax: options.inlineMax,
    keyEncoding: options.keyEncoding,
    lockWaitMs,
    // Logs kept for feeds are files that no catalog names.
    changesRetention: { bytes: 0 },
    memory: {
      memtableBytes: options.memtableBytes,
      blockCacheBytes: options.blockCacheBytes,
      trailerCacheBytes: options.trailerCacheBytes,
      pendingCommitBytes: options.pendingCommitBytes,
    },
  };
}

/** When merges are due and how large they are; 'always' leaves as few rows together as it can. */
const merging: { readonly [K in SimOptions['merging']]: NonNullable<OpenBounds['compaction']> } = {
  off: 'off',
  usual: {},
  eager: {
    level0Tables: 2,
    tableBytes: 4096,
    level1Bytes: 16_384,
    levelRatio: 2,
    jobBytes: 65_536,
    tombstonesMin: 1,
  },
  always: {
    level0Tables: 1,
    tableBytes: 1024,
    level1Bytes: 2048,
    levelRatio: 2,
    jobBytes: 4096,
    tombstonesMin: 1,
  },
};

/** What a step of the reaper does, at most. */
const reaping: { readonly [K in NonNullable<SimOptions['reaping']>]: NonNullable<OpenBounds['reaping']> } = {
  usual: {},
  small: { rows: 6, deletes: 3, bytes: 400 },
  least: { rows: 1, deletes: 1, bytes: 1 },
};

/** Bounds of the engine that are no public options. */
export function boundsOf(options: SimOptions): OpenBounds {
  return {
    segmentBytes: options.segmentBytes,
    stageBirthsMax: options.stageBirths,
    compaction: merging[options.merging],
    reaping: reaping[options.reaping ?? 'usual'],
    // Segments of one size are written in blocks.
    ...(options.segmentBytes === 16_384 ? { bulk: bulkWrites(2000, 4096) } : {}),
    threads: { bytesMin: 2000, bufferBytes: 4 * options.chunkSizes[2], buffers: 3 },
  };
}

/** Calls of each kind that must all succeed, by client. */
export function callsInCalm(): SimOp[][] {
  const key = '61';
  const about = { space: '', key };
  const value = { seed: 77, length: 9000 };
  return [
    [{ kind: 'put', ...about, value }, { kind: 'get', ...about }, { kind: 'flush' }],
    [
      { kind: 'stream', ...about, value: { seed: 78, length: 20_000 }, pieces: 3 },
      { kind: 'delete', ...about },
      { kind: 'put', space: 'calm', key, value },
      { kind: 'clear', space: 'calm' },
      { kind: 'drop', space: 'calm' },
    ],
    [
      { kind: 'batch', space: '', changes: [{ key: '62', value }] },
      { kind: 'deleteRange', space: '', bounds: { gte: '62' } },
      { kind: 'scan', space: '', scan: {}, entries: 0 },
      { kind: 'index', name: 'calls', wait: true },
      { kind: 'query', query: { index: 'calls', bounds: {} } },
      { kind: 'verify', level: 'full' },
      { kind: 'reader', space: '', keys: [key] },
    ],
  ];
}
