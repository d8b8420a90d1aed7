/**
 * What of the past is kept and what of it can be read: from reads under way, open views, named snapshots and
 * the policies of spaces.
 *
 * A state of a space can be read when nothing of it can have been dropped: the newest one, those that are
 * pinned, and with history.ms those from the horizon on. The horizon is judged by a clock that is a row of
 * the store: it is durable before anything is dropped by it, and never goes back.
 *
 * Invariants (test/engine/history.test.ts, test/engine/history-model.test.ts)
 * - A state that is served is exactly what it was ("every state that can be read equals the model").
 * - What a policy, a snapshot or a view keeps is never refused while it does ("what is kept can be read").
 * - The horizon never goes back, whatever the clock does and wherever the store was killed ("a clock that
 *   steps back brings nothing back").
 */
import type { Seq } from '../base/brands.ts';
import { historyFeature } from '../format/format-ladder.ts';
import {
  clockKey,
  encodeClockRow,
  encodePolicyRow,
  policyKey,
  type SpacePolicy,
} from '../format/history-rows.ts';
import { putSys } from '../format/log-ops.ts';
import type { GroupCommit } from '../log/group-commit.ts';
import type { Forest } from '../tree/forest.ts';
import type { Kept } from '../tree/history-rows.ts';
import type { KeepRule } from '../tree/keep-rule.ts';
import { plainRule } from '../tree/keep-rule.ts';
import type { TxnWriter } from '../txn/txn-writer.ts';
import type { Checkpointer } from './checkpointer.ts';
import type { Env } from './env.ts';
import type { ReadMarks } from './read-marks.ts';
import { lastCommitBy } from './time-rows.ts';

/** The clock row moves on when it is behind by this share of the shortest history.ms, or by a minute. */
const clockShare = 1 / 16;
const clockStepMsMax = 60_000;
/** What a row of the system tree takes in the log beside its key and value, at most. */
const rowBytes = 64;

/** What only a store open for writing has. */
export interface HistoryWriter {
  readonly env: Env;
  readonly log: GroupCommit;
  readonly txn: TxnWriter;
  readonly checkpointer: Checkpointer;
}

export interface HistoryParts {
  readonly marks: ReadMarks;
  readonly forest: Forest;
  /** Highest number a read made now sees. */
  readonly visibleSeq: () => Seq;
  /** Undefined: nothing is dropped and nothing set. */
  readonly writer: HistoryWriter | undefined;
}

/** What policies keep of a space: versions by rank, and those superseded above the horizon. */
interface Figures {
  readonly versions: number;
  readonly horizon: Seq;
}

/** Everything of a rule but how far back reads look, which changes with each commit. */
interface Basis {
  readonly pins: number;
  readonly rows: number;
  readonly pinned: readonly Seq[];
  readonly own: ReadonlyMap<number, Figures>;
  readonly others: Figures;
  readonly lowest: Seq;
}

/** From which commit, and from which moment on every state can be read. */
export interface Readable {
  readonly seq: Seq;
  readonly ms: number;
}

export class History {
  readonly #parts: HistoryParts;
  /** Durable; what was loaded or made so by `advance`. */
  #clockMs: number;
  /** For each history.ms: the last commit that is past it by the clock. */
  #horizons = new Map<number, Seq>();
  /** Policies asked for whose rows are on their way. */
  readonly #declared = new Map<number, Kept>();
  #lastBasis: Basis | undefined;
  #advancing: Promise<void> | undefined;
  /** Views that are too old end before the pins are listed. */
  onRule: () => void = () => undefined;

  constructor(parts: HistoryParts) {
    this.#parts = parts;
    this.#clockMs = parts.forest.history.clockMs;
  }

