/** Says in the log where copied chunks lie now: MOVE ops, in bounded commits. */
import type { Moves } from '../../chunk/clean-copy.ts';
import { chunkIdBytes } from '../../format/chunk-ref.ts';
import { putMove } from '../../format/log-ops.ts';
import type { GroupCommit } from '../../log/group-commit.ts';
import { ChunkHit } from '../../tree/chunk-table-reader.ts';
import { OK } from '../../tree/cursor.ts';
import type { Forest } from '../../tree/forest.ts';
import type { TxnWriter } from '../../txn/txn-writer.ts';
import type { Checkpointer } from '../background/checkpointer.ts';
import type { WritePacer } from '../writing/write-pacer.ts';

/** MOVE ops of one commit, and what one takes in a frame, at most. */
const movesPerCommit = 512;
const moveBytes = 64;

export interface MoveOptions {
  readonly forest: Forest;
  readonly txn: TxnWriter;
  readonly log: GroupCommit;
  readonly pacer: WritePacer;
  readonly checkpointer: Checkpointer;
}

/**
 * Logs the moves; the copies are on disk. Resolves when all of it is as durable as the mode says. What was
 * stored anew, moved or has died since its frame was found live is left as it is. Errors as a commit.
 */
export async function logMoves(options: MoveOptions, moves: Moves): Promise<void> {
  const { forest, txn, pacer, checkpointer } = options;
  const hit = new ChunkHit();
  for (let from = 0; from < moves.count; from += movesPerCommit) {
    const to = Math.min(moves.count, from + movesPerCommit);
    await pacer.wait();
    await whileFull(options);
    // Read here, so that what is decided in one turn below finds its blocks in memory.
    for (let i = from; i < to; i++) await forest.chunks.findAsync(moves.ids, i * chunkIdBytes, hit);
    const committed = txn.sequence((to - from) * moveBytes, (writer) => {
      for (let i = from; i < to; i++) {
        const at = i * chunkIdBytes;
        // Stored anew meanwhile, or a list node that has died: the newer state stands.
        if (forest.chunks.findSync(moves.ids, at, hit) !== OK) continue;
        if (hit.segment !== moves.fromSegment(i) || hit.off8 !== moves.fromOff8(i)) continue;
        putMove(writer, moves.ids, at, moves.toSegment(i), moves.toOff8(i), moves.storedLen(i));
      }
    });
    pacer.charge((to - from) * moveBytes);
    checkpointer.startIfDue();
    await committed.done;
  }
}

async function whileFull(options: MoveOptions): Promise<void> {
  const { forest, checkpointer, log } = options;
  while (forest.full && checkpointer.running !== undefined) {
    await checkpointer.running.catch(() => undefined);
    if (log.failure !== undefined) throw log.failure;
  }
}
