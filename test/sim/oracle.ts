/**
 * What must be so: every call and every read of a run, held against the rows that the store turns out to have
 * when it is opened next. Each value carries the number of the call that put it, so a row is explained by
 * exactly one call or it is wrong.
 */
import type { History, Version } from './history.ts';
import { matchCalls } from './matching.ts';
import { checkObservation, type Observation } from './observations.ts';
import type { ValueSpec } from './plan.ts';
import type { Row } from './store-audit.ts';
import { bytesOf as bytesOfSpec } from './values.ts';

/**
 * 'open': under way. 'done': acknowledged. 'nothing': acknowledged as having changed nothing. 'never':
 * refused before it had a number; 'conflict': because of its condition. 'unknown': failed, or cut off,
 * after that.
 */
export type Outcome = 'open' | 'done' | 'nothing' | 'never' | 'conflict' | 'unknown';

const leavesNothing: ReadonlySet<Outcome> = new Set(['nothing', 'never', 'conflict']);

/** One call that writes. */
export interface Attempt {
  readonly id: number;
  readonly kind: string;
  readonly space: string;
  /** By key; null is a removal. */
  readonly changes: ReadonlyMap<string, ValueSpec | null>;
  /** Number that readers saw when it began, and when it ended. */
  readonly low: number;
  high: number;
  /** Its commit number, where the call tells. */
  seq: number | undefined;
  readonly ifSeq: number | undefined;
  outcome: Outcome;
  /** Place in the order of all beginnings and ends. */
  readonly begin: number;
  end: number;
}

/** A commit without puts, which names no call: all that could have made it, best first. */
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
  readonly #spacesWritten = new Set<string>();
  readonly #spaceNames = new Map<number, string>([[0, '']]);
  #rows: readonly Row[] = [];
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
    return this.versions.at(-1)?.seq ?? 0;
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
    ifSeq?: number,
  ): Attempt {
    const id = ++this.#ids;
    const attempt: Attempt = {
      id,
      kind,
      space,
      changes,
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
    this.#spacesWritten.add(space);
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

  /** Names of spaces that have a row. */
  get spaces(): string[] {
    return Array.from(this.#bySpace.keys());
  }

  /** True when a call that writes was made on the space. */
  wasWritten(space: string): boolean {
    return this.#spacesWritten.has(space);
  }

  /**
   * Takes the rows of a store just opened: what was durable is unchanged, calls explain what came since,
   * nothing up to `floor` is missing, and every read was right. Throws what is wrong.
   */
  settle(rows: readonly Row[], floor: number): void {
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
      if (group.some(({ isPut }) => isPut)) this.#explain(group, used);
      else removals.push(this.#removal(group));
    }
    const last = Math.max(this.lastSeq, floor);
    this.#matchRemovals(removals, used, last);
    for (const attempt of this.#attempts) this.#checkAttempt(attempt, used, last);
    for (const observation of this.#observations) {
      // What a power cut took away cannot be looked up any more.
      if (observation.view > last) continue;
      checkObservation(this, observation);
      this.checkedReads++;
    }
    this.checkedWrites += used.size;
    this.#rows = rows;
    this.#attempts = [];
    this.#byId.clear();
    this.#lastAcked = 0;
    this.#observations = [];
  }

  #explain(group: readonly Row[], used: Set<Attempt>): void {
    const { seq } = group[0]!;
    const ids = new Set(group.filter(({ isPut }) => isPut).map(({ id }) => id!));
    if (ids.size > 1) throw new Error(`commit ${seq} has rows of calls ${Array.from(ids).join(', ')}`);
    const [id] = ids;
    const attempt = this.#byId.get(id!);
    if (attempt === undefined)
      throw new Error(
        `commit ${seq} (call ${id}, key ${group[0]!.key}) was made by no call since the last open`,
      );
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
      const known = this.#spaceNames.get(row.space);
      if (known !== undefined && known !== space)
        throw new Error(`space ${row.space} is ${known} and ${space}`);
      this.#spaceNames.set(row.space, space);
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
    const space = this.#spaceNames.get(number);
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
      if (was === attempt.ifSeq && !this.isContended(attempt))
        throw new Error(`${kind} ${id} was refused although ${key} was at ${was}`);
    }
    if (kind !== 'delete' || outcome !== 'nothing') return;
    const versions = this.#versionsOf(attempt.space, key!);
    const wasAbsent =
      this.at(attempt.space, key!, attempt.low) === undefined ||
      versions.some((one) => one.id === undefined && one.seq > attempt.low);
    if (!wasAbsent) throw new Error(`delete ${id} of ${key} found nothing, but the key was there`);
  }

  /** True when other calls on a key of `attempt` were under way while it was. */
  isContended(attempt: Attempt): boolean {
    return this.#attempts.some(
      (other) =>
        other !== attempt &&
        other.space === attempt.space &&
        other.begin < attempt.end &&
        other.end > attempt.begin &&
        Array.from(other.changes.keys()).some((key) => attempt.changes.has(key)),
    );
  }

  /** Compares bytes with what a version must have. */
  checkBytes(version: Version, bytes: Uint8Array, what: string): void {
    if (Buffer.compare(bytes, this.bytesOf(version)) !== 0)
      throw new Error(`${what}: other bytes than commit ${version.seq} put (${bytes.length} bytes)`);
  }
}

/** True for a call that was acknowledged no later than `last`, the newest durable commit. */
function mustBeThere({ outcome, seq, high }: Attempt, last: number): boolean {
  return outcome === 'done' && (seq ?? high) <= last;
}

function groupsOf(rows: readonly Row[]): Row[][] {
  const groups: Row[][] = [];
  for (const row of rows) {
    const group = groups.at(-1);
    if (group !== undefined && group[0]!.seq === row.seq) group.push(row);
    else groups.push([row]);
  }
  return groups;
}

function newestOf(versions: readonly Version[], view: number): Version | undefined {
  for (let i = versions.length - 1; i >= 0; i--) if (versions[i]!.seq <= view) return versions[i];
  return undefined;
}
