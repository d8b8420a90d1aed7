/**
 * Gives the chunks of superseded versions back. A version that nobody can ask for any more is purged in the
 * frame that supersedes it (txn/version-ends.ts); others go to the trash and are purged here, in the
 * background, in bounded steps, once the keep rule lets them go:
 *
 *   look at some trash rows, in the order of their superseding numbers -> PURGE of those nobody can ask for,
 *   their rows removed, as one commit -> the next rows; then list nodes that may be dead (node-deaths.ts)
 *
 * Each row is looked at once when readers see what superseded its version, and again when what kept it has
 * gone: a pinned number (rows superseded between it and the next one), the horizon of its space, its rank
 * (when its key is written again).
 *
 * Invariants (test/engine/purger.test.ts, test/crash/crash.test.ts)
 * - No reader notices: what the keep rule keeps is not purged ("what is purged equals a search of
 *   all versions, and what is kept is read").
 * - What it does not keep is gone when nothing is due (the same test).
 * - A crash anywhere leaves a version in the trash or purged (audits of the crash tests:
 *   counts equal a recount, every old version is in the trash once or purged).
 * - A version is purged once: only its trash row leads to it, and goes in the same commit.
 */
import type { Seq } from '../../base/brands.ts';
import { rankedKeysMax, reapDeletesMax, reapRowsMax } from '../../base/limits.ts';
import type { ByteWriter } from '../../codec/byte-writer.ts';
import { purgesFeature } from '../../format/format-ladder.ts';
import { spaceOf } from '../../format/internal-key.ts';
import { putSys } from '../../format/log-ops.ts';
import { purgeOpBytes, putPurge } from '../../format/purge-ops.ts';
import { decodeQueueKey, trashKey, trashPrefix } from '../../format/system-rows.ts';
import type { GroupEnd } from '../../log/group-end.ts';
import type { KeyCursor } from '../../tree/cursor.ts';
import { isKept, isPinned, type KeepRule, keepsSuperseded } from '../../tree/keep-rule.ts';
import type { DeathJudge, PurgedVersion, RecordRefs, VersionFate } from '../../txn/version-ends.ts';
import { Background, type BackgroundOptions } from '../background/background.ts';
import { type PaceParts, relieved, settled } from '../background/paced-step.ts';
import { queueFrom, scanQueue } from '../background/queue-scan.ts';
import { oldVersions, refsOfVersion } from '../history/old-versions.ts';
import { NodeDeaths, type NodeDeathsOptions, putNodeRow } from './node-deaths.ts';
import { TrashWindows, type Window } from './trash-windows.ts';

export interface PurgerOptions extends BackgroundOptions, NodeDeathsOptions, PaceParts {
  /** Nothing is purged. */
  readonly isOff: boolean;
  /** Moves the horizon of history.ms on. */
  readonly advance: () => Promise<void>;
  /** Bits of the catalog's features. */
  readonly features: () => number;
}

/** A version in the trash, and what its purge gives back; nothing where it is gone already. */
interface Candidate {
  readonly prefix: Uint8Array;
  readonly seq: Seq;
  readonly above: Seq;
  readonly newer: number;
  /** Kept by the retention of that version, or as a part of a key that a pending range delete hides. */
  readonly retention: { readonly keeps: boolean; readonly version: number };
  readonly refs: RecordRefs | undefined;
}

const opBytes = 64;

export class Purger implements VersionFate {
  /** Since the engine was opened. `bytes`: of purged values, chunks they share with others included. */
  readonly counters = { purged: 0, bytes: 0 };
  readonly nodes: NodeDeaths;
  readonly work: Background;
  readonly #options: PurgerOptions;
  readonly #windows: TrashWindows;
  /** Keys written again, whose kept versions have a lower rank now. */
  readonly #watched = new Map<string, Uint8Array>();
  /** history.versions by space, as last seen. */
  #versions = new Map<number, number>();
  /** Retention as last seen. */
  #retentionVersion = 0;
  #armed = false;
  #pending = 0;

  constructor(options: PurgerOptions) {
    this.#options = options;
    this.nodes = new NodeDeaths(options);
    this.#windows = new TrashWindows(options.log.visibleSeq);
    this.work = new Background(options, {
      what: 'purging old versions',
      isDue: () => this.#isDue(),
      step: () => this.#step(),
      asked: () => this.nodes.wake(),
    });
  }

