/**
 * Decides which sealed segments are emptied next, from their sizes, ages and live bytes alone.
 *
 * Segments without live bytes come first: they cost nothing. Then by what a copied byte frees, times age
 * (young segments are still dying), as in a log-structured file system. Segments more than half live wait
 * until garbage as a whole is over its bound, since at half live a byte is copied for each byte freed.
 *
 * Invariants (test/chunk/clean-planner.test.ts)
 * - A plan names every dead segment, and of the others no more than the bounds of a cycle allow ("a plan
 *   stays within its bounds").
 * - On a full disk a plan shrinks to what fits ("a plan shrinks to the room there is").
 * - Plans come to an end, and garbage is then within its bound as far as segments allow ("repeated plans end
 *   with garbage below the bound").
 */
import type { FileNo } from '../base/brands.ts';

/** A sealed segment, and the bytes of its frames that are live. */
export interface PlanSegment {
  readonly no: FileNo;
  readonly dataLen: number;
  readonly frames: number;
  readonly live: number;
}

export interface CleanLimits {
  /** Bytes of frames of the segments one cycle copies from, at most; one segment is always allowed. */
  readonly inputBytes: number;
  /** Their frames, at most. */
  readonly inputFrames: number;
  /** Garbage as a share of all bytes above which segments more than half live are taken. */
  readonly maxGarbage: number;
  /** Live share up to which a segment is taken at all, and below the bound of garbage. */
  readonly liveMax: number;
  readonly liveSoft: number;
  /** Segments below this many bytes are joined once there are `smallCount` of them. */
  readonly smallBytes: number;
  readonly smallCount: number;
  /** The size segments are written in. */
  readonly segmentBytes: number;
}

export interface CleanPlan {
  /** Nothing is live in them. */
  readonly dead: readonly FileNo[];
  /** Best first. */
  readonly victims: readonly FileNo[];
  /** Live bytes of the victims: what has to be copied. */
  readonly copyBytes: number;
  /** Garbage in all of them. */
  readonly freedBytes: number;
}

/** Plans one cycle. `avoid`: damaged, pinned for too long, or on their way out. */
export function planCleaning(
  segments: readonly PlanSegment[],
  limits: CleanLimits,
  avoid: ReadonlySet<FileNo>,
): CleanPlan {
  const free = segments.filter(({ no }) => !avoid.has(no));
  const dead = free.filter(({ live }) => live === 0);
  const rest = free.filter(({ live }) => live > 0);
  const victims = take(bestFirst(rest, boundOf(segments, limits)), limits);
  const chosen = victims.length > 0 ? victims : small(rest, limits);
  const sum = (of: (segment: PlanSegment) => number, from: readonly PlanSegment[]): number =>
    from.reduce((total, segment) => total + of(segment), 0);
  return {
    dead: dead.map(({ no }) => no),
    victims: chosen.map(({ no }) => no),
    copyBytes: sum(({ live }) => live, chosen),
    freedBytes: sum(({ dataLen, live }) => dataLen - live, [...dead, ...chosen]),
  };
}

/**
 * As much of a plan as `room` bytes of copies allow: the dead, and the best victims that fit together. Where
 * that is nothing, the one with the least to copy, whoever may find room for it.
 */
export function withinRoom(plan: CleanPlan, segments: readonly PlanSegment[], room: number): CleanPlan {
  if (plan.copyBytes <= room) return plan;
  const byNo = new Map(segments.map((segment) => [segment.no, segment]));
  const victims = plan.victims.map((no) => byNo.get(no)!);
  const chosen: PlanSegment[] = [];
  let copyBytes = 0;
  let left = room;
  for (const victim of victims) {
    const needed = victim.live + victim.frames * moveBytes;
    if (needed > left) continue;
    chosen.push(victim);
    copyBytes += victim.live;
    left -= needed;
  }
  if (chosen.length + plan.dead.length === 0) {
    const least = victims.reduce((a, b) => (b.live < a.live ? b : a));
    chosen.push(least);
    copyBytes = least.live;
  }
  const dead = plan.dead.map((no) => byNo.get(no)!);
  const freedBytes = [...dead, ...chosen].reduce((sum, { dataLen, live }) => sum + dataLen - live, 0);
  return { dead: plan.dead, victims: chosen.map(({ no }) => no), copyBytes, freedBytes };
}

/** What is written beside a frame that moves: in the log, and as an entry of a table. */
const moveBytes = 128;

/** Garbage as a share of all bytes; 0 for nothing. */
export function garbageShare(segments: readonly PlanSegment[]): number {
  let bytes = 0;
  let live = 0;
  for (const segment of segments) {
    bytes += segment.dataLen;
    live += segment.live;
  }
  return bytes === 0 ? 0 : (bytes - live) / bytes;
}

/** Live share up to which segments are taken now. */
function boundOf(segments: readonly PlanSegment[], { maxGarbage, liveMax, liveSoft }: CleanLimits): number {
  return garbageShare(segments) > maxGarbage ? liveMax : liveSoft;
}

function bestFirst(segments: readonly PlanSegment[], liveMax: number): PlanSegment[] {
  const newest = segments.reduce((most, { no }) => Math.max(most, no), 0);
  const scored = segments
    .map((segment) => ({ segment, u: segment.live / segment.dataLen }))
    .filter(({ u }) => u <= liveMax && u < 1)
    .map(({ segment, u }) => ({
      segment,
      // Those at most half live come first, whatever their age.
      half: u <= 0.5,
      score: ((1 - u) * (1 + newest - segment.no)) / (1 + u),
    }));
  scored.sort((a, b) => Number(b.half) - Number(a.half) || b.score - a.score);
  return scored.map(({ segment }) => segment);
}

function take(ordered: readonly PlanSegment[], { inputBytes, inputFrames }: CleanLimits): PlanSegment[] {
  const taken: PlanSegment[] = [];
  let bytes = 0;
  let frames = 0;
  for (const segment of ordered) {
    const fits = bytes + segment.dataLen <= inputBytes && frames + segment.frames <= inputFrames;
    if (taken.length > 0 && !fits) continue;
    taken.push(segment);
    bytes += segment.dataLen;
    frames += segment.frames;
  }
  return taken;
}

/** Small segments, where joining them makes fewer of them. */
function small(segments: readonly PlanSegment[], limits: CleanLimits): PlanSegment[] {
  const ordered = segments.filter(({ dataLen }) => dataLen < limits.smallBytes).sort((a, b) => a.no - b.no);
  const taken = take(ordered, limits);
  const bytes = taken.reduce((sum, { live }) => sum + live, 0);
  const after = Math.ceil(bytes / limits.segmentBytes);
  return taken.length >= limits.smallCount && after < taken.length ? taken : [];
}
