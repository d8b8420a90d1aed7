/**
 * What must be so: every call and every read of a run, held against the rows that the store turns out to have
 * when it is opened next. Each value carries the number of the call that put it, so a row is explained by
 * exactly one call or it is wrong.
 */
import {
  type Attempt,
  type Conditions,
  emptied,
  groupsOf,
  isContended,
  leavesNothing,
  mustBeThere,
  newestOf,
  type Outcome,
} from './attempts.ts';
import type { History, Version } from './history.ts';
import { matchCalls } from './matching.ts';
import { checkObservation, type Observation } from './observations.ts';
import type { BoundsSpec, ValueSpec } from './plan.ts';
import { isWithin, rowBoundsOf, SpaceBook } from './ranges.ts';
import type { Audit, Row } from './rows.ts';
import { bytesOf as bytesOfSpec } from './values.ts';

/** A commit without puts, or a range delete, which names no call: all that could have made it, best first. */
interface Removal {
  readonly group: readonly Row[];
  readonly fits: readonly Attempt[];
}

export class Oracle implements History {
  /** History the store has shown to be durable. */
  versions: Version[] = [];
  /** Values by call. */
  readonly #puts = new Map<number, ReadonlyMap<string, ValueSpec | null>>();
  /** Versions of each key of a space, oldest first. */
  readonly #bySpace = new Map<string, Map<string, Version[]>>();
  /** Keys of a space that ever had a row, in byte order: as hex they are in the order of strings. */
  readonly #keys = new Map<string, string[]>();
  readonly #spaces = new SpaceBook();
  #rows: readonly Row[] = [];
  /** Bounds of range deletes by their commit. */
  readonly #ranges = new Map<number, BoundsSpec>();
  /** Late deletes found right. */
  readonly #late = new Set<Row>();
  #attempts: Attempt[] = [];
  /** The attempts by their id. */
  readonly #byId = new Map<number, Attempt>();
  #lastAcked = 0;
  #observations: Observation[] = [];
  #ids = 0;
  #ticks = 0;
  checkedReads = 0;
  checkedWrites = 0;

  get lastSeq(): number {
    return this.#rows.at(-1)?.seq ?? 0;
  }

  /** Highest number that a call was told. */
  get lastAcked(): number {
    return this.#lastAcked;
  }

  begin(
    kind: string,
    space: string,
    changes: ReadonlyMap<string, ValueSpec | null>,
    low: number,
    { ifSeq, bounds }: Conditions = {},
  ): Attempt {
    const id = ++this.#ids;
    const attempt: Attempt = {
      id,
      kind,
      space,
      changes,
      bounds,
      low,
      high: Number.MAX_SAFE_INTEGER,
      seq: undefined,
      ifSeq,
      outcome: 'open',
      begin: this.#ticks++,
      end: Number.MAX_SAFE_INTEGER,
    };
    this.#attempts.push(attempt);
    this.#byId.set(id, attempt);
    this.#puts.set(id, changes);
    return attempt;
  }

  end(attempt: Attempt, outcome: Outcome, high: number, seq?: number): void {
    attempt.outcome = outcome;
    attempt.high = high;
    attempt.seq = seq;
    attempt.end = this.#ticks++;
    if (outcome === 'done' && seq !== undefined) this.#lastAcked = Math.max(this.#lastAcked, seq);
  }

  observe(observation: Observation): void {
    this.#observations.push(observation);
  }

  bytesOf({ id, key }: Version): Uint8Array {
    return bytesOfSpec(this.#puts.get(id!)!.get(key)!);
  }

  lengthOf(version: Version): number {
    return this.bytesOf(version).length;
  }

  /** The newest version of a key at or below `view`, removals as undefined. */
  at(space: string, key: string, view: number): Version | undefined {
    const found = newestOf(this.#versionsOf(space, key), view);
    return found?.id === undefined ? undefined : found;
  }

  /** Live versions of a space at `view`, by key in byte order. */
  stateAt(space: string, view: number): Version[] {
    const versions = this.#bySpace.get(space);
    if (versions === undefined) return [];
    const keys = this.#sortedKeys(space, versions);
    const live: Version[] = [];
    for (const key of keys) {
      const found = newestOf(versions.get(key)!, view);
      if (found?.id !== undefined) live.push(found);
    }
    return live;
  }

  #sortedKeys(space: string, versions: ReadonlyMap<string, Version[]>): readonly string[] {
    let keys = this.#keys.get(space);
    if (keys?.length !== versions.size) {
      keys = Array.from(versions.keys()).sort();
      this.#keys.set(space, keys);
    }
    return keys;
  }

  #versionsOf(space: string, key: string): readonly Version[] {
    return this.#bySpace.get(space)?.get(key) ?? [];
  }

