/** Lookups of many ids in one chunk table: each block is read once, several at a time. */
import { chunkIdBytes } from '../format/chunk-ref.ts';
import { ChunkHit, type ChunkTable } from './chunk-table-reader.ts';

/** Blocks read at the same time. */
const readsMax = 16;

/**
 * Calls `found(i, entry)` for each number i in `wanted` whose id, at ids[32 * i ..], has an entry in the
 * table (entry borrowed for the call). The table is held by the caller. VARVE_CORRUPT, VARVE_IO.
 */
export async function findManyIn(
  table: ChunkTable,
  ids: Uint8Array,
  wanted: readonly number[],
  found: (i: number, entry: ChunkHit) => void,
): Promise<void> {
  const hit = new ChunkHit();
  const blockOf = new Map<number, number[]>();
  const want = (block: number, i: number): void => {
    if (block < 0) return;
    const sharers = blockOf.get(block);
    if (sharers === undefined) blockOf.set(block, [i]);
    else sharers.push(i);
  };
  for (const i of wanted) {
    if (!table.covers(ids, i * chunkIdBytes)) continue;
    if (table.mayContain(ids, i * chunkIdBytes)) want(table.blockFor(ids, i * chunkIdBytes), i);
  }
  while (blockOf.size > 0) {
    const numbers = [...blockOf.keys()].sort((a, b) => a - b).slice(0, readsMax);
    const blocks = await Promise.all(
      numbers.map((number) => table.cached(number) ?? table.loadBlock(number)),
    );
    for (const [at, number] of numbers.entries()) {
      const sharers = blockOf.get(number)!;
      blockOf.delete(number);
      const block = blocks[at]!;
      for (const i of sharers) {
        const position = table.positionIn(block, number, ids, i * chunkIdBytes);
        if (position === -2) want(number - 1, i);
        if (position < 0) continue;
        hit.read(block, position);
        found(i, hit);
      }
    }
  }
}
