/** What goes over all sources of the chunk tree: scans, and sums of one id. */
import type { ChunkColumns } from '../format/chunk-table.ts';
import type { ChunkCursor, ChunkSum, MergedChunks } from './chunk-cursor.ts';
import type { ChunkMemtable } from './chunk-memtable.ts';
import type { TakeEntries } from './chunk-stretches.ts';
import { ChunkHit, type ChunkTable } from './chunk-table-reader.ts';
import { END, MISS, OK } from './cursor.ts';
import type { MergeSlice } from './merge-slice.ts';
import type { MergedStretches } from './merged-stretches.ts';

/** Entries between two looks at the clock: well under 1 ms. */
const entriesPerLook = 2048;

/** One id at one moment. */
export interface ChunkProbe {
  readonly id: Uint8Array;
  /** References added up, and the newest location. */
  readonly columns: ChunkColumns;
  /** The memtable that took changes then, and what it said. */
  readonly memtable: ChunkMemtable;
  readonly partRefs: number;
  readonly partFlags: number;
}

/** Visits every entry; it is borrowed until `visit` returns, or its promise settles. */
export async function visitAll(
  merged: MergedChunks,
  visit: (entry: ChunkCursor) => void | Promise<void>,
): Promise<void> {
  for (;;) {
    const step = merged.next();
    if (step === END) return;
    if (step === MISS) await merged.load();
    else {
      const waiting = visit(merged);
      if (waiting !== undefined) await waiting;
    }
  }
}

/** Gives every entry to `take`, many at a time, and lets others run as `slice` says. */
export async function visitStretches(
  merged: MergedStretches,
  take: TakeEntries,
  slice: MergeSlice,
): Promise<void> {
  for (;;) {
    const step = merged.run(entriesPerLook, take);
    if (step === MISS) await merged.load();
    if (slice.isLate()) await slice.rest();
    if (step === END) return;
  }
}

/** Adds what each of the tables has of an id (borrowed until it settles). */
export async function addParts(sum: ChunkSum, tables: readonly ChunkTable[], id: Uint8Array): Promise<void> {
  const hit = new ChunkHit();
  for (const table of tables) {
    let asked = table.ask(id, 0, hit.pending);
    for (; asked === MISS; asked = table.ask(id, 0, hit.pending)) await hit.pending.load();
    if (asked === END) continue;
    let step = table.find(id, 0, hit);
    for (; step === MISS; step = table.find(id, 0, hit)) await hit.pending.load();
    hit.pending.clear();
    if (step === OK) sum.add(hit);
  }
}