  /** Names of spaces that ever had a row. */
  get spaces(): string[] {
    return Array.from(this.#bySpace.keys());
  }

  /** Names that a list of spaces must have now, and those it may have too. */
  get listed(): { readonly must: readonly string[]; readonly may: ReadonlySet<string> } {
    const standing = this.#spaces.names;
    const dropped = this.#attempts.filter(({ kind }) => kind === 'drop').map(({ space }) => space);
    const written = this.#attempts.filter(({ bounds }) => bounds === undefined).map(({ space }) => space);
    return {
      must: standing.filter((name) => !dropped.includes(name)),
      may: new Set([...standing, ...written]),
    };
  }

  /** True while calls to the space may find it dropped by a call that has not ended, or not well. */
  isDropping(space: string, since = Number.MAX_SAFE_INTEGER): boolean {
    return this.#attempts.some(
      (one) =>
        one.kind === 'drop' &&
        one.space === space &&
        (one.outcome === 'open' || one.outcome === 'unknown' || one.end > since),
    );
  }

  /**
   * Takes the rows of a store just opened: what was durable is unchanged, calls explain what came since,
   * nothing up to `floor` is missing, and every read was right. Throws what is wrong.
   */
  settle({ rows, late, drops }: Pick<Audit, 'rows' | 'late' | 'drops'>, floor: number): void {
    const known = this.#rows.length;
    for (let i = 0; i < known; i++) {
      const was = this.#rows[i]!;
      const is = rows[i];
      // The audit gives the same object where the file is the same.
      if (is === was) continue;
      const same = is !== undefined && is.seq === was.seq && is.key === was.key && is.space === was.space;
      if (!same || is.record !== was.record) throw new Error(`durable row ${was.seq}:${was.key} is gone`);
    }
    const before = this.lastSeq;
    const used = new Set<Attempt>();
    const removals: Removal[] = [];
    for (const group of groupsOf(rows.slice(known))) {
      if (group[0]!.seq <= before) throw new Error(`row ${group[0]!.seq} came after ${before} was durable`);
      if (group.some(({ range }) => range !== undefined)) removals.push(this.#rangeDelete(group, drops));
      else if (group.some(({ isPut }) => isPut)) this.#explain(group, used);
      else removals.push(this.#removal(group));
    }
    const last = Math.max(rows.at(-1)?.seq ?? 0, floor);
    for (const row of late) this.#checkLate(row);
    this.#matchRemovals(removals, used, last);
    for (const attempt of this.#attempts) this.#checkAttempt(attempt, used, last);
    for (const observation of this.#observations) {
      // What a power cut took away cannot be looked up any more.
      if (observation.view > last) continue;
      this.#checkRead(observation);
      this.checkedReads++;
    }
    this.checkedWrites += used.size;
    this.#rows = rows;
    this.#attempts = [];
    this.#byId.clear();
    this.#lastAcked = 0;
    this.#observations = [];
  }

  /** A space is empty for reads from the moment a drop is given its number, whatever becomes of the call. */
  #checkRead(seen: Observation): void {
    try {
      checkObservation(this, seen);
    } catch (error) {
      if (seen.mayBeDropped !== true) throw error;
      checkObservation(emptied(this), seen);
    }
  }

  #explain(group: readonly Row[], used: Set<Attempt>): void {
    const { seq } = group[0]!;
    const ids = new Set(group.filter(({ isPut }) => isPut).map(({ id }) => id!));
    if (ids.size > 1) throw new Error(`commit ${seq} has rows of calls ${Array.from(ids).join(', ')}`);
    const [id] = ids;
    const attempt = this.#byId.get(id!);
    const where = `commit ${seq} (call ${id}, key ${group[0]!.key})`;
    if (attempt === undefined) throw new Error(`${where} was made by no call since the last open`);
    const name = `commit ${seq} of ${attempt.kind} ${attempt.id}`;
    if (used.has(attempt)) throw new Error(`${name} is there twice`);
    used.add(attempt);
    if (leavesNothing.has(attempt.outcome))
      throw new Error(`${name} is there, but the call said otherwise (${attempt.outcome})`);
    if (attempt.seq !== undefined && attempt.seq !== seq)
      throw new Error(`${name} was acknowledged as ${attempt.seq}`);
    if (seq <= attempt.low || seq > attempt.high)
      throw new Error(`${name} is not between ${attempt.low} and ${attempt.high}`);
    if (attempt.ifSeq !== undefined) {
      const was = this.#seqBefore(attempt, seq);
      if (was !== attempt.ifSeq) throw new Error(`${name} asked for ${attempt.ifSeq}, the key was at ${was}`);
    }
    this.#takeRows(group, attempt, name);
  }

  /** What the key of a condition was at before commit `seq`; 0 when absent. */
  #seqBefore({ space, changes }: Attempt, seq: number): number {
    const [key] = changes.keys();
    return this.at(space, key!, seq - 1)?.seq ?? 0;
  }

