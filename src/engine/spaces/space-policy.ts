/** Policies as callers ask for them: of the store at its open, of a space when it is named. */
import { invalid } from '../../base/errors.ts';
import { type PeriodRules, periodRules } from '../../base/keep-periods.ts';
import { historyMsMax } from '../../base/limits.ts';
import { checkNames } from '../../base/names.ts';
import type { PolicyAsked } from '../history/history.ts';
import { checkHistory, type HistoryOptions } from '../options.ts';
import type { Store } from '../store.ts';
import { checkTtl } from '../writing/batch-plan.ts';

/** Which superseded versions of each key stay; rules are united, and at least one is needed. */
export interface RetentionRules {
  /** The newest so many; a deletion counts as one. */
  last?: number;
  /**
   * The newest of each of the last so many hours, days, weeks, months, years (of UTC, weeks from Monday on)
   * in which some version was superseded that is there.
   */
  hourly?: number;
  daily?: number;
  weekly?: number;
  monthly?: number;
  yearly?: number;
  /** Those put less than so many ms before the newest of them. By age, as the clock goes: `history.ms`. */
  within?: number;
}

/**
 * Policies of a space. Kept in the store: left out, what was asked for last goes on; null takes it away. What
 * history, retention, snapshots and views keep is united: a version that one of them keeps stays.
 */
export interface SpaceOptions {
  /** How much history of the space is kept, instead of what the store keeps of others. */
  history?: HistoryOptions | null;
  /** Values put without `ttlMs` expire so long after their commit, 1 up to 2^45. */
  ttlMs?: number | null;
  /** Superseded versions that stay; each can be read at its own number. */
  retention?: RetentionRules | null;
  /**
   * Bytes that the values of all keys may take together (logical: before deduplication, without keys and
   * metadata). A write beyond is VARVE_QUOTA. Of a space with values already it counts once they are counted,
   * in the background.
   */
  quotaBytes?: number | null;
}

const optionNames = ['history', 'ttlMs', 'retention', 'quotaBytes'] as const;

/** VARVE_INVALID_ARGUMENT names what is unknown or out of range. */
export function checkSpaceOptions(options: SpaceOptions): PolicyAsked {
  checkNames(options, optionNames, 'space option');
  const { history, ttlMs, retention, quotaBytes } = options;
  if (ttlMs !== undefined && ttlMs !== null) checkTtl(ttlMs);
  if (quotaBytes !== undefined && quotaBytes !== null && !isWhole(quotaBytes, Number.MAX_SAFE_INTEGER)) {
    throw invalid('quotaBytes must be a whole number from 0 up', { actual: quotaBytes });
  }
  return {
    ttlMs,
    quotaBytes,
    history: history === undefined || history === null ? history : checkHistory(history),
    retention: retention === undefined || retention === null ? retention : checkRetention(retention),
  };
}

/** Every rule with its number. VARVE_INVALID_ARGUMENT where none keeps anything. */
export function checkRetention(given: RetentionRules): Required<PeriodRules> {
  checkNames(given, periodRules, 'retention rule');
  const rules = { last: 0, hourly: 0, daily: 0, weekly: 0, monthly: 0, yearly: 0, within: 0 };
  for (const rule of periodRules) {
    const value = given[rule] ?? 0;
    if (!isWhole(value, rule === 'within' ? historyMsMax : 2 ** 32 - 1)) {
      throw invalid(`retention.${rule} must be a whole number from 0 up`, { actual: value });
    }
    rules[rule] = value;
  }
  if (periodRules.every((rule) => rules[rule] === 0)) {
    throw invalid('retention needs a rule; null takes it away');
  }
  return rules;
}

function isWhole(value: number, most: number): boolean {
  return Number.isSafeInteger(value) && value >= 0 && value <= most;
}

/** What is set of a space. */
export interface SpaceInfo {
  /** Undefined: the store's own keys. */
  name: string | undefined;
  history?: { versions: number; ms: number };
  ttlMs?: number;
  retention?: RetentionRules;
  quotaBytes?: number;
  /** What its values take, where there is a quota and all of them are counted. */
  usedBytes?: number;
}

/** The policies of a space itself; those of the store's own keys count for history of others too. */
export function spaceInfo(store: Store, space: number): SpaceInfo {
  const { history: kept, rules } = store.forest.history.policiesOf(space);
  const info: SpaceInfo = { name: store.parts.spaces.nameOf(space) };
  if (kept.history !== undefined) info.history = { versions: kept.history.versions, ms: kept.history.ms };
  if (kept.ttlMs !== undefined) info.ttlMs = kept.ttlMs;
  if (rules.quotaBytes !== undefined) info.quotaBytes = rules.quotaBytes;
  if (rules.retention !== undefined) {
    const { retention } = rules;
    info.retention = Object.fromEntries(
      periodRules.flatMap((rule) => (retention[rule] > 0 ? [[rule, retention[rule]]] : [])),
    );
  }
  const used = store.forest.history.rules.usedOf(space);
  if (used?.isWhole === true) info.usedBytes = used.added - used.removed;
  return info;
}

/**
 * Sets the policies of a space where they differ, durably when it resolves, whoever set them; a name that was
 * not used before is from then on. Calls hold in their order. VARVE_READ_ONLY where they would have to
 * change, VARVE_CONFLICT when the space is dropped meanwhile.
 */
export async function setPolicy(store: Store, space: number, asked: PolicyAsked): Promise<void> {
  const { history, parts } = store;
  // What an earlier call sets may differ once it is sequenced.
  while (store.settling !== undefined && !history.differs(space, asked)) await store.settling;
  if (!history.differs(space, asked)) return history.whenDurable();
  const write = store.stillWritable();
  const { spaces } = parts;
  const set = history.setPolicy(space, asked, {
    rows: () => {
      spaces.assertLive(space);
      return spaces.rowsFor(space);
    },
    sequenced: () => spaces.sequenced(space),
  });
  // Told to the caller below: whoever waits for it only waits.
  const settling = Promise.allSettled([store.settling, set.sequenced]).then(() => {
    if (store.settling === settling) store.settling = undefined;
  });
  store.settling = settling;
  await set.durable;
  write.startIfDue();
}

/**
 * The same without waiting. They hold from the call on; close() and flush() wait until they are durable, and
 * what that fails with stops the log.
 */
export function setSpacePolicy(store: Store, space: number, asked: PolicyAsked): void {
  const isAsked = Object.values(asked).some((value) => value !== undefined);
  if (!isAsked || (store.settling === undefined && !store.history.differs(space, asked))) return;
  store.writable();
  const { logger } = store.parts.options;
  store
    .run(() => setPolicy(store, space, asked))
    .catch((error: unknown) => {
      logger.error?.('the policy of a space could not be kept', { space, error });
    });
}

/** The option `history` of openEngine, where the store does not have it already. */
export async function askedHistory(store: Store): Promise<void> {
  const { history, parts } = store;
  const asked = parts.options.history;
  if (asked === undefined || !history.differs(0, { history: asked })) return;
  if (parts.options.readOnly) {
    const { versions, ms } = history.policyOf(0);
    throw invalid(`history is { versions: ${versions}, ms: ${ms} } in this store; a reader cannot change it`);
  }
  if (parts.write === undefined) return;
  try {
    await history.setPolicy(0, { history: asked }).durable;
  } catch (error) {
    // The open fails with what went wrong first.
    await Promise.allSettled([store.close()]);
    throw error;
  }
}
