/** What a history says of the store with its commits up to a number. */

import type { Committed } from './kept-rows.ts';
import type { History } from './recorder.ts';
import { type Row, valueName } from './row.ts';
import { covers } from './system-rows.ts';

/** Live values by space name and hex key. */
export type State = Map<string, Map<string, Uint8Array>>;

/** The store with its commits up to one; made once. */
export interface Expected {
  /** The last commit up to there. */
  readonly last: number;
  readonly committed: Committed;
  readonly state: State;
  /** Spaces that are listed, in order. */
  readonly names: readonly string[];
}

const known = new WeakMap<History, Map<number, Expected>>();

export function upTo(history: History, last: number): Expected {
  const made = known.get(history) ?? new Map<number, Expected>();
  known.set(history, made);
  let one = made.get(last);
  if (one === undefined) {
    const rows = history.rows.filter(({ seq }) => seq <= last);
    const ranges = history.ranges.filter(({ seq }) => seq <= last);
    one = {
      last: Math.max(rows.at(-1)?.seq ?? 0, ranges.at(-1)?.seq ?? 0),
      committed: { rows, ranges, spaceRows: history.spaceRows.filter(({ seq }) => seq <= last) },
      state: stateAt(history, last),
      names: namesAt(history, last),
    };
    made.set(last, one);
  }
  return one;
}

/** `withBrief`: also what has expired long after the run. */
export function stateAt(history: History, last: number, withBrief = false): State {
  const state: State = new Map([['', new Map()]]);
  for (const name of history.spaces.values()) state.set(name, new Map());
  const bySeq = [...history.rows, ...history.ranges].sort((a, b) => a.seq - b.seq);
  for (const one of bySeq) {
    if (one.seq > last) break;
    if ('key' in one) apply(history, state, one, withBrief);
    else {
      for (const [number, name] of history.spaces) {
        const live = state.get(name)!;
        for (const key of Array.from(live.keys())) if (covers(one, number, key)) live.delete(key);
      }
    }
  }
  return state;
}

/** A name has the numbers of all spaces it ever had; only the newest of them is written to. */
function apply(
  { spaces, values, brief }: History,
  state: State,
  { seq, space, key, isPut }: Row,
  withBrief: boolean,
): void {
  const live = state.get(spaces.get(space)!)!;
  const name = valueName(seq, key);
  if (isPut && (withBrief || !brief.has(name))) live.set(key, values.get(name)!);
  else live.delete(key);
}

function namesAt({ spaceRows }: History, last: number): string[] {
  const names = new Set<string>();
  for (const { seq, name, number } of spaceRows) {
    if (seq > last) break;
    if (number === undefined) names.delete(name);
    else names.add(name);
  }
  return Array.from(names).sort();
}
