/** Calls that write, as the oracle has them, and what is asked of their commits. */
import type { History, Version } from './history.ts';
import type { BoundsSpec, ValueSpec } from './plan.ts';
import type { Row } from './rows.ts';

/**
 * 'open': under way. 'done': acknowledged. 'nothing': acknowledged as having changed nothing. 'never':
 * refused before it had a number; 'conflict': because of its condition. 'unknown': failed, or cut off,
 * after that.
 */
export type Outcome = 'open' | 'done' | 'nothing' | 'never' | 'conflict' | 'unknown';

/** What a promise came to. */
export type Settled<T> = { value: T } | { error: unknown };

export const leavesNothing: ReadonlySet<Outcome> = new Set(['nothing', 'never', 'conflict']);

/** What a call asks for beside its changes. */
export interface Conditions {
  readonly ifSeq?: number | undefined;
  /** Keys it removes, for a range delete. */
  readonly bounds?: BoundsSpec;
  /** Keys a transaction depends on beside those it changes: 'all' of the space, or these. */
  readonly depends?: readonly string[] | 'all';
  /** What it puts expires so long after its commit. */
  readonly ttlMs?: number;
}

/** One call that writes. */
export interface Attempt {
  readonly id: number;
  readonly kind: string;
  readonly space: string;
  /** By key; null is a removal. */
  readonly changes: ReadonlyMap<string, ValueSpec | null>;
  /** Keys it removes, for a range delete. */
  readonly bounds: BoundsSpec | undefined;
  /** Number that readers saw when it began, and when it ended. */
  readonly low: number;
  high: number;
  /** Its commit number, where the call tells. */
  seq: number | undefined;
  readonly ifSeq: number | undefined;
  readonly depends: readonly string[] | 'all';
  readonly ttlMs: number | undefined;
  /** Number of the state that a transaction read, when it was run last. */
  view: number | undefined;
  /** The call that had put what an update was asked with last; null: nothing was there. */
  saw: number | null | undefined;
  /** What a counter said. */
  told: number | undefined;
  outcome: Outcome;
  /** Place in the order of all beginnings and ends. */
  readonly begin: number;
  end: number;
}

/** True for a call that was acknowledged no later than `last`, the newest durable commit. */
export function mustBeThere({ outcome, seq, high }: Attempt, last: number): boolean {
  return outcome === 'done' && (seq ?? high) <= last;
}

/** The same history, of which nothing is there any more. */
export const emptied = (history: History): History => ({
  versions: history.versions,
  at: () => undefined,
  stateAt: () => [],
  lengthOf: (version) => history.lengthOf(version),
  bytesOf: (version) => history.bytesOf(version),
  checkBytes: (version, bytes, what) => history.checkBytes(version, bytes, what),
});

/** Rows commit by commit; they are in the order of commits. */
export function groupsOf(rows: readonly Row[]): Row[][] {
  const groups: Row[][] = [];
  for (const row of rows) {
    const group = groups.at(-1);
    if (group !== undefined && group[0]!.seq === row.seq) group.push(row);
    else groups.push([row]);
  }
  return groups;
}

/** The newest version at or below `view`. */
export function newestOf(versions: readonly Version[], view: number): Version | undefined {
  for (let i = versions.length - 1; i >= 0; i--) if (versions[i]!.seq <= view) return versions[i];
  return undefined;
}
