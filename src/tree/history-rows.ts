/**
 * Policies, rules of spaces (space-rules.ts) and named snapshots in memory, as the rows of the system tree
 * say.
 *
 * A rule that keeps less, because a snapshot was deleted or a policy lowered, holds only once the commit that
 * says so is on disk: what is dropped by then cannot be asked for again after a power cut.
 *
 * Invariants (test/tree/history-rows.test.ts)
 * - What is loaded from tables equals what was applied ("rows loaded are those applied").
 * - A snapshot pins its number from the moment it is applied until its deletion is durable ("a deleted
 *   snapshot is kept until its deletion is durable").
 * - A lowered policy keeps what the one before kept until it is durable ("a lowered policy counts when it is
 *   durable").
 */
import type { Seq } from '../base/brands.ts';
import { compareRange, prefixEnd } from '../base/bytes.ts';
import { isDamage, type VarveError } from '../base/errors.ts';
import {
  clockKey,
  decodeClockRow,
  decodePolicyRow,
  decodeSnapshotRow,
  isClockKey,
  isPolicyKey,
  isSnapshotKey,
  policyPrefix,
  policySpaceOf,
  type SnapshotRow,
  type SpacePolicy,
  snapshotPrefix,
} from '../format/history-rows.ts';
import { decodeSysKey, encodeSysPrefix, spaceOf } from '../format/internal-key.ts';
import { rowKindAt, rowKinds } from '../format/row-kinds.ts';
import { rulesPrefix, type SpaceRules, usedPrefix } from '../format/space-rules.ts';
import { type KeyCursor, OK, settle } from './cursor.ts';
import { SpaceRuleRows } from './space-rules.ts';

/** A snapshot that was deleted by the commit `endSeq`. */
interface Ended {
  readonly row: SnapshotRow;
  readonly endSeq: Seq;
}

/** History figures of a space that were changed by the commit `endSeq`. */
interface Former {
  readonly space: number;
  readonly versions: number;
  readonly ms: number;
  readonly endSeq: Seq;
}

/** What of the past a space keeps. */
export interface Kept {
  readonly versions: number;
  readonly ms: number;
}

const noPolicy: SpacePolicy = { history: undefined, ttlMs: undefined };

/** One owner; synchronous but for `load`. */
export class HistoryRows {
  /** The moment by which history.ms was last judged, ms since 1970; 0 = never. */
  clockMs = 0;
  /** Commits need time rows: some space keeps history by time. */
  marksTime = false;
  /** Why rows may be missing, if so: nothing can be said of snapshots then. */
  damage: VarveError | undefined;
  /** Rises whenever what is kept changes. */
  version = 0;
  /** Retention and quotas. */
  readonly rules: SpaceRuleRows = new SpaceRuleRows();
  readonly #policies = new Map<number, SpacePolicy>();
  readonly #snapshots = new Map<string, SnapshotRow>();
  #ended: Ended[] = [];
  #former: Former[] = [];
  #hasTtl = false;

  /** A row was applied: its value, or undefined for its deletion. Rows of other kinds are let pass. */
  apply(key: Uint8Array, value: Uint8Array | undefined, seq: Seq): void {
    if (isSnapshotKey(key)) this.#applySnapshot(key, value, seq);
    else if (isPolicyKey(key)) this.#applyPolicy(policySpaceOf(key), value, seq);
    else if (this.rules.apply(key, value, seq)) this.version++;
    else if (isClockKey(key)) this.clockMs = value === undefined ? 0 : decodeClockRow(value);
  }

  /** The policy row of a space itself. */
  policyOf(space: number): SpacePolicy {
    return this.#policies.get(space) ?? noPolicy;
  }

  /** Puts of some space need more than their row: an expiry, or a count. */
  get hasDuties(): boolean {
    return this.#hasTtl || this.rules.counts;
  }

  /** Puts to the space of that row prefix need nothing but their row. */
  isPlain(prefix: Uint8Array): boolean {
    return this.ttlOf(prefix) === undefined && this.rules.usedOf(spaceOf(prefix, 0)) === undefined;
  }

  /** The time to live of values put to the space of that row prefix without one. */
  ttlOf(prefix: Uint8Array): number | undefined {
    return this.#hasTtl ? this.policyOf(spaceOf(prefix, 0)).ttlMs : undefined;
  }

  /** What is set of a space itself. */
  policiesOf(space: number): { readonly history: SpacePolicy; readonly rules: SpaceRules } {
    return { history: this.policyOf(space), rules: this.rules.rulesOf(space) };
  }

  /** Spaces with a policy row. */
  get spaces(): Iterable<number> {
    return this.#policies.keys();
  }

  /** What is kept of a space, policies that are not past for good included. `durableSeq`: what is on disk. */
  keptOf(space: number, durableSeq: Seq): Kept {
    const own = this.policyOf(space).history ?? this.policyOf(0).history;
    let versions = own?.versions ?? 0;
    let ms = own?.ms ?? 0;
    for (const former of this.#former) {
      if (former.endSeq <= durableSeq || (former.space !== space && former.space !== 0)) continue;
      versions = Math.max(versions, former.versions);
      ms = Math.max(ms, former.ms);
    }
    return { versions, ms };
  }