  #takeRows(group: readonly Row[], attempt: Attempt, name: string): void {
    const { space, changes } = attempt;
    const rest = new Map(changes);
    for (const row of group) {
      const change = rest.get(row.key);
      if (change === undefined) throw new Error(`${name} has a row of key ${row.key}`);
      if (row.isPut !== (change !== null))
        throw new Error(`${name} has the wrong kind of row for ${row.key}`);
      rest.delete(row.key);
      this.#spaces.take(row.space, space, name);
    }
    for (const [key, change] of rest) {
      // A removal of a key that is absent leaves no row.
      if (change !== null || this.at(space, key, group[0]!.seq) !== undefined)
        throw new Error(`${name} has no row of key ${key}`);
    }
    this.#addVersions(group, space, attempt.id);
  }

  #addVersions(group: readonly Row[], space: string, id?: number): void {
    const named = this.#bySpace.get(space) ?? new Map<string, Version[]>();
    this.#bySpace.set(space, named);
    for (const row of group) {
      const version = { seq: row.seq, space, key: row.key, id: row.isPut ? id : undefined };
      this.versions.push(version);
      const versions = named.get(row.key);
      if (versions === undefined) named.set(row.key, [version]);
      else versions.push(version);
    }
  }

  /** Takes the rows of a commit without puts: what they make of their keys is the same whoever made them. */
  #removal(group: readonly Row[]): Removal {
    const [{ seq, space: number }] = group as [Row];
    const space = this.#spaces.standing(number, `commit ${seq}`);
    const keys = new Set(group.map(({ key }) => key));
    if (space === undefined || group.some((row) => row.space !== number) || keys.size < group.length)
      throw new Error(`commit ${seq} removes ${Array.from(keys).join(', ')}, which is no call's doing`);
    for (const key of keys)
      if (this.at(space, key, seq) === undefined)
        throw new Error(`commit ${seq} removes ${key}, which is not there`);
    const fits = this.#attempts.filter(
      (one) =>
        one.space === space &&
        !leavesNothing.has(one.outcome) &&
        seq > one.low &&
        seq <= one.high &&
        (one.seq === undefined || one.seq === seq) &&
        group.every(({ key }) => one.changes.has(key)) &&
        (one.ifSeq === undefined || this.#seqBefore(one, seq) === one.ifSeq) &&
        Array.from(one.changes).every(
          // A removal of a key that is absent leaves no row.
          ([key, change]) => change === null && (keys.has(key) || this.at(space, key, seq) === undefined),
        ),
    );
    this.#addVersions(group, space);
    return { group, fits: fits.sort((a, b) => a.high - b.high || a.begin - b.begin) };
  }

  /** Takes a range delete: what it makes of the keys is the same whoever made it. */
  #rangeDelete(group: readonly Row[], drops: ReadonlyMap<number, string>): Removal {
    const [{ seq, space: number, range }] = group as [Row];
    const what = `range delete ${seq}`;
    if (group.length > 1) throw new Error(`${what} has rows of keys`);
    // Where the number was never written to the call named a space that is not there.
    const space = this.#spaces.standing(number, what);
    const dropped = drops.get(seq);
    const fits = this.#attempts.filter((one) => {
      if (one.bounds === undefined || leavesNothing.has(one.outcome)) return false;
      if (seq <= one.low || seq > one.high || (one.seq ?? seq) !== seq) return false;
      if (one.kind === 'drop' ? one.space !== dropped : dropped !== undefined) return false;
      if (space === undefined ? this.#spaces.has(one.space) : space !== one.space) return false;
      const { from, to } = rowBoundsOf(one.bounds, number);
      return from === range!.from && to === range!.to;
    });
    if (fits.length === 0) throw new Error(`${what} (${JSON.stringify(range)}) was made by no call`);
    if (dropped !== undefined) this.#spaces.drop(number, what);
    if (space !== undefined) this.#removeRange(space, seq, fits[0]!.bounds!);
    return { group, fits: fits.sort((a, b) => a.high - b.high || a.begin - b.begin) };
  }

  #removeRange(space: string, seq: number, bounds: BoundsSpec): void {
    this.#ranges.set(seq, bounds);
    for (const [key, versions] of this.#bySpace.get(space) ?? []) {
      if (versions.at(-1)?.id === undefined || !isWithin(key, bounds)) continue;
      const version = { seq, space, key, id: undefined };
      this.versions.push(version);
      versions.push(version);
    }
  }

  /** A late delete stands where a range delete covers an older version, and nowhere else. */
  #checkLate(row: Row): void {
    if (this.#late.has(row)) return;
    const space = this.#spaces.nameOf(row.space);
    const bounds = this.#ranges.get(row.seq);
    const isRight = space !== undefined && bounds !== undefined && isWithin(row.key, bounds);
    // An older one may have removed the key: merges forget that where a newer put stands above it.
    if (
      !isRight ||
      !this.#versionsOf(space, row.key).some(({ seq, id }) => seq < row.seq && id !== undefined)
    )
      throw new Error(`late delete ${row.seq}:${row.key} is of no range delete that covers a version`);
    this.#late.add(row);
  }

  /** Each commit without puts was made by a call of its own, and each such call acknowledged made one. */
  #matchRemovals(removals: readonly Removal[], used: Set<Attempt>, last: number): void {
    const calls = matchCalls(
      removals.map(({ fits }) => fits),
      this.#attempts.filter((one) => mustBeThere(one, last)),
    );
    removals.forEach(({ group }, i) => {
      const [{ seq, key }] = group as [Row];
      const call = calls[i];
      if (call === undefined)
        throw new Error(`commit ${seq} (a removal, key ${key}) was made by no call since the last open`);
      used.add(call);
    });
  }

  #checkAttempt(attempt: Attempt, used: Set<Attempt>, last: number): void {
    const { outcome, seq, high, kind, id } = attempt;
    if (mustBeThere(attempt, last) && !used.has(attempt))
      throw new Error(
        `acknowledged commit ${seq ?? `up to ${high}`} of ${kind} ${id} is lost (durable: ${last})`,
      );
    if (high > last) return;
    const [key] = attempt.changes.keys();
    if (outcome === 'conflict') {
      const was = this.at(attempt.space, key!, attempt.low)?.seq ?? 0;
      if (was === attempt.ifSeq && !isContended(attempt, this.#attempts))
        throw new Error(`${kind} ${id} was refused although ${key} was at ${was}`);
    }
    if (kind !== 'delete' || outcome !== 'nothing') return;
    const versions = this.#versionsOf(attempt.space, key!);
    const wasAbsent =
      this.at(attempt.space, key!, attempt.low) === undefined ||
      versions.some((one) => one.id === undefined && one.seq > attempt.low);
    if (!wasAbsent) throw new Error(`delete ${id} of ${key} found nothing, but the key was there`);
  }

  /** Compares bytes with what a version must have. */
  checkBytes(version: Version, bytes: Uint8Array, what: string): void {
    if (Buffer.compare(bytes, this.bytesOf(version)) !== 0)
      throw new Error(`${what}: other bytes than commit ${version.seq} put (${bytes.length} bytes)`);
  }
}