  /** A read has ended, or a number is no longer pinned: what waited for it may go. */
  released(): void {
    if (this.#pending + this.nodes.pending > 0) this.#startAfter(this.#options.env.clock.turn());
  }

  /** Versions in the trash, as far as they were met since the engine was opened. */
  get pending(): number {
    return this.#pending;
  }

  judge(): DeathJudge {
    const { keepRule, log, features, isOff } = this.#options;
    if (isOff || (features() & purgesFeature) === 0) return () => false;
    const rule = keepRule();
    const { visibleSeq } = log;
    // Who begins to read before the frame is published is served all the same: see version-ends.ts.
    return (space, s1, s2) =>
      rule.horizonOf(space) >= visibleSeq && !keepsSuperseded(rule, space) && !isPinned(rule.pinned, s1, s2);
  }

  get watchesRanks(): boolean {
    const { history } = this.#options.forest;
    for (const space of history.spaces) if ((history.policyOf(space).history?.versions ?? 0) > 0) return true;
    for (const space of history.rules.spaces) {
      if (history.rules.rulesOf(space).retention !== undefined) return true;
    }
    return false;
  }

  superseded(prefix: Uint8Array): void {
    if (!keepsSuperseded(this.#options.keepRule(), spaceOf(prefix, 0))) return;
    if (this.#watched.size >= rankedKeysMax) {
      this.#watched.clear();
      this.#windows.restart();
      return;
    }
    this.#watched.set(Buffer.from(prefix).toString('latin1'), prefix.slice());
  }

  trashed(seq2: Seq): void {
    if (this.#windows.note(seq2)) this.#pending++;
  }

  ended(seq: Seq, purged: readonly PurgedVersion[], end: GroupEnd): void {
    this.#note(purged, seq);
    this.#startAfter(end.promise);
  }

  #startAfter(wait: Promise<void>): void {
    if (this.#armed) return;
    this.#armed = true;
    const begin = (): void => {
      this.#armed = false;
      this.work.startIfDue();
    };
    // After a failure nothing begins.
    wait.then(begin, begin);
  }

  encodeMore(writer: ByteWriter, { ids, isTree }: PurgedVersion): void {
    if (isTree) putNodeRow(writer, ids, 0);
  }

  #note(purged: readonly PurgedVersion[], seq: Seq): void {
    for (const { isTree, ids, size, seq: from, space } of purged) {
      this.counters.purged++;
      this.counters.bytes += size;
      if (isTree) this.nodes.add(ids, space, from, seq);
    }
  }

  #isDue(): boolean {
    const { keepRule, log, isOff } = this.#options;
    if (isOff) return false;
    const rule = keepRule();
    this.#notePolicies(rule);
    return this.#watched.size > 0 || this.#windows.isDue(rule, log.visibleSeq) || this.nodes.isDue(rule);
  }

  /** Where fewer versions are kept by policies than before, everything is looked at again. */
  #notePolicies({ versionsOf, retentionVersion }: KeepRule): void {
    if (this.#retentionVersion !== retentionVersion) this.#windows.restart();
    this.#retentionVersion = retentionVersion;
    const before = this.#versions;
    this.#versions = new Map([[0, versionsOf(0)]]);
    for (const space of this.#options.forest.history.spaces) this.#versions.set(space, versionsOf(space));
    for (const [space, versions] of before) {
      if ((this.#versions.get(space) ?? versionsOf(0)) < versions) this.#windows.restart();
    }
  }

  async #step(): Promise<void> {
    const { keepRule, log } = this.#options;
    const [watched] = this.#watched;
    if (watched !== undefined) return await this.#stepKey(watched[0], watched[1]);
    await this.#options.advance();
    const rule = keepRule();
    const window = this.#windows.take(rule, log.visibleSeq);
    if (window !== undefined) return await this.#stepWindow(window, rule);
    const ended = await this.nodes.step(() => this.work.isOver);
    if (ended !== undefined) await settled(this.work, this.#options, ended.bytes, ended.done);
  }

  async #stepWindow(window: Window, rule: KeepRule): Promise<void> {
    const { forest } = this.#options;
    const candidates: Candidate[] = [];
    const from = window.next ?? queueFrom(trashPrefix, window.after + 1);
    const isWithin = (key: Uint8Array): boolean => decodeQueueKey(trashPrefix, key).at <= window.upTo;
    const slice = await scanQueue(forest.system, trashPrefix, from, isWithin, reapDeletesMax);
    const view = forest.keys.view();
    try {
      const cursor = view.cursor();
      for (const key of slice.keys) {
        const { at, rowPrefix, seq } = decodeQueueKey(trashPrefix, key);
        if (this.#windows.meets(at)) this.#pending++;
        if (window.space !== undefined && spaceOf(rowPrefix, 0) !== window.space) continue;
        const candidate = await this.#look(cursor, rule, rowPrefix, seq, at);
        if (candidate !== undefined) candidates.push(candidate);
      }
    } finally {
      view.release();
    }
    await this.#purge(candidates);
    this.#windows.done(window, slice.next);
  }

  /** Looks at a version in the trash; undefined when it is kept for sure. */
  async #look(
    cursor: KeyCursor,
    rule: KeepRule,
    prefix: Uint8Array,
    seq: Seq,
    above: Seq,
  ): Promise<Candidate | undefined> {
    const space = spaceOf(prefix, 0);
    if (this.#windows.holds(rule, space, seq, above)) return undefined;
    const version = rule.retentionVersion;
    if (keepsSuperseded(rule, space)) {
      const old = await oldVersions(cursor, prefix, seq, rule.retentionOf(space));
      const found = old.find((one) => one.seq === seq);
      const retention = { keeps: found?.isRetained ?? false, version };
      return { prefix, seq, above, newer: found?.newer ?? 0, retention, refs: found?.refs };
    }
    const refs = await refsOfVersion(cursor, prefix, seq);
    return { prefix, seq, above, newer: 0, retention: { keeps: false, version }, refs };
  }

  async #stepKey(name: string, prefix: Uint8Array): Promise<void> {
    // Before it is looked at: a put meanwhile has it looked at again.
    this.#watched.delete(name);
    const view = this.#options.forest.keys.view();
    const candidates: Candidate[] = [];
    const rule = this.#options.keepRule();
    const version = rule.retentionVersion;
    try {
      const old = await oldVersions(view.cursor(), prefix, 0, rule.retentionOf(spaceOf(prefix, 0)));
      for (const one of old.slice(0, reapRowsMax)) {
        candidates.push({ ...one, prefix, retention: { keeps: one.isRetained, version } });
      }
    } catch (error) {
      this.#watched.set(name, prefix);
      throw error;
    } finally {
      view.release();
    }
    // What is superseded by a commit that is not read yet is kept for the horizon, and met again.
    await this.#purge(candidates);
  }

  /** Decides in the section that sequences, by the rule of that moment. */
  async #purge(candidates: readonly Candidate[]): Promise<void> {
    const { checkpointer, keepRule, txn } = this.#options;
    if (candidates.length === 0 || this.work.isOver) return;
    await checkpointer.require(purgesFeature);
    await relieved(this.work, this.#options);
    if (this.work.isOver) return;
    const rule = keepRule();
    const { ranges } = this.#options.forest;
    const doomed = candidates.filter(({ prefix, seq, above, newer, retention, refs }) => {
      const space = spaceOf(prefix, 0);
      if (refs === undefined) return true;
      // Who changes retention has all of it looked at again.
      if (retention.keeps || retention.version !== rule.retentionVersion) return false;
      // What a range delete still has to end, it must meet as it is: the reaper counts it.
      if (ranges.current.hides(prefix, 0, prefix.length, seq, above)) return false;
      return !(this.#windows.holds(rule, space, seq, above) || isKept(rule, space, seq, above, newer));
    });
    if (doomed.length === 0) return;
    const bytes = doomed.reduce((sum, { prefix, refs }) => sum + bytesOf(prefix, refs), 0);
    const purged: PurgedVersion[] = [];
    for (const { prefix, seq, refs } of doomed) {
      if (refs !== undefined) purged.push({ ...refs, seq, space: spaceOf(prefix, 0) });
    }
    const committed = txn.sequence(bytes, (writer) => {
      for (const { prefix, seq, above, refs } of doomed) {
        putSys(writer, trashKey(above, prefix, seq), undefined);
        if (refs === undefined) continue;
        putPurge(writer, prefix, seq, refs.ids);
        if (refs.isTree) putNodeRow(writer, refs.ids, 0);
      }
    });
    this.#note(purged, committed.seq);
    this.#pending = Math.max(0, this.#pending - doomed.length);
    await settled(this.work, this.#options, bytes, committed.done);
  }
}

/** Bytes of a purge in the log, about. */
function bytesOf(prefix: Uint8Array, refs: RecordRefs | undefined): number {
  return opBytes + purgeOpBytes + 2 * prefix.length + (refs?.ids.length ?? 0);
}
