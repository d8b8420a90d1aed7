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
  leavesNothing,
  mustBeThere,
  type Outcome,
} from './attempts.ts';
import { contradiction, mayConflict } from './deciding.ts';
import { MarkBook } from './marks.ts';
import { matchCalls } from './matching.ts';
import { checkObservation, type Observation } from './observations.ts';
import type { BoundsSpec, ValueSpec } from './plan.ts';
import { isWithin, rowBoundsOf, SpaceBook } from './ranges.ts';
import type { Audit, Row } from './rows.ts';
import { VersionBook } from './version-book.ts';

/**
 * A commit without puts, a range delete, or one of a counter, which name no call: all that could have made
 * it, best first.
 */
interface Removal {
  readonly group: readonly Row[];
  readonly fits: readonly Attempt[];
}

export class Oracle extends VersionBook {
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
  /** The latest the clock ever said. */
  #latest = 0;
  #ids = 0;
  #ticks = 0;
  /** Snapshots and what else has a name. */
  readonly marks = new MarkBook();
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
    { ifSeq, bounds, depends = [], ttlMs }: Conditions = {},
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
      depends,
      ttlMs,
      view: undefined,
      saw: undefined,
      told: undefined,
      outcome: 'open',
      begin: this.#ticks++,
      end: Number.MAX_SAFE_INTEGER,
    };
    this.#attempts.push(attempt);
    this.#byId.set(id, attempt);
    this.takeValues(id, changes);
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
   * nothing up to `floor` is missing, and every read was right; what is expired was so by the `latest` time.
   * Throws what is wrong. Commits up to the
   * number returned are there.
   */
  settle(
    { rows, late, drops }: Pick<Audit, 'rows' | 'late' | 'drops'>,
    floor: number,
    latest = Number.MAX_SAFE_INTEGER,
  ): number {
    this.#latest = latest;
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
      else if (group.some(({ id = 0 }) => id < 0)) removals.push(this.#count(group));
      else if (group.some(({ isPut }) => isPut)) this.#explain(group, used);
      else if (!this.#isExpiry(group)) removals.push(this.#removal(group));
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
    return last;
  }

  /** Throws where a read of the state as it stands is wrong. */
  checkNow(seen: Observation): void {
    this.#checkRead(seen);
  }

  /**
   * A space is empty for reads from the moment a drop is given its number, whatever becomes of the call; what
   * has expired at some moment of the read may be absent.
   */
  #checkRead(seen: Observation): void {
    const [low, high] = seen.clock ?? [0, Number.MAX_SAFE_INTEGER];
    let first: unknown;
    const states = this.momentsIn(low, high).map((ms) => this.asOf(ms));
    if (seen.mayBeDropped === true) states.push(emptied(this));
    for (const state of states) {
      try {
        checkObservation(state, seen);
        return;
      } catch (error) {
        first ??= error;
      }
    }
    throw first;
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
    const wrong = contradiction(this, attempt, seq);
    if (wrong !== undefined) throw new Error(`${name} ${wrong}`);
    this.#takeRows(group, attempt, name);
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
      const ttlMs = row.expires === undefined ? undefined : row.expires - row.ms!;
      if (ttlMs !== attempt.ttlMs) throw new Error(`${name} expires after ${ttlMs} ms`);
      this.#spaces.take(row.space, space, name);
    }
    for (const [key, change] of rest) {
      // A removal of a key that is absent leaves no row.
      if (change !== null || this.at(space, key, group[0]!.seq) !== undefined)
        throw new Error(`${name} has no row of key ${key}`);
    }
    this.addVersions(group, space, attempt.id);
  }

  /** Takes the rows of a commit that deletes what has expired; false for another one. */
  #isExpiry(group: readonly Row[]): boolean {
    const expired = group.every((row) => {
      const versions = this.versionsOf(this.#spaces.nameOf(row.space) ?? '', row.key);
      const put = versions.findLast(({ id, seq }) => id !== undefined && seq < row.seq);
      return put?.expires !== undefined && put.expires <= this.#latest;
    });
    if (expired) for (const row of group) this.addVersions([row], this.#spaces.nameOf(row.space)!);
    return expired;
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
        contradiction(this, one, seq) === undefined &&
        Array.from(one.changes).every(
          // A removal of a key that is absent leaves no row.
          ([key, change]) => change === null && (keys.has(key) || this.at(space, key, seq) === undefined),
        ),
    );
    this.addVersions(group, space);
    return { group, fits: fits.sort((a, b) => a.high - b.high || a.begin - b.begin) };
  }

  /** Takes what a counter put: one more than what was there. */
  #count(group: readonly Row[]): Removal {
    const [{ seq, space, key, id }] = group as [Row];
    const was = this.at('', key, seq - 1)?.id ?? 0;
    if (group.length > 1 || space !== 0 || id !== was - 1)
      throw new Error(`commit ${seq} counts ${-id!} at ${key} after ${-was}`);
    const fits = this.#attempts.filter(
      (one) =>
        one.kind === 'increment' &&
        one.changes.has(key) &&
        !leavesNothing.has(one.outcome) &&
        seq > one.low &&
        seq <= one.high &&
        (one.told ?? -id) === -id,
    );
    this.addVersions(group, '', id);
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
    if (space !== undefined) {
      const { bounds } = fits[0]!;
      this.#ranges.set(seq, bounds!);
      this.removeKeys(space, seq, (key) => isWithin(key, bounds!));
    }
    return { group, fits: fits.sort((a, b) => a.high - b.high || a.begin - b.begin) };
  }

  /** A late delete stands where a range delete covers an older version, and nowhere else. */
  #checkLate(row: Row): void {
    if (this.#late.has(row)) return;
    const space = this.#spaces.nameOf(row.space);
    const bounds = this.#ranges.get(row.seq);
    const isRight = space !== undefined && bounds !== undefined && isWithin(row.key, bounds);
    // An older one may have removed the key: merges forget that where a newer put stands above it.
    if (!isRight || !this.versionsOf(space, row.key).some(({ seq, id }) => seq < row.seq && id !== undefined))
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
        throw new Error(`commit ${seq} (key ${key}) was made by no call since the last open`);
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
    if (outcome === 'conflict' && !mayConflict(this, attempt, this.#attempts))
      throw new Error(`${kind} ${id} was refused with a conflict, and there was none`);
    if (kind !== 'delete' || outcome !== 'nothing') return;
    const versions = this.versionsOf(attempt.space, key!);
    const wasAbsent =
      this.at(attempt.space, key!, attempt.low) === undefined ||
      versions.some((one) => one.id === undefined && one.seq > attempt.low);
    if (!wasAbsent) throw new Error(`delete ${id} of ${key} found nothing, but the key was there`);
  }
}
