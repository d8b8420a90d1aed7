/**
 * The log a writer begins with. One that found something to repeat or to name makes its first file in the
 * open; one that found a store at rest makes it with its first frame, so that who only reads makes none.
 *
 * Invariants (test/engine/at-rest.test.ts)
 * - The first file is durable, name included, before the first frame is written to it.
 * - On a full disk it may take the space that is set aside, as an open may.
 */
import type { Seq } from '../../base/brands.ts';
import type { CatalogStore } from '../../catalog/catalog-store.ts';
import { durabilityCodes } from '../../format/log-ops.ts';
import type { Durability } from '../../log/group-options.ts';
import type { LogEnd, LogTurn } from '../../log/log-history.ts';
import { LogWriter, type NewLog } from '../../log/log-writer.ts';
import { withReserve } from '../cleaning/reserve.ts';
import type { Found } from './found.ts';
import { repeatedFrames } from './repeated-frames.ts';
import type { Rescued } from './rescue.ts';

/** How the log of this writer goes on from the one that was found. */
export interface LogBeginning {
  /** Undefined: the file is still to be made, by `delayedLog`. */
  readonly made: { readonly log: LogWriter; readonly turn: LogTurn } | undefined;
  readonly before: LogEnd;
  /** Last number taken, that of the first file's OPEN frame included where it is made. */
  readonly lastSeq: Seq;
  readonly timeMs: number;
}

/** A beginning whose file is made. */
export interface FirstLog extends LogBeginning {
  readonly made: { readonly log: LogWriter; readonly turn: LogTurn };
  /** Last number before the OPEN frame of the file. */
  readonly checkpointSeq: Seq;
}

/** The first file: it repeats what older files cannot prove to be on disk. */
export async function firstLog(
  found: Found,
  catalogs: CatalogStore,
  moved: Rescued['moved'],
): Promise<FirstLog> {
  const { env, chain, replayed } = found;
  const resume = chain.resume(replayed.frames);
  const { prevFileNo, prevEndOffset, prevLastSeq, lastSeq, tailFrom, tailTo } = resume;
  const before = { prevFileNo, prevEndOffset, prevLastSeq };
  const openSeq = lastSeq + 1;
  const timeMs = Math.max(env.clock.now(), chain.lastTimeMs);
  // The file is on disk when it is made, but an unproven frame may name chunks that are not: where the copy
  // of a segment differs, it keeps the old place.
  const isProven = tailTo === tailFrom || !chain.isUnproven(chain.frames.at(tailTo - 1));
  const log = await create(found, catalogs, before, {
    tail: repeatedFrames(chain.tail(tailFrom, tailTo), moved),
    openSeq,
    commitTimeMs: timeMs,
    durableSeq: isProven ? lastSeq : Math.max(chain.durableSeq, prevLastSeq),
  });
  const turn = { no: log.no, openSeq, ...before };
  return { made: { log, turn }, before, lastSeq: openSeq, timeMs, checkpointSeq: lastSeq };
}

/** The beginning over a store at rest: there is nothing to repeat, and no file yet. */
export function restingLog({ env, chain }: Found): LogBeginning {
  const { prevFileNo, prevEndOffset, prevLastSeq, lastSeq } = chain.resume();
  const before = { prevFileNo, prevEndOffset, prevLastSeq };
  return { made: undefined, before, lastSeq, timeMs: Math.max(env.clock.now(), chain.lastTimeMs) };
}

/** A file that follows `before` and repeats nothing; durable when it resolves. Errors as LogWriter.create. */
export function followingLog(
  found: Pick<Found, 'env' | 'options'>,
  catalogs: CatalogStore,
  before: LogEnd,
  { openSeq, timeMs }: { readonly openSeq: Seq; readonly timeMs: number },
): Promise<LogWriter> {
  const commitTimeMs = Math.max(found.env.clock.now(), timeMs);
  return create(found, catalogs, before, { openSeq, commitTimeMs, durableSeq: before.prevLastSeq });
}

/** The same as the first file of a writer: with the reserve, should the disk be full. */
export function delayedLog(
  found: Pick<Found, 'env' | 'options'>,
  catalogs: CatalogStore,
  { before, timeMs }: LogBeginning,
  openSeq: Seq,
): Promise<LogWriter> {
  const { env, options } = found;
  return withReserve(env.fs, options.logger, () =>
    followingLog(found, catalogs, before, { openSeq, timeMs }),
  );
}

function create(
  { env, options }: Pick<Found, 'env' | 'options'>,
  catalogs: CatalogStore,
  before: LogEnd,
  rest: Pick<NewLog, 'tail' | 'openSeq' | 'commitTimeMs' | 'durableSeq'>,
): Promise<LogWriter> {
  const { dbUuid, timelineId } = catalogs.slot;
  return LogWriter.create(env.fs, {
    no: catalogs.takeFileNo(),
    dbUuid,
    salt: env.random(12),
    open: {
      ...before,
      firstSeq: before.prevLastSeq + 1,
      writerEpoch: catalogs.writerEpoch,
      timelineId,
      durability: durabilityCode(options.durability),
    },
    ...rest,
  });
}

function durabilityCode(durability: Durability): number {
  if (durability === 'full') return durabilityCodes.full;
  return durability === 'os' ? durabilityCodes.os : durabilityCodes.group;
}
