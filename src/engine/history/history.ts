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
import type { Seq } from '../../base/brands.ts';
import { type PeriodRules, periodRules } from '../../base/keep-periods.ts';
import { expiryFeature, historyFeature, rulesFeature } from '../../format/format-ladder.ts';
import {
  clockKey,
  encodeClockRow,
  encodePolicyRow,
  type HistoryPolicy,
  policyKey,
} from '../../format/history-rows.ts';
import { putSys } from '../../format/log-ops.ts';
import { encodeRulesRow, encodeUsedRow, rulesKey, usedKey } from '../../format/space-rules.ts';
import type { GroupCommit } from '../../log/group-commit.ts';
import type { Forest } from '../../tree/forest.ts';
import type { Kept } from '../../tree/history-rows.ts';
import type { KeepRule } from '../../tree/keep-rule.ts';
import { plainRule } from '../../tree/keep-rule.ts';
import type { SysOp } from '../../txn/committed.ts';
import type { TxnWriter } from '../../txn/txn-writer.ts';
import type { Checkpointer } from '../background/checkpointer.ts';
import type { Env } from '../env.ts';
import type { ReadMarks } from '../reading/read-marks.ts';
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
  readonly retained: ReadonlyMap<number, readonly PeriodRules[]>;
}

const noRetention: readonly PeriodRules[] = [];

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
  /** The newest commit that set a policy since the open. */
  #setSeq: Seq = 0;
  /** Policies are sequenced one after the other. Never rejects. */
  #sequenced: Promise<unknown> = Promise.resolve();
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
    const { pinned, own, others, lowest, retained } = this.#basis();
    // Nobody knows what is pinned: everything stays.
    if (rows.damage !== undefined) return plainRule(0, pinned, Number.MAX_SAFE_INTEGER);
    return {
      horizon: Math.min(horizon, lowest),
      pinned,
      versionsOf: (space) => (own.get(space) ?? others).versions,
      horizonOf: (space) => Math.min(horizon, (own.get(space) ?? others).horizon),
      retentionOf: (space) => retained.get(space) ?? noRetention,
      retentionVersion: rows.rules.version,
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
      retained: rows.rules.retained(),
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

  /** Rows that go with the transaction that drops the space: no version of its keys is kept by policy. */
  rowsToDrop(space: number): SysOp[] {
    const rows = this.#parts.forest.history;
    this.#declared.delete(space);
    rows.rules.declare(space, undefined);
    this.#lastBasis = undefined;
    const dropped: SysOp[] = [];
    const own = rows.policyOf(space);
    const history = own.history ?? rows.policyOf(0).history;
    if (own.ttlMs !== undefined || (history !== undefined && history.versions > 0)) {
      const row = { history: history && { ...history, versions: 0 }, ttlMs: undefined };
      dropped.push({ key: policyKey(space), value: encodePolicyRow(row) });
    }
    const { retention, quotaBytes } = rows.rules.rulesOf(space);
    if (retention !== undefined || quotaBytes !== undefined) {
      dropped.push({ key: rulesKey(space), value: undefined });
    }
    if (rows.rules.usedOf(space) !== undefined) dropped.push({ key: usedKey(space), value: undefined });
    return dropped;
  }

  /** The policies of a space differ from those asked for. */
  differs(space: number, asked: PolicyAsked): boolean {
    const { history: kept, rules } = this.#parts.forest.history.policiesOf(space);
    const { history, ttlMs, retention, quotaBytes } = asked;
    const isOther =
      history !== undefined &&
      (history === null
        ? kept.history !== undefined
        : history.versions !== (kept.history?.versions ?? (space === 0 ? 0 : -1)) ||
          history.ms !== (kept.history?.ms ?? (space === 0 ? 0 : -1)));
    return (
      isOther ||
      (ttlMs !== undefined && (ttlMs ?? undefined) !== kept.ttlMs) ||
      (quotaBytes !== undefined && (quotaBytes ?? undefined) !== rules.quotaBytes) ||
      (retention !== undefined && !isSameRetention(retention ?? undefined, rules.retention))
    );
  }

  /**
   * Sets policies of a space; what is not asked for stays, null takes one away. They hold from the call on,
   * and after the next open once `durable` resolves, whatever the durability mode. For a store open for
   * writing. `named`: gives the row of the space's name, in the turn in which all of it is sequenced, and is
   * told when it was.
   */
  setPolicy(
    space: number,
    asked: PolicyAsked,
    named: NameRow = unnamed,
  ): { readonly sequenced: Promise<void>; readonly durable: Promise<void> } {
    const sequenced = this.#sequence(space, asked, named);
    this.#sequenced = Promise.allSettled([sequenced]);
    return { sequenced, durable: sequenced.then(() => this.#parts.writer!.log.syncNow()) };
  }

  /** Resolves when the policies that hold now are durable; fails as the call that set them did. */
  async whenDurable(): Promise<void> {
    if (this.#setSeq > this.#durableSeq) await this.#parts.writer!.log.syncNow();
  }

  async #sequence(space: number, asked: PolicyAsked, named: NameRow): Promise<void> {
    const { txn, checkpointer } = this.#parts.writer!;
    const { rules } = this.#parts.forest.history;
    const { history, retention } = asked;
    if (history) this.#declared.set(space, history);
    if (retention) rules.declare(space, retention);
    this.#lastBasis = undefined;
    try {
      await this.#sequenced;
      for (const bit of featuresOf(asked)) await checkpointer.require(bit);
      const sys = named.rows();
      const room = sys.reduce((sum, { key }) => sum + rowBytes + key.length, 4 * rowBytes);
      txn.sequence(room + 128, (writer, seq, timeMs) => {
        this.#setSeq = seq;
        for (const { key, value } of sys) putSys(writer, key, value);
        for (const { key, value } of this.#rowsOf(space, asked, seq, timeMs)) putSys(writer, key, value);
        // Nothing was ever put to a space whose name is new.
        const isNew = sys.length > 0 && asked.quotaBytes !== undefined && asked.quotaBytes !== null;
        const counted = { isWhole: true, fromSeq: seq, added: 0, removed: 0 };
        if (isNew) putSys(writer, usedKey(space), encodeUsedRow(counted));
      });
      named.sequenced();
    } finally {
      if (history && this.#declared.get(space) === history) this.#declared.delete(space);
      if (retention) rules.undeclare(space, retention);
      this.#lastBasis = undefined;
    }
  }

  #rowsOf(space: number, asked: PolicyAsked, seq: Seq, timeMs: number): SysOp[] {
    const rows: SysOp[] = [];
    const { history, rules } = this.#parts.forest.history.policiesOf(space);
    if (asked.history !== undefined || asked.ttlMs !== undefined) {
      const row = {
        history:
          asked.history === undefined ? history.history : this.#kept(space, asked.history, seq, timeMs),
        ttlMs: asked.ttlMs === undefined ? history.ttlMs : (asked.ttlMs ?? undefined),
      };
      rows.push({ key: policyKey(space), value: encodePolicyRow(row) });
    }
    if (asked.retention !== undefined || asked.quotaBytes !== undefined) {
      const row = {
        retention: asked.retention === undefined ? rules.retention : (asked.retention ?? undefined),
        quotaBytes: asked.quotaBytes === undefined ? rules.quotaBytes : (asked.quotaBytes ?? undefined),
      };
      const isEmpty = row.retention === undefined && row.quotaBytes === undefined;
      rows.push({ key: rulesKey(space), value: isEmpty ? undefined : encodeRulesRow(row) });
      const isCounted = this.#parts.forest.history.rules.usedOf(space) !== undefined;
      if (row.quotaBytes === undefined && isCounted) rows.push({ key: usedKey(space), value: undefined });
    }
    return rows;
  }

  #kept(space: number, asked: Kept | null, seq: Seq, timeMs: number): HistoryPolicy | undefined {
    if (asked === null) return undefined;
    const { versions, ms } = asked;
    // Commits have time rows only from the first policy by time on.
    const { seq: sinceSeq, ms: sinceMs } = this.readableFrom(space) ?? { seq, ms: timeMs };
    return { versions, ms, sinceSeq, sinceMs };
  }
}

/** The row of a space's name that goes with its first policy. */
export interface NameRow {
  /** VARVE_CONFLICT when the space was dropped meanwhile. */
  readonly rows: () => readonly SysOp[];
  readonly sequenced: () => void;
}

const unnamed: NameRow = { rows: () => [], sequenced: () => undefined };

/** Policies as callers ask for them: undefined stays as it is, null takes it away. */
export interface PolicyAsked {
  readonly history?: Kept | null | undefined;
  readonly ttlMs?: number | null | undefined;
  readonly retention?: Required<PeriodRules> | null | undefined;
  readonly quotaBytes?: number | null | undefined;
}

function featuresOf({ history, ttlMs, retention, quotaBytes }: PolicyAsked): number[] {
  const bits: number[] = [];
  if (history !== undefined || ttlMs !== undefined) bits.push(historyFeature);
  if (ttlMs) bits.push(expiryFeature);
  if (retention !== undefined || quotaBytes !== undefined) bits.push(rulesFeature);
  return bits;
}

function isSameRetention(a: PeriodRules | undefined, b: PeriodRules | undefined): boolean {
  if (a === undefined || b === undefined) return a === b;
  return periodRules.every((rule) => (a[rule] ?? 0) === (b[rule] ?? 0));
}