  /** The rule of this moment: what it does not keep, nobody asks for from now on. */
  keepRule(): KeepRule {
    const { marks, visibleSeq, forest } = this.#parts;
    const rows = forest.history;
    this.onRule();
    rows.settle(this.#durableSeq);
    const horizon = marks.horizon(visibleSeq());
    const { pinned, own, others, lowest } = this.#basis();
    // Nobody knows what is pinned: everything stays.
    if (rows.damage !== undefined) return plainRule(0, pinned, Number.MAX_SAFE_INTEGER);
    return {
      horizon: Math.min(horizon, lowest),
      pinned,
      versionsOf: (space) => (own.get(space) ?? others).versions,
      horizonOf: (space) => Math.min(horizon, (own.get(space) ?? others).horizon),
    };
  }

  /** What rules are made of; the same object until something changes. */
  #basis(): Basis {
    const { marks, forest } = this.#parts;
    const rows = forest.history;
    const last = this.#lastBasis;
    if (last?.pins === marks.pinsVersion && last.rows === rows.version) return last;
    const pins = new Set(marks.pinned);
    rows.pinsInto(pins);
    const figures = (space: number): Figures => {
      const { versions, ms } = this.#keptOf(space, this.#durableSeq);
      return { versions, horizon: ms === 0 ? Number.POSITIVE_INFINITY : this.#horizonOf(ms) };
    };
    const others = figures(0);
    const own = new Map<number, Figures>();
    for (const space of [...rows.spaces, ...this.#declared.keys()]) own.set(space, figures(space));
    const basis = {
      pins: marks.pinsVersion,
      rows: rows.version,
      pinned: Array.from(pins).sort((a, b) => a - b),
      own,
      others,
      lowest: Math.min(others.horizon, ...Array.from(own.values(), (one) => one.horizon)),
    };
    this.#lastBasis = basis;
    return basis;
  }

  #keptOf(space: number, durableSeq: Seq): Kept {
    const { versions, ms } = this.#parts.forest.history.keptOf(space, durableSeq);
    const declared = this.#declared.get(space) ?? this.#declared.get(0);
    if (declared === undefined) return { versions, ms };
    return { versions: Math.max(versions, declared.versions), ms: Math.max(ms, declared.ms) };
  }

  /** What is kept of a space by policy. */
  policyOf(space: number): Kept {
    return this.#keptOf(space, Number.MAX_SAFE_INTEGER);
  }

  /** The last commit whose state history.ms does not promise any more. */
  #horizonOf(ms: number): Seq {
    let horizon = this.#horizons.get(ms);
    if (horizon === undefined) {
      horizon = this.lastCommitBy(this.#clockMs - ms);
      this.#horizons.set(ms, horizon);
    }
    return horizon;
  }

  /** The last commit that is stamped in or before that millisecond, as far as time rows reach back. */
  lastCommitBy(ms: number): Seq {
    return lastCommitBy(this.#parts.forest.system, ms, this.#parts.visibleSeq());
  }

  /**
   * The first commit from which on every state of the space can be read, and its time; undefined: only what
   * is pinned, and the newest.
   */
  readableFrom(space: number): Readable | undefined {
    const { forest, visibleSeq } = this.#parts;
    const rows = forest.history;
    const own = rows.policyOf(space).history ?? rows.policyOf(0).history;
    if (own === undefined || own.ms === 0 || own.sinceSeq > visibleSeq()) return undefined;
    const ms = Math.max(own.sinceMs, this.#clockMs - own.ms);
    return { seq: Math.max(own.sinceSeq, this.#horizonOf(own.ms)), ms };
  }

  /** `readableFrom` of this moment, for every space. */
  readable(): (space: number) => Readable | undefined {
    const others = this.readableFrom(0);
    const own = new Map<number, Readable | undefined>();
    for (const space of this.#parts.forest.history.spaces) own.set(space, this.readableFrom(space));
    return (space) => (own.has(space) ? own.get(space) : others);
  }

  get #durableSeq(): Seq {
    return this.#parts.writer?.log.durableSeq ?? Number.MAX_SAFE_INTEGER;
  }

  /**
   * Moves the horizon of history.ms on, durably. Call it before work that drops what is not kept; without
   * policies by time it does nothing. A failed write is the log's to tell: then the horizon stays.
   */
  advance(): Promise<void> {
    this.#advancing ??= this.#advance().finally(() => {
      this.#advancing = undefined;
    });
    return this.#advancing;
  }

  async #advance(): Promise<void> {
    const { writer, forest } = this.#parts;
    if (writer === undefined || !forest.history.keepsTime || writer.log.failure !== undefined) return;
    const { log, txn, env } = writer;
    const now = Math.max(env.clock.now(), log.lastTimeMs);
    if (now - this.#clockMs < this.#clockStep()) return;
    txn.sequence(rowBytes, (w) => putSys(w, clockKey, encodeClockRow(now)));
    await log.syncNow();
    this.#clockMs = now;
    this.#horizons.clear();
    this.#lastBasis = undefined;
  }

  #clockStep(): number {
    const { history: rows } = this.#parts.forest;
    let shortest = Number.POSITIVE_INFINITY;
    for (const space of rows.spaces) {
      const ms = rows.policyOf(space).history?.ms ?? 0;
      if (ms > 0) shortest = Math.min(shortest, ms);
    }
    return Math.min(clockStepMsMax, Math.max(1, shortest * clockShare));
  }

  /** Rows that go with the transaction that drops the space: no version of its keys is kept by its rank. */
  rowsToDrop(space: number): { readonly key: Uint8Array; readonly value: Uint8Array }[] {
    const rows = this.#parts.forest.history;
    this.#declared.delete(space);
    this.#lastBasis = undefined;
    const own = rows.policyOf(space);
    const history = own.history ?? rows.policyOf(0).history;
    if (history === undefined || history.versions === 0) return [];
    const row = { history: { ...history, versions: 0 }, ttlMs: own.ttlMs };
    return [{ key: policyKey(space), value: encodePolicyRow(row) }];
  }

  /** The policies of a space differ from those asked for. */
  differs(space: number, asked: Partial<PolicyAsked>): boolean {
    const row = this.#parts.forest.history.policyOf(space);
    const { history, ttlMs } = asked;
    const isOther =
      history !== undefined &&
      (history.versions !== (row.history?.versions ?? (space === 0 ? 0 : -1)) ||
        history.ms !== (row.history?.ms ?? (space === 0 ? 0 : -1)));
    return isOther || (ttlMs !== undefined && ttlMs !== row.ttlMs);
  }

  /**
   * Sets policies of a space; what is not asked for stays. They hold from the call on, and after the next
   * open once the promise resolves, whatever the durability mode. For a store open for writing.
   */
  async setPolicy(space: number, asked: Partial<PolicyAsked>): Promise<void> {
    const { log, txn, checkpointer } = this.#parts.writer!;
    if (asked.history !== undefined) this.#declared.set(space, asked.history);
    this.#lastBasis = undefined;
    await checkpointer.require(historyFeature);
    txn.sequence(rowBytes + policyKey(space).length + 64, (writer, seq, timeMs) => {
      const row = this.#rowOf(space, asked, seq, timeMs);
      putSys(writer, policyKey(space), encodePolicyRow(row));
    });
    if (asked.history !== undefined && this.#declared.get(space) === asked.history) {
      this.#declared.delete(space);
      this.#lastBasis = undefined;
    }
    await log.syncNow();
  }

  #rowOf(space: number, asked: Partial<PolicyAsked>, seq: Seq, timeMs: number): SpacePolicy {
    const rows = this.#parts.forest.history;
    const old = rows.policyOf(space);
    const ttlMs = asked.ttlMs ?? old.ttlMs;
    if (asked.history === undefined) return { history: old.history, ttlMs };
    const { versions, ms } = asked.history;
    // Commits have time rows only from the first policy by time on.
    const { seq: sinceSeq, ms: sinceMs } = this.readableFrom(space) ?? { seq, ms: timeMs };
    return { history: { versions, ms, sinceSeq, sinceMs }, ttlMs };
  }
}

/** Policies as callers ask for them. */
export interface PolicyAsked {
  readonly history: Kept;
  readonly ttlMs: number;
}