  /** Forgets what is past for good. */
  settle(durableSeq: Seq): void {
    if (this.rules.settle(durableSeq)) this.version++;
    const isPast = ({ endSeq }: { readonly endSeq: Seq }): boolean => endSeq <= durableSeq;
    if (!this.#former.some(isPast) && !this.#ended.some(isPast)) return;
    this.#former = this.#former.filter((one) => !isPast(one));
    this.#ended = this.#ended.filter((one) => !isPast(one));
    this.version++;
  }

  /** Some space keeps history by time, or did until a commit that is not durable. */
  get keepsTime(): boolean {
    return this.marksTime || this.#former.some(({ ms }) => ms > 0);
  }

  /** Adds the numbers that snapshots pin, in no order. */
  pinsInto(pins: Set<Seq>): void {
    for (const { seq } of this.#snapshots.values()) pins.add(seq);
    for (const { row } of this.#ended) pins.add(row.seq);
  }

  /** The snapshot of that name in the newest state, visible or not. */
  newest(name: string): SnapshotRow | undefined {
    return this.#snapshots.get(name);
  }

  /** A reader at `visibleSeq` sees a snapshot of that number. */
  isSnapshotAt(seq: Seq, visibleSeq: Seq): boolean {
    if (seq > visibleSeq) return false;
    for (const row of this.#snapshots.values()) if (row.seq === seq) return true;
    return this.#ended.some(({ row, endSeq }) => row.seq === seq && endSeq > visibleSeq);
  }

  /** Snapshots as a reader at `visibleSeq` sees them, by their numbers. */
  snapshotsAt(visibleSeq: Seq): SnapshotRow[] {
    const rows = [
      ...this.#snapshots.values(),
      ...this.#ended.flatMap(({ row, endSeq }) => (endSeq > visibleSeq ? [row] : [])),
    ];
    return rows.filter(({ seq }) => seq <= visibleSeq).sort((a, b) => a.seq - b.seq);
  }

  /** The snapshot of that name a reader at `visibleSeq` sees. */
  snapshotAt(name: string, visibleSeq: Seq): SnapshotRow | undefined {
    const ended = this.#ended.find(({ row, endSeq }) => row.name === name && endSeq > visibleSeq);
    const row = ended?.row ?? this.#snapshots.get(name);
    return row !== undefined && row.seq <= visibleSeq ? row : undefined;
  }

  /**
   * Reads the rows from the tables of the system tree, before the log is replayed. Damage is returned, and
   * kept; other errors are thrown.
   */
  async load(system: { view(): { cursor(): KeyCursor; release(): void } }): Promise<VarveError | undefined> {
    const view = system.view();
    try {
      for (const prefix of [clockKey, policyPrefix, snapshotPrefix, rulesPrefix, usedPrefix])
        await this.#loadAll(view.cursor(), prefix);
    } catch (error) {
      if (!isDamage(error)) throw error;
      this.damage = error;
    } finally {
      view.release();
    }
    return this.damage;
  }

  async #loadAll(cursor: KeyCursor, prefix: Uint8Array): Promise<void> {
    const from = encodeSysPrefix(prefix).subarray(0, prefix.length);
    const to = prefixEnd(from)!;
    let above: string | undefined;
    let step = await settle(cursor, () => cursor.seek(from));
    while (step === OK) {
      const { keyBytes, keyFrom, keyTo, valueBytes, valueFrom, valueTo } = cursor;
      if (compareRange(keyBytes, keyFrom, keyTo, to, 0, to.length) >= 0) return;
      const { sysKey, seq } = decodeSysKey(keyBytes, keyFrom, keyTo, { file: 'system tree' });
      // Versions of a row come newest first: the first one counts.
      const name = Buffer.from(sysKey).toString('latin1');
      if (name !== above && rowKindAt(valueBytes, valueFrom) === rowKinds.put) {
        this.apply(sysKey, valueBytes.slice(valueFrom + 1, valueTo), seq);
      }
      above = name;
      step = await settle(cursor, () => cursor.next());
    }
  }

  #applySnapshot(key: Uint8Array, value: Uint8Array | undefined, seq: Seq): void {
    this.version++;
    const name = new TextDecoder().decode(key.subarray(snapshotPrefix.length));
    const before = this.#snapshots.get(name);
    if (before !== undefined) this.#ended.push({ row: before, endSeq: seq });
    if (value === undefined) this.#snapshots.delete(name);
    else this.#snapshots.set(name, decodeSnapshotRow(key, value));
  }

  #applyPolicy(space: number, value: Uint8Array | undefined, seq: Seq): void {
    this.version++;
    const history = this.policyOf(space).history ?? this.policyOf(0).history;
    if (history !== undefined) {
      this.#former.push({ space, versions: history.versions, ms: history.ms, endSeq: seq });
    }
    if (value === undefined) this.#policies.delete(space);
    else this.#policies.set(space, decodePolicyRow(value));
    this.#hasTtl = Array.from(this.#policies.values()).some(({ ttlMs }) => ttlMs !== undefined);
    this.marksTime = Array.from(this.#policies.values()).some(({ history: one }) => (one?.ms ?? 0) > 0);
  }
}
