/**
 * What health() says: damage and refusals from the book, and from figures at hand whether room runs out,
 * writes hang, space is held, checks are overdue. Reads no file.
 *
 * Invariants (test/engine/health.test.ts)
 * - Each state has at least one reason of its own level, and none of a worse one ("a state is that of its
 *   worst reason").
 */
import { MiB } from '../../base/limits.ts';
import type { Store, WriteSide } from '../store.ts';
import type { Health } from '../types.ts';
import type { HealthLevel, HealthReason } from './health-types.ts';

/** Commits that wait so long for the disk, ms, hang; looked at with every poll. */
const stallMs = 30_000;
/** Share of the time between two polls that writers may wait for merges. */
const waitShare = 0.5;
/** A disk that will be full sooner is worth a warning, s. */
const fullSoonSeconds = 24 * 3600;
/** What one snapshot or view may hold alone: this much, or this share of all chunks. */
const heldBytesMin = 64 * MiB;
const heldShare = 0.1;
/** Rounds of scrubbing that may be missed. */
const roundsMax = 2;

const order: readonly HealthLevel[] = ['healthy', 'warning', 'degraded', 'unhealthy'];

/** What was seen at an earlier poll. */
interface Seen {
  readonly atMs: number;
  /** Since when nothing became visible although something waits; undefined: nothing waits. */
  readonly stuckSince: number | undefined;
  readonly visibleSeq: number;
  readonly waitedMs: number;
}

export class HealthWatch {
  #seen: Seen | undefined;

  /** The state now. */
  report(store: Store): Health {
    const { health, write, env } = store.parts;
    const known = health.report(store.isReadOnly, write?.log.failure);
    const now = env.clock.monotonic();
    const reasons: HealthReason[] = [...knownReasons(known)];
    if (write !== undefined) {
      reasons.push(...spaceReasons(write), ...heldReasons(store), ...workReasons(write));
      if (known.status !== 'degraded') reasons.push(...this.#stalls(write, now));
    }
    reasons.push(...checkReasons(store));
    const worst = reasons.reduce((most, { level }) => Math.max(most, order.indexOf(level)), 0);
    const room = write?.room;
    const { lastCheck } = health;
    return {
      ...known,
      backups: store.backups.list(),
      ok: reasons.length === 0,
      status: order[worst]!,
      reasons,
      ...(room?.free === undefined
        ? {}
        : {
            disk: {
              freeBytes: room.free,
              floorBytes: room.floor,
              ...(room.secondsToFull === undefined ? {} : { secondsToFull: room.secondsToFull }),
            },
          }),
      ...(lastCheck === undefined ? {} : { lastCheck }),
    };
  }

  #stalls(write: WriteSide, now: number): HealthReason[] {
    const { log, pacer } = write;
    const last = this.#seen;
    const waits = log.lastSeq > log.visibleSeq;
    const isSame = last !== undefined && last.visibleSeq === log.visibleSeq;
    const stuckSince = waits ? (isSame ? (last.stuckSince ?? now) : now) : undefined;
    const { waitedMs } = pacer;
    this.#seen = { atMs: now, stuckSince, visibleSeq: log.visibleSeq, waitedMs };
    const reasons: HealthReason[] = [];
    if (stuckSince !== undefined && now - stuckSince >= stallMs) {
      const seconds = Math.round((now - stuckSince) / 1000);
      reasons.push({
        level: 'unhealthy',
        kind: 'stall',
        message: `commits have waited ${seconds} s for the disk`,
      });
    }
    const passed = last === undefined ? 0 : now - last.atMs;
    if (last !== undefined && passed >= 1000 && waitedMs - last.waitedMs > passed * waitShare) {
      reasons.push({ level: 'warning', kind: 'stall', message: 'writers wait for merges of tables' });
    }
    return reasons;
  }
}

function* knownReasons(known: Omit<Health, 'backups'>): Generator<HealthReason> {
  const { status, reason, damage, missing } = known;
  if (status === 'degraded')
    yield { level: 'degraded', kind: 'writes', message: reason ?? 'writes are refused' };
  if (damage.length > 0)
    yield { level: 'warning', kind: 'damage', message: `${damage.length} damaged: ${damage[0]!.message}` };
  if (missing.length > 0) {
    const [{ from, to }] = missing as [{ from: number; to?: number }];
    yield {
      level: 'warning',
      kind: 'missing',
      message: `commits from ${from} to ${to ?? 'the end'} are lost`,
    };
  }
}

function* spaceReasons({ room }: WriteSide): Generator<HealthReason> {
  const { free, floor, secondsToFull } = room;
  if (free === undefined) return;
  if (free < floor) {
    const message = `${free} bytes are free, ${floor} are kept free: puts are refused`;
    yield { level: 'degraded', kind: 'space', message };
  } else if (secondsToFull !== undefined && secondsToFull < fullSoonSeconds) {
    const message = `the disk is full in ${Math.round(secondsToFull)} s if it goes on like this`;
    yield { level: 'warning', kind: 'space', message };
  }
}

/** A snapshot or view that alone holds much is named. */
function* heldReasons(store: Store): Generator<HealthReason> {
  const { held } = store.companions;
  const { lanes } = store.parts;
  const sealed = lanes.sealed().reduce((sum, { dataLen }) => sum + dataLen, 0);
  const most = Math.max(heldBytesMin, sealed * heldShare);
  for (const { by, name, seq, ageMs, openedAt, aloneBytes } of held.last?.holders ?? []) {
    if (aloneBytes <= most) continue;
    const what =
      by === 'snapshot' ? `snapshot ${JSON.stringify(name)}` : `a ${by === 'view' ? 'view' : 'read'}`;
    const since = ageMs === undefined ? '' : `, open for ${Math.round(ageMs / 1000)} s`;
    const where = openedAt === undefined ? '' : `, opened ${openedAt}`;
    const message = `${what} of commit ${seq} alone holds ${aloneBytes} bytes${since}${where}`;
    yield { level: 'warning', kind: 'pinned', message };
  }
}

/** Background work that damage has ended: what it would free stays. */
function* workReasons({ reaper, purger }: WriteSide): Generator<HealthReason> {
  for (const { work } of [reaper, purger]) {
    const { stuck } = work;
    if (stuck !== undefined) yield { level: 'warning', kind: 'background', message: stuck.message };
  }
}

function* checkReasons({ parts: { env, health, options } }: Store): Generator<HealthReason> {
  const { lastCheck } = health;
  const settings = options.scrub;
  if (lastCheck !== undefined && lastCheck.damage > 0) {
    const message = `the last check found ${lastCheck.damage} damaged places`;
    yield { level: 'warning', kind: 'check', message };
  }
  if (settings === undefined || lastCheck === undefined) return;
  const late = env.clock.now() - lastCheck.at.getTime() - roundsMax * settings.everyMs;
  if (late > 0) yield { level: 'warning', kind: 'check', message: 'no check has ended for two rounds' };
}
