/**
 * Which backups stay: a pure function of their times and tags. Rules are united; each works on the backups of
 * one store. A period (hour, day, …) counts only where a backup lies in it, and its newest one stays.
 *
 * Whatever the rules say, the newest backup that was proved stays, and where none was, the newest one.
 */

import { dayNumber } from '../base/calendar.ts';
import { invalid } from '../base/errors.ts';
import { type Period, PeriodJudge, type PeriodRules, periodRules } from '../base/keep-periods.ts';
import { checkTimeZone } from './time-zone.ts';

/** What to keep of backups; every part is optional, at least one is needed. */
export interface KeepRules extends PeriodRules {
  /** Everything with one of these tags. */
  readonly tags?: readonly string[];
}

/** What a plan needs to know of a backup. */
export interface RetainedBackup {
  readonly id: string;
  readonly store: string;
  readonly timeMs: number;
  readonly tags: readonly string[];
  /** Proved when it was made, and nothing left out of it. */
  readonly proved: boolean;
}

/** What becomes of each backup. */
export interface RetentionPlan {
  /** Ids with the rules that keep them. */
  readonly kept: ReadonlyMap<string, readonly string[]>;
  readonly removed: readonly string[];
}

const names: readonly (keyof KeepRules)[] = [...periodRules, 'tags'];

/** VARVE_INVALID_ARGUMENT unless the rules keep something and the time zone is known. */
export function checkKeepRules(rules: KeepRules, timeZone: string): void {
  if (typeof rules !== 'object' || rules === null) throw invalid('keep is an object of rules');
  for (const name of Object.keys(rules))
    if (!names.some((known) => known === name))
      throw invalid(`keep has no rule ${name}: it has ${names.join(', ')}`);
  const { tags, ...numbers } = rules;
  for (const [name, value] of Object.entries(numbers)) {
    if (value === undefined) continue;
    if (!Number.isSafeInteger(value) || value < 0) throw invalid(`keep.${name} is a whole number from 0 up`);
  }
  if (tags !== undefined && !(Array.isArray(tags) && tags.every((tag) => typeof tag === 'string')))
    throw invalid('keep.tags is an array of texts');
  const keeps = Object.values(numbers).some((value) => (value ?? 0) > 0) || (tags?.length ?? 0) > 0;
  if (!keeps) throw invalid('keep needs a rule: none would remove every backup but one');
  checkTimeZone(timeZone);
}

/** Decides; `rules` and `timeZone` (IANA name, 'UTC') have been checked. The order of `backups` is free. */
export function planRetention(
  backups: readonly RetainedBackup[],
  rules: KeepRules,
  timeZone: string,
): RetentionPlan {
  const kept = new Map<string, string[]>();
  const removed: string[] = [];
  const keep = (id: string, rule: string): void => {
    kept.set(id, [...(kept.get(id) ?? []), rule]);
  };
  for (const store of new Set(backups.map((backup) => backup.store))) {
    const own = backups.filter((backup) => backup.store === store);
    // Newest first; equal times in the order of their ids, so that every run decides alike.
    own.sort((a, b) => b.timeMs - a.timeMs || (a.id < b.id ? 1 : -1));
    const judge = new PeriodJudge(rules, (rule, timeMs) => periodOf(rule, timeMs, timeZone));
    for (const { id, timeMs, tags } of own) {
      for (const rule of judge.judge(timeMs)) keep(id, rule);
      if (rules.tags?.some((tag) => tags.includes(tag)) === true) keep(id, 'tags');
    }
    keep((own.find(({ proved }) => proved) ?? own[0]!).id, 'newest proved');
    removed.push(...own.filter(({ id }) => !kept.has(id)).map(({ id }) => id));
  }
  return { kept, removed };
}

const calendars = new Map<string, Intl.DateTimeFormat>();

function calendar(timeZone: string): Intl.DateTimeFormat {
  const known = calendars.get(timeZone);
  if (known !== undefined) return known;
  const made = new Intl.DateTimeFormat('en-US', {
    timeZone,
    calendar: 'iso8601',
    numberingSystem: 'latn',
    hourCycle: 'h23',
    year: 'numeric',
    month: 'numeric',
    day: 'numeric',
    hour: 'numeric',
    timeZoneName: 'longOffset',
  });
  calendars.set(timeZone, made);
  return made;
}

/** Name of the period a moment lies in. An hour that a change of the clock repeats is two. */
export function periodOf(rule: Period, timeMs: number, timeZone: string): string {
  const parts = new Map(
    calendar(timeZone)
      .formatToParts(timeMs)
      .map(({ type, value }) => [type, value]),
  );
  const [year, month, day] = [parts.get('year')!, parts.get('month')!, parts.get('day')!];
  switch (rule) {
    case 'hourly':
      return `${year}-${month}-${day} ${parts.get('hour')} ${parts.get('timeZoneName')}`;
    case 'daily':
      return `${year}-${month}-${day}`;
    case 'weekly':
      return isoWeek(Number(year), Number(month), Number(day));
    case 'monthly':
      return `${year}-${month}`;
    default:
      return year;
  }
}

/** `2026-W53`: weeks begin on Monday and belong to the year of their Thursday. */
export function isoWeek(year: number, month: number, day: number): string {
  const days = dayNumber(year, month, day);
  // 1970-01-01 was a Thursday.
  const thursday = days - ((((days + 3) % 7) + 7) % 7) + 3;
  let of = year;
  if (thursday < dayNumber(year, 1, 1)) of = year - 1;
  else if (thursday >= dayNumber(year + 1, 1, 1)) of = year + 1;
  return `${of}-W${Math.floor((thursday - dayNumber(of, 1, 1)) / 7) + 1}`;
}
