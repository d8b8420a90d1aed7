/** What chunks cost beside their bytes, from the sizes of the format. */
import { chunkFrame } from '../format/chunk-frame.ts';
import { chunkEntry } from '../format/chunk-table.ts';
import { listNodeEntry } from '../format/list-node.ts';
import { trailerEntry } from '../format/segment.ts';

/** Head of a chunk's frame. */
export const frameHeaderBytes: number = chunkFrame.size;
/** Frames are padded to 8: half of that in the mean. */
const paddingBytes = 4;
/** Bits of filter for each chunk. */
const filterBits = 14;
/** Entries of one block of the chunk index, of which four bytes stay in memory. */
const entriesPerBlock = 72;

/** Bytes that `chunks` references to `unique` stored chunks take in a store beside the chunks themselves. */
export function overheadOf(chunks: number, unique: number): number {
  const each = frameHeaderBytes + paddingBytes + trailerEntry.size + chunkEntry.size;
  return unique * each + chunks * listNodeEntry.size;
}

/** Resident bytes of filters and index for 10^12 stored bytes in chunks of `storedMean` bytes. */
export function memoryPerTB(storedMean: number): number {
  const chunks = 1e12 / storedMean;
  return Math.round(chunks * (filterBits / 8 + 4 / entriesPerBlock));
}
