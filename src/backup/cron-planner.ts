/**
 * Times that repeat, in the five fields of cron and a time zone: a pure function of text and moment.
 *
 *   minute 0-59  hour 0-23  day of month 1-31  month 1-12 or JAN-DEC  day of week 0-7 or SUN-SAT
 *
 * A field is `*`, or a list of numbers, ranges and steps (`1-5`, `8-18/2`, `5/15`). Where neither day
 * field begins with `*`, a day counts that either of them names. `@hourly`, `@daily`, `@midnight`, `@weekly`,
 * `@monthly` and `@yearly` stand for what they say.
 *
 * Where clocks are changed: a time that is skipped happens at the moment of the change, one that comes twice
 * happens the first time. With `*` for the hours every real hour counts instead: nothing is made up for, and
 * a repeated hour is one more hour.
 *
 * Invariants (test/backup/cron-planner.test.ts)
 * - The next time is the first minute after the given one that the fields name, by the clocks of the zone
 *   ("the next time is the first minute that fits").
 */
import { dateOfDay } from '../base/calendar.ts';
import { invalid } from '../base/errors.ts';
import { LocalTime } from './local-time.ts';

/** A schedule that was read. */
export interface Cron {
  readonly minutes: ReadonlySet<number>;
  readonly hours: ReadonlySet<number>;
  readonly days: ReadonlySet<number>;
  readonly months: ReadonlySet<number>;
  /** 0 = Sunday. */
  readonly weekdays: ReadonlySet<number>;
  /** A day counts that either day field names. */
  readonly eitherDay: boolean;
  /** Every real hour counts. */
  readonly everyHour: boolean;
}

const words: Readonly<Record<string, string>> = {
  '@hourly': '0 * * * *',
  '@daily': '0 0 * * *',
  '@midnight': '0 0 * * *',
  '@weekly': '0 0 * * 0',
  '@monthly': '0 0 1 * *',
  '@yearly': '0 0 1 1 *',
  '@annually': '0 0 1 1 *',
};
const monthNames = ['JAN', 'FEB', 'MAR', 'APR', 'MAY', 'JUN', 'JUL', 'AUG', 'SEP', 'OCT', 'NOV', 'DEC'];
const dayNames = ['SUN', 'MON', 'TUE', 'WED', 'THU', 'FRI', 'SAT'];

const minuteMs = 60_000;
const dayMs = 86_400_000;
/** 29 February on a given weekday comes once in 40 years at the least. */
const daysMax = 41 * 366;

/** VARVE_INVALID_ARGUMENT says what is wrong with the text. */
export function parseCron(text: string): Cron {
  if (typeof text !== 'string' || text.length > 500) throw invalid('a schedule is a text of five fields');
  const fields = (words[text.trim().toLowerCase()] ?? text).trim().split(/\s+/);
  if (fields.length !== 5)
    throw invalid(`${JSON.stringify(text)} is no schedule: it has ${fields.length} fields and not five`);
  const [minute, hour, day, month, weekday] = fields as [string, string, string, string, string];
  const weekdays = fieldOf(weekday, 'day of week', 0, 7, dayNames);
  if (weekdays.delete(7)) weekdays.add(0);
  const cron: Cron = {
    minutes: fieldOf(minute, 'minute', 0, 59),
    hours: fieldOf(hour, 'hour', 0, 23),
    days: fieldOf(day, 'day of month', 1, 31),
    months: fieldOf(month, 'month', 1, 12, monthNames),
    weekdays,
    eitherDay: !day.startsWith('*') && !weekday.startsWith('*'),
    everyHour: hour.startsWith('*'),
  };
  if (nextTime(cron, 0, 'UTC') === undefined)
    throw invalid(`${JSON.stringify(text)} names a day that never comes`);
  return cron;
}

function fieldOf(
  text: string,
  what: string,
  from: number,
  to: number,
  names: readonly string[] = [],
): Set<number> {
  const fail = (): never => {
    throw invalid(
      `${JSON.stringify(text)} is no ${what}: numbers from ${from} to ${to}, ranges, steps, or *`,
    );
  };
  const numberOf = (part: string): number => {
    const named = names.indexOf(part.toUpperCase());
    if (named >= 0) return named + (from === 1 ? 1 : 0);
    const number = /^\d{1,2}$/.test(part) ? Number(part) : -1;
    return number >= from && number <= to ? number : fail();
  };
  const found = new Set<number>();
  for (const item of text.split(',')) {
    const match = /^(?:(\*)|([^-/*]+)(?:-([^-/*]+))?)(?:\/(\d{1,2}))?$/.exec(item);
    if (match === null) return fail();
    const [, star, first, last, step] = match;
    const low = star === undefined ? numberOf(first!) : from;
    // Days of the week have two numbers for Sunday: all of them are 0 to 6.
    const most = names === dayNames ? 6 : to;
    const high =
      star !== undefined || (last === undefined && step !== undefined) ? most : numberOf(last ?? first!);
    const by = step === undefined ? 1 : Number(step);
    if (by < 1 || high < low) return fail();
    for (let number = low; number <= high; number += by) found.add(number);
  }
  return found;
}

/**
 * The first time after `afterMs` (ms since 1970) that the schedule names in the zone (IANA name, known);
 * undefined where none comes within 41 years.
 */
export function nextTime(cron: Cron, afterMs: number, timeZone: string): number | undefined {
  const local = new LocalTime(timeZone);
  // A day is tried from the one before: its last times may lie behind a change of clocks.
  let day = Math.floor((afterMs + local.offset(afterMs)) / dayMs) - 1;
  for (const end = day + daysMax; day < end; day++) {
    if (!isDay(cron, day)) continue;
    const next = timesOf(cron, day, local).find((time) => time > afterMs);
    if (next !== undefined) return next;
  }
  return undefined;
}

/** The last time at or before `nowMs` and after `afterMs`; undefined where there is none. */
export function lastTime(cron: Cron, afterMs: number, nowMs: number, timeZone: string): number | undefined {
  const local = new LocalTime(timeZone);
  const first = Math.floor((afterMs + local.offset(afterMs)) / dayMs) - 1;
  let day = Math.floor((nowMs + local.offset(nowMs)) / dayMs) + 1;
  for (const end = Math.max(first, day - daysMax); day >= end; day--) {
    if (!isDay(cron, day)) continue;
    const last = timesOf(cron, day, local).findLast((time) => time <= nowMs);
    if (last !== undefined) return last > afterMs ? last : undefined;
  }
  return undefined;
}

/** `day`: days since 1970 by the calendar of the zone. */
function isDay({ months, days, weekdays, eitherDay }: Cron, day: number): boolean {
  const { month, date } = dateOfDay(day);
  if (!months.has(month)) return false;
  // 1970-01-01 was a Thursday.
  const byWeek = weekdays.has((((day + 4) % 7) + 7) % 7);
  const byMonth = days.has(date);
  return eitherDay ? byWeek || byMonth : byWeek && byMonth;
}

/** The moments of a day, in order, each once. */
function timesOf({ hours, minutes, everyHour }: Cron, day: number, local: LocalTime): number[] {
  const times = new Set<number>();
  const steady = local.steadyOffset(day * dayMs);
  for (const hour of hours) {
    for (const minute of minutes) {
      const wall = day * dayMs + (hour * 60 + minute) * minuteMs;
      if (steady !== undefined) times.add(wall - steady);
      else for (const time of local.momentsOf(wall, everyHour)) times.add(time);
    }
  }
  return [...times].sort((a, b) => a - b);
}
