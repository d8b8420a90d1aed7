/** Lookups of many ids in one chunk table: each block is read once, several at a time. */
import { chunkIdBytes } from '../format/chunk-ref.ts';
import { BlockHold } from './block-hold.ts';
import { ChunkHit, type ChunkTable } from './chunk-table-reader.ts';
import { MISS, OK, type Step } from './cursor.ts';

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
  // Pieces of the filter, and the index, stay until the batch is over.
  const hold = new BlockHold();
  const prefixes = table.prefixes.cached(0) ?? (await table.prefixes.loadBlock(0));
  for (const i of wanted) {
    const idAt = i * chunkIdBytes;
    if (!table.covers(ids, idAt)) continue;
    let step: Step = table.ask(ids, idAt, hold);
    for (; step === MISS; step = table.ask(ids, idAt, hold)) await hold.load();
    if (step === OK) want(prefixes.blockFor(ids, idAt), i);
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
        const position = table.positionIn(prefixes, block, number, ids, i * chunkIdBytes);
        if (position === -2) want(number - 1, i);
        if (position < 0) continue;
        hit.read(block, position);
        found(i, hit);
      }
    }
  }
}
