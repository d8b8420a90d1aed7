/**
 * What policies would keep and drop of the superseded versions of a space, without dropping any: a walk over
 * its keys, some at a time, each judged as background work would.
 *
 * Invariants (test/engine/retention-plan.test.ts)
 * - What a plan says is dropped is what is gone once the policies are set ("a plan says what setting the same
 *   policies drops").
 */
import type { Seq } from '../../base/brands.ts';
import { invalid } from '../../base/errors.ts';
import type { PeriodRules } from '../../base/keep-periods.ts';
import { reapRowsMax } from '../../base/limits.ts';
import { checkNames } from '../../base/names.ts';
import { boundsOf, encodeInternalKey, seqOf, writeUserKey } from '../../format/internal-key.ts';
import { rowKinds } from '../../format/row-kinds.ts';
import { parseValueRecord } from '../../format/value-record.ts';
import { isPinned } from '../../tree/keep-rule.ts';
import { walkPrefixes } from '../../tree/prefix-walk.ts';
import { RetentionJudge } from '../../tree/space-rules.ts';
import { keyBytes, keyOut, throwIfAborted } from '../key-args.ts';
import type { Store } from '../store.ts';
import type { Key } from '../types.ts';
import { checkSpaceOptions, type SpaceOptions } from './space-policy.ts';

/** Policies to be tried, and on which keys. */
export interface RetentionPlanOptions extends Pick<SpaceOptions, 'history' | 'retention'> {
  /** Only keys that begin with it. */
  prefix?: Key;
  /** So many of the versions that would be dropped are listed (default 20). */
  list?: number;
  signal?: AbortSignal;
}

/** A version that would be dropped. */
export interface DroppedVersion {
  key: Key;
  seq: Seq;
  time: Date;
  size: number;
}

/** What the policies would do to superseded versions. Deletions are versions, of no bytes. */
export interface RetentionPlan {
  /** Keys that have superseded versions. */
  keys: number;
  /** Superseded versions that are there. */
  versions: number;
  kept: number;
  /** Bytes of the values of those kept and dropped, before deduplication. */
  keptBytes: number;
  dropped: number;
  droppedBytes: number;
  /** How many each reason keeps: `history.versions`, `retention.daily`, `snapshot:NAME`, `view`, … */
  keptBy: { [reason: string]: number };
  /** The first ones, in the order of keys, newest first. */
  list: DroppedVersion[];
}

/** A row of a key. */
interface Row {
  readonly seq: Seq;
  readonly timeMs: number;
  readonly size: number;
}

/** What is tried: what is not given is as it is set. */
interface Tried {
  readonly versions: number;
  readonly ms: number;
  readonly retention: PeriodRules | undefined;
}

export async function retentionPlan(
  store: Store,
  space: number,
  options: RetentionPlanOptions,
): Promise<RetentionPlan> {
  checkNames(options, ['history', 'retention', 'prefix', 'list', 'signal'], 'option');
  const { history, retention, prefix, list: listed = 20, signal } = options;
  const asked = checkSpaceOptions({
    ...(history === undefined ? {} : { history }),
    ...(retention === undefined ? {} : { retention }),
  });
  if (!(Number.isSafeInteger(listed) && listed >= 0)) throw invalid('list must be a whole number from 0 up');
  const own = store.forest.history.rules.rulesOf(space).retention;
  const { versions, ms } =
    asked.history === null ? store.history.policyOf(0) : (asked.history ?? store.history.policyOf(space));
  const tried = { versions, ms, retention: asked.retention === null ? undefined : (asked.retention ?? own) };
  const plan: RetentionPlan = {
    ...{ keys: 0, versions: 0, kept: 0, keptBytes: 0, dropped: 0, droppedBytes: 0 },
    keptBy: {},
    list: [],
  };
  const judge = new KeyJudge(store, tried, plan, listed);
  const range = boundsOf(prefix === undefined ? {} : { prefix: keyBytes(prefix, 'prefix') }, space);
  const mark = store.marks.pin(store.visibleSeq);
  try {
    let from: Uint8Array | undefined = range.from;
    while (from !== undefined) {
      throwIfAborted(signal);
      from = await judge.some(from, range.to, mark.seq);
      await store.parts.env.clock.turn();
    }
  } finally {
    mark.end();
  }
  return plan;
}

