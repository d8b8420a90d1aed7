/** Says in the log where copied chunks lie now: MOVE ops, in bounded commits. */
import type { Moves } from '../../chunk/moves.ts';
import type { ByteWriter } from '../../codec/byte-writer.ts';
import { chunkIdBytes } from '../../format/chunk-ref.ts';
import { putMove } from '../../format/log-ops.ts';
import type { GroupCommit } from '../../log/group-commit.ts';
import type { ChunkMemtable } from '../../tree/chunk-memtable.ts';
import { ChunkHit } from '../../tree/chunk-table-reader.ts';
import type { ChunkTree } from '../../tree/chunk-tree.ts';
import { MISS, OK } from '../../tree/cursor.ts';
import type { Forest } from '../../tree/forest.ts';
import { ToldChunks } from '../../tree/told-chunks.ts';
import type { TxnWriter } from '../../txn/txn-writer.ts';
import type { Checkpointer } from '../background/checkpointer.ts';
import type { WritePacer } from '../writing/write-pacer.ts';

/** MOVE ops of one commit, also while others commit, and what one takes in a frame, at most. */
const movesPerCommit = 512;
const movesBesideOthers = 128;
const moveBytes = 64;

export interface MoveOptions {
  readonly forest: Forest;
  readonly txn: TxnWriter;
  readonly log: GroupCommit;
  readonly pacer: WritePacer;
  readonly checkpointer: Checkpointer;
  /** Whether others commit. */
  readonly courtesy: { readonly isWanted: boolean };
}

/**
 * Logs the moves; the copies are on disk. Resolves when all of it is as durable as the mode says. What was
 * stored anew, moved or has died since its frame was found live is left as it is: `since` was the active
 * memtable when the scan began that found the frames, so where no checkpoint has taken it out of memory yet
 * only memory is asked. Errors as a commit.
 */
export async function logMoves(options: MoveOptions, moves: Moves, since: ChunkMemtable): Promise<void> {
  const { forest, txn, pacer, checkpointer } = options;
  const { chunks } = forest;
  const hit = new ChunkHit();
  // Neighbours in the index follow each other, so that a block of it is looked at once.
  const order = moves.byId();
  const count = options.courtesy.isWanted ? movesBesideOthers : movesPerCommit;
  for (let from = 0; from < order.length; from += count) {
    const batch = order.subarray(from, from + count);
    await pacer.wait();
    await whileFull(options);
    // Else read here, so that what is decided in one turn below finds its blocks in memory.
    if (!chunks.hasChangesSince(since)) {
      for (const i of batch) await chunks.findAsync(moves.ids, i * chunkIdBytes, hit);
    }
    const told = new ToldChunks(moves.ids);
    const encode = (writer: ByteWriter): void => {
      const isInMemory = chunks.hasChangesSince(since);
      for (const i of batch) {
        if (!isWhereItWas(chunks, moves, i, isInMemory, hit)) continue;
        const at = i * chunkIdBytes;
        putMove(writer, moves.ids, at, moves.toSegment(i), moves.toOff8(i), moves.storedLen(i));
        told.add(at, moves.rawLen(i), moves.kind(i));
      }
    };
    const committed = chunks.whileTold(told, () => txn.sequence(batch.length * moveBytes, encode));
    pacer.charge(batch.length * moveBytes);
    checkpointer.startIfDue();
    await committed.done;
  }
}

/** False for one stored anew meanwhile, and for a list node that has died: the newer state stands. */
function isWhereItWas(
  chunks: ChunkTree,
  moves: Moves,
  i: number,
  isInMemory: boolean,
  hit: ChunkHit,
): boolean {
  const at = i * chunkIdBytes;
  const step = isInMemory ? chunks.findInMemory(moves.ids, at, hit) : chunks.findSync(moves.ids, at, hit);
  if (step === MISS) return true;
  return step === OK && hit.segment === moves.fromSegment(i) && hit.off8 === moves.fromOff8(i);
}

async function whileFull(options: MoveOptions): Promise<void> {
  const { forest, checkpointer, log } = options;
  while (forest.full && checkpointer.running !== undefined) {
    await checkpointer.running.catch(() => undefined);
    if (log.failure !== undefined) throw log.failure;
  }
}
