/**
 * Archives the log of an open store into a vault, so that it can be restored to any moment. Only what is
 * durable is archived: a power cut takes nothing back that a vault has.
 *
 * Invariants (test/backup/archive.test.ts)
 * - From one round to the next nothing that was committed loses its chunks ("values that are overwritten
 *   between rounds are archived").
 */
import { type ArchiveReport, runArchive } from '../../backup/archive-run.ts';
import { checkVault, type Vault } from '../../backup/vault.ts';
import { invalid, VarveError } from '../../base/errors.ts';
import { checkFunctions, checkNames } from '../../base/names.ts';
import { frameTypes } from '../../format/log-frame.ts';
import type { ArchivedFrame } from '../../format/vault-archive.ts';
import type { GroupCommit } from '../../log/group-commit.ts';
import type { LogKept } from '../../log/log-history.ts';
import { LogTail } from '../../log/log-tail.ts';
import { throwIfAborted } from '../key-args.ts';
import type { ReadEra } from '../reading/read-marks.ts';
import type { Store } from '../store.ts';
import { lastBackupOf } from './backups.ts';

/** Options of Engine.archive. */
export interface ArchiveOptions {
  /**
   * Goes on until `signal` fires or the store is closed, with a round every so many ms, 1 up to a day. What
   * is overwritten meanwhile is kept until it is archived.
   */
  everyMs?: number;
  /** Bound on what is sent. */
  bytesPerSecond?: number;
  /** Called behind each round. */
  onRound?: (report: ArchiveReport) => void;
  signal?: AbortSignal;
}

const dayMs = 24 * 3600 * 1000;
/** Longest sleep between looks whether the store is being closed, ms. */
const sleepMsMax = 500;

/** Archives under way, by store: one at a time into one vault. */
const running = new WeakMap<Store, Set<string>>();

/** See Engine.archive. */
export async function archiveStore(
  store: Store,
  target: Vault,
  options: ArchiveOptions = {},
): Promise<ArchiveReport> {
  store.assertReadable();
  const vault = checkVault(target);
  checkNames(options, ['everyMs', 'bytesPerSecond', 'onRound', 'signal'], 'archive option');
  checkFunctions(options, ['onRound']);
  const { everyMs, bytesPerSecond } = options;
  if (everyMs !== undefined && !(everyMs >= 1 && everyMs <= dayMs))
    throw invalid('everyMs is a number from 1 up to 86,400,000');
  if (bytesPerSecond !== undefined && !(bytesPerSecond >= 1))
    throw invalid('bytesPerSecond is a number from 1 up');
  store.writable();
  const busy = running.get(store) ?? new Set<string>();
  running.set(store, busy);
  if (busy.has(vault.id))
    throw new VarveError('VARVE_CONFLICT', 'the log of this store is being archived into this vault already');
  busy.add(vault.id);
  const run = new Archiving(store, vault, options);
  try {
    return await (everyMs === undefined ? store.run(() => run.round()) : run.rounds(everyMs));
  } finally {
    run.end();
    busy.delete(vault.id);
  }
}

class Archiving {
  readonly #store: Store;
  readonly #vault: Vault;
  readonly #options: ArchiveOptions;
  /** Keeps versions that are superseded above the number archived last. */
  #era: ReadEra | undefined;
  /** Keeps the log behind the number archived last. */
  #kept: LogKept | undefined;

  constructor(store: Store, vault: Vault, options: ArchiveOptions) {
    this.#store = store;
    this.#vault = vault;
    this.#options = options;
  }

  /** Until the signal fires or the store is closed; the last report. */
  async rounds(everyMs: number): Promise<ArchiveReport> {
    const { signal } = this.#options;
    const { clock } = this.#store.parts.env;
    for (;;) {
      const report = await this.#store.run(() => this.round());
      for (let left = everyMs; left > 0; left -= sleepMsMax) {
        if (signal?.aborted === true || this.#store.isClosing) return report;
        await clock.sleep(Math.min(left, sleepMsMax), undefined, true);
      }
      if (signal?.aborted === true || this.#store.isClosing) return report;
    }
  }

  async round(): Promise<ArchiveReport> {
    const { marks, logHistory } = this.#store;
    const { log } = this.#store.writable();
    throwIfAborted(this.#options.signal);
    // From here on nothing that is superseded is taken away; what was before, the round before keeps.
    const era = marks.enter();
    this.#kept ??= logHistory.keepFrom(0);
    let report: ArchiveReport;
    try {
      report = await this.#archive(log);
    } catch (error) {
      marks.leave(era);
      throw error;
    }
    const kept = logHistory.keepFrom(report.to + 1);
    this.end();
    this.#era = era;
    this.#kept = kept;
    this.#options.onRound?.(report);
    return report;
  }

  async #archive(log: GroupCommit): Promise<ArchiveReport> {
    const store = this.#store;
    const { parts } = store;
    // Where commits wait for no sync, those before this call are in this round all the same.
    if (log.lastSeq > log.durableSeq) await log.syncNow();
    const seq = log.durableSeq;
    // What is sequenced and not durable may have an earlier time than now.
    const isIdle = log.lastSeq === seq;
    const coveredMs = isIdle ? Math.max(0, parts.env.clock.now() - 1) : 0;
    const { dbUuid, timelineId } = parts.identity;
    const last = await lastBackupOf(store, this.#vault);
    const source = {
      dbUuid,
      timelineId,
      seq,
      coveredMs,
      backupSeq: last?.seq,
      segments: parts.segments,
      chunks: store.forest.chunks,
      frames: (since: number) => framesOf(store, since, seq),
    };
    const { bytesPerSecond, signal } = this.#options;
    return await runArchive(this.#vault.env, source, { bytesPerSecond, signal });
  }

  /** Keeps nothing any more. */
  end(): void {
    if (this.#era !== undefined) this.#store.marks.leave(this.#era);
    this.#era = undefined;
    if (this.#kept !== undefined) this.#store.logHistory.letGo(this.#kept);
    this.#kept = undefined;
  }
}

async function* framesOf(store: Store, since: number, seq: number): AsyncGenerator<ArchivedFrame> {
  const { parts, logHistory } = store;
  const tail = new LogTail(parts.env.fs, logHistory, parts.identity.dbUuid, since);
  try {
    for (let frame = await tail.next(seq); frame !== undefined; frame = await tail.next(seq)) {
      if (frame.type !== frameTypes.batch) continue;
      const { seqFirst, count, commitTimeMs, buf, payloadFrom, payloadTo } = frame;
      yield { seqFirst, count, commitTimeMs, payload: buf.subarray(payloadFrom, payloadTo) };
    }
  } finally {
    await tail.close();
  }
}
