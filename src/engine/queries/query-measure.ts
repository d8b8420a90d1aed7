/** How many rows the sources of a query hold, as far as it matters to choose between them. */
import { compareBytes } from '../../base/bytes.ts';
import { queryProbeRowsMax } from '../../base/limits.ts';
import type { Measured, Source } from '../../secondary/query-planner.ts';
import { type KeyCursor, OK, settle } from '../../tree/cursor.ts';
import type { KeyTree } from '../../tree/key-tree.ts';
import type { TreeView } from '../../tree/tree-view.ts';
import type { Store } from '../store.ts';
import type { RowRange } from './query-rows.ts';

/** Rows counted of every source before the first look at the result; doubled after each. */
const firstRound = 64;

interface Probe {
  readonly source: Source;
  readonly tree: KeyTree;
  readonly range: RowRange;
  readonly view: TreeView;
  readonly cursor: KeyCursor;
  rows: number;
  isOver: boolean;
}

/**
 * Counts rows of all sources side by side until one is at its end, or the bound is reached: its count is then
 * exact (of rows in the tree, superseded ones included), those of the others are estimates above it.
 */
export async function measureSources(
  store: Store,
  sources: readonly Source[],
  rangeOf: (source: Source) => RowRange,
): Promise<Measured[]> {
  const { keys, indexes } = store.forest;
  const probes: Probe[] = sources.map((source) => {
    const tree = source.index === undefined ? keys : indexes;
    const view = store.openView(tree);
    return { source, tree, range: rangeOf(source), view, cursor: view.cursor(), rows: 0, isOver: false };
  });
  try {
    let round = firstRound;
    do {
      for (const probe of probes) await count(probe, round);
      round *= 2;
    } while (round <= queryProbeRowsMax && !probes.some(({ isOver }) => isOver));
    return probes.map((probe) => ({ ...probe.source, rows: probe.isOver ? probe.rows : atLeast(probe) }));
  } finally {
    for (const { view } of probes) store.closeView(view);
  }
}

async function count(probe: Probe, upTo: number): Promise<void> {
  const { cursor, range } = probe;
  while (!probe.isOver && probe.rows < upTo) {
    const isFirst = probe.rows === 0;
    const step = await settle(cursor, () => (isFirst ? cursor.seek(range.from) : cursor.next()));
    const key = step === OK ? cursor.keyBytes.subarray(cursor.keyFrom, cursor.keyTo) : undefined;
    if (key === undefined || (range.to !== undefined && compareBytes(key, range.to) >= 0))
      probe.isOver = true;
    else probe.rows++;
  }
}

/** More than was counted: the share of each table that the range takes of its keys. */
function atLeast({ tree, range, rows }: Probe): number {
  let sum = 0;
  for (const { meta } of tree.tables) sum += meta.entries * share(range, meta.minKey, meta.maxKey);
  for (const { entries } of [tree.active, ...tree.frozen]) sum += entries;
  return Math.max(rows + 1, Math.round(sum));
}

/** Part of the keys between `min` and `max` that lie in the range, were they spread evenly. */
function share({ from, to }: RowRange, min: Uint8Array, max: Uint8Array): number {
  if (compareBytes(from, max) > 0 || (to !== undefined && compareBytes(to, min) <= 0)) return 0;
  let same = 0;
  while (same < min.length && same < max.length && min[same] === max[same]) same++;
  const low = at(min, same);
  const width = at(max, same) - low;
  if (width <= 0) return 1;
  const begin = compareBytes(from, min) <= 0 ? 0 : (at(from, same) - low) / width;
  const end = to === undefined || compareBytes(to, max) > 0 ? 1 : (at(to, same) - low) / width;
  return Math.min(1, Math.max(0, end - begin));
}

/** The six bytes from `i` on as a number. */
function at(key: Uint8Array, i: number): number {
  let value = 0;
  for (let n = 0; n < 6; n++) value = value * 256 + (key[i + n] ?? 0);
  return value;
}
