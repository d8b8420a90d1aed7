/**
 * What a store must hold after writers were stopped: per lane, its acknowledged calls and perhaps the one
 * under way; over all lanes, a prefix of the order of commits.
 */
import { createHash } from 'node:crypto';
import { type LaneOp, laneOp, lanesMax, type Script } from './lane-ops.ts';
import type { Ack } from './worker.ts';

/** Digest of the value of each live key. */
export type State = Map<string, string>;

export const digestOf = (value: Uint8Array): string => createHash('sha256').update(value).digest('base64');

/** What was acknowledged in one round. */
export interface Round {
  readonly script: Script;
  readonly lanes: number;
  readonly acks: readonly Ack[];
  /** The first so many count as promised; the later ones may be there or not. All when not given. */
  readonly promised?: number;
  /** Acknowledged means on disk, or in the kernel and the kernel lives: every acknowledged call counts. */
  readonly keepsAcked: boolean;
  /** Commits up to this number are on disk whatever the mode. */
  readonly durable: number;
}

/** Keys and digests known to be in the store, by lane. */
export class LaneModel {
  /** Calls under way at an end that were found whole, and found absent. */
  landed = 0;
  vanished = 0;
  readonly #lanes = new Map<number, State>();

  #state(lane: number): State {
    return this.#lanes.get(lane) ?? new Map();
  }

  /** Throws an Error that says what of the round is lost, half there or come back in what was found. */
  check(round: Round, found: State): void {
    this.#fits(round, found);
  }

  /** Numbers of calls after which each lane looks as found. */
  #fits(round: Round, found: State): readonly (readonly number[])[] {
    const fits: number[][] = [];
    let known = 0;
    const promised = round.acks.slice(0, round.promised);
    for (let lane = 0; lane < lanesMax; lane++) {
      const own = ofLane(found, lane);
      known += own.size;
      const acks = round.acks.filter((ack) => ack.lane === lane);
      const due = promised.filter((ack) => ack.lane === lane);
      const least = round.keepsAcked ? due.length : safeCalls(due, round.durable);
      // A lane that was not part of the round stays as it was.
      const length = lane < round.lanes ? acks.length + 1 : 0;
      const ops = Array.from({ length }, (_, i) => laneOp(round.script, lane, i));
      const all = matches(this.#state(lane), ops, own);
      const allowed = all.filter((calls) => calls >= least);
      if (allowed.length === 0) throw new Error(this.#explain(lane, ops, acks.length, least, all, own));
      fits.push(allowed);
    }
    refuseHole(round, fits);
    if (found.size !== known) throw new Error(`${found.size - known} keys that no lane wrote`);
    return fits;
  }

  /** `check`; what was found is what the next round starts from. */
  accept(round: Round, found: State): void {
    this.#fits(round, found).forEach((calls, lane) => {
      const acked = round.acks.filter((ack) => ack.lane === lane).length;
      // One that changes nothing, or nothing any more, fits both ways and is not counted.
      if (lane < round.lanes && calls[0]! > acked) this.landed++;
      else if (lane < round.lanes && calls.at(-1)! <= acked) this.vanished++;
    });
    for (let lane = 0; lane < lanesMax; lane++) this.#lanes.set(lane, ofLane(found, lane));
  }

  #explain(
    lane: number,
    ops: readonly LaneOp[],
    acked: number,
    least: number,
    all: readonly number[],
    own: State,
  ): string {
    const calls = `${acked} calls acknowledged, ${least} promised`;
    if (all.length > 0) return `lane ${lane}: ${calls}, the store has ${all.join(' or ')}`;
    const state = new Map(this.#state(lane));
    for (const op of ops.slice(0, acked)) apply(state, op);
    const wrong = [...new Set([...state.keys(), ...own.keys()])].filter(
      (key) => state.get(key) !== own.get(key),
    );
    const last = (ops[acked]?.changes ?? []).map(({ key }) => key);
    const show = wrong.map((key) => `${key}${own.has(key) ? ' differs' : ' is missing'}`);
    return `lane ${lane}: after ${acked} calls ${show.join(', ')}; under way was ${last.join(', ')}`;
  }
}

function ofLane(found: State, lane: number): State {
  return new Map(Array.from(found).filter(([key]) => key.startsWith(`${lane}/`)));
}

function apply(state: State, { changes }: LaneOp): void {
  for (const { key, value } of changes) {
    if (value === undefined) state.delete(key);
    else state.set(key, digestOf(value));
  }
}

/** Numbers of calls after which the lane looks as found. */
function matches(start: State, ops: readonly LaneOp[], found: State): number[] {
  const state = new Map(start);
  const wrong = new Set(
    [...start.keys(), ...found.keys()].filter((key) => start.get(key) !== found.get(key)),
  );
  const fits = wrong.size === 0 ? [0] : [];
  ops.forEach((op, i) => {
    apply(state, op);
    for (const { key } of op.changes) {
      if (state.get(key) === found.get(key)) wrong.delete(key);
      else wrong.add(key);
    }
    if (wrong.size === 0) fits.push(i + 1);
  });
  return fits;
}

/** Calls of a lane that a commit known to be on disk follows or is. */
function safeCalls(acks: readonly Ack[], durable: number): number {
  return acks.findLastIndex(({ seq }) => seq !== undefined && seq <= durable) + 1;
}

/** No commit is missing while a later one, of whatever lane, is there. */
function refuseHole({ acks, lanes }: Round, fits: readonly (readonly number[])[]): void {
  const perLane = Array.from({ length: lanes }, (_, lane) => acks.filter((ack) => ack.lane === lane));
  const certain = perLane.flatMap((own, lane) => own.slice(0, fits[lane]![0]));
  const last = Math.max(0, ...certain.map(({ seq }) => seq ?? 0));
  perLane.forEach((own, lane) => {
    const needed = safeCalls(own, last);
    const most = fits[lane]!.at(-1)!;
    if (most < needed) throw new Error(`commit ${last} is there and an earlier one of lane ${lane} is not`);
  });
}