/** Adds keys to a plan. */
class KeyJudge {
  readonly #store: Store;
  readonly #tried: Tried;
  readonly #plan: RetentionPlan;
  readonly #listed: number;
  readonly #judge: RetentionJudge;
  readonly #oldestMs: number;

  constructor(store: Store, tried: Tried, plan: RetentionPlan, listed: number) {
    this.#store = store;
    this.#tried = tried;
    this.#plan = plan;
    this.#listed = listed;
    this.#judge = new RetentionJudge(tried.retention === undefined ? [] : [tried.retention]);
    this.#oldestMs = store.nowMs - tried.ms;
  }

  /** Some keys; where to go on, undefined at the end. `visible`: later versions are not looked at. */
  async some(from: Uint8Array, to: Uint8Array | undefined, visible: Seq): Promise<Uint8Array | undefined> {
    const { keys } = this.#store.forest;
    const rule = this.#store.keepRule();
    let rows: Row[] = [];
    let key: Uint8Array | undefined;
    let gone: Seq = -1;
    keys.lost.refuseRange(from, to);
    const { next } = await walkPrefixes(keys, {
      from,
      to,
      isFull: (count) => count >= reapRowsMax,
      row: ({ keyBytes: bytes, keyTo, valueBytes, valueFrom, valueTo }, prefix, isFirst) => {
        if (isFirst) {
          if (key !== undefined) this.#take(key, rows, rule.pinned);
          rows = [];
          key = prefix;
          gone = -1;
        }
        const seq = seqOf(bytes, keyTo);
        if (seq > visible) return;
        const record = parseValueRecord(valueBytes, valueFrom, valueTo, { file: 'key tree' });
        if (record.kind === rowKinds.gone) {
          if (record.goneSeq <= visible) gone = seq;
        } else if (seq !== gone) {
          rows.push({ seq, timeMs: record.timeMs, size: record.kind === rowKinds.put ? record.size : 0 });
        }
      },
    });
    if (key !== undefined) this.#take(key, rows, rule.pinned);
    return next;
  }

  /** `rows` newest first: the first one is not superseded. */
  #take(prefix: Uint8Array, rows: readonly Row[], pinned: readonly Seq[]): void {
    const plan = this.#plan;
    if (rows.length > 1) plan.keys++;
    this.#judge.begin();
    for (let i = 1; i < rows.length; i++) {
      const row = rows[i]!;
      const reasons = this.#reasons(row, rows[i - 1]!, i - 1, pinned);
      plan.versions++;
      for (const reason of reasons) plan.keptBy[reason] = (plan.keptBy[reason] ?? 0) + 1;
      if (reasons.length > 0) {
        plan.kept++;
        plan.keptBytes += row.size;
        continue;
      }
      plan.dropped++;
      plan.droppedBytes += row.size;
      if (plan.list.length < this.#listed) plan.list.push(this.#droppedOf(prefix, row));
    }
  }

  #reasons({ seq, timeMs }: Row, above: Row, newer: number, pinned: readonly Seq[]): string[] {
    const { versions, ms } = this.#tried;
    const reasons: string[] = this.#judge.reasons(timeMs).map((rule) => `retention.${rule}`);
    if (newer < versions) reasons.push('history.versions');
    if (ms > 0 && above.timeMs > this.#oldestMs) reasons.push('history.ms');
    if (isPinned(pinned, seq, above.seq)) reasons.push(...this.#holders(seq, above.seq));
    return reasons;
  }

  /** What may see a version from `s1` until `s2`: at least one does. */
  #holders(s1: Seq, s2: Seq): string[] {
    const { forest, marks, visibleSeq } = this.#store;
    const holders: string[] = [];
    for (const { name, seq } of forest.history.snapshotsAt(visibleSeq))
      if (s1 <= seq && seq < s2) holders.push(`snapshot:${name}`);
    const views = Array.from(marks.pinned).sort((a, b) => a - b);
    // Views and reads under way; also what was pinned when the walk began and is no more.
    if (holders.length === 0 || isPinned(views, s1, s2)) holders.push('view');
    return holders;
  }

  #droppedOf(prefix: Uint8Array, { seq, timeMs, size }: Row): DroppedVersion {
    const internal = encodeInternalKey(prefix, seq);
    const userKey = new Uint8Array(internal.length);
    const length = writeUserKey(userKey, internal, 0, internal.length, { file: 'key tree' });
    const key = keyOut(userKey.slice(0, length), this.#store.keyEncoding);
    return { key, seq, time: new Date(timeMs), size };
  }
}
