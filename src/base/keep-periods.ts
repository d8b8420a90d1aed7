/**
 * Rules of retention over things that have a time: the newest so many, those within a time of the newest, the
 * newest of each of the last so many hours, days, weeks, months, years that have one. Rules are united.
 *
 * Things are judged newest first, one by one. A rule never keeps more of a thing because older ones are gone,
 * and never less because newer ones are not known: who judges a part of them keeps too much, never too
 * little.
 */

import { dateOfDay } from './calendar.ts';

/** What is kept; every part is optional. */
export interface PeriodRules {
  /** The newest so many. */
  readonly last?: number;
  /** The newest of each of the last so many hours, days, ISO weeks, months, years that have one. */
  readonly hourly?: number;
  readonly daily?: number;
  readonly weekly?: number;
  readonly monthly?: number;
  readonly yearly?: number;
  /** Everything within so many ms before the newest. */
  readonly within?: number;
}

export const periods = ['hourly', 'daily', 'weekly', 'monthly', 'yearly'] as const;
export type Period = (typeof periods)[number];
/** Names of the rules. */
export const periodRules = ['last', ...periods, 'within'] as const;
export type PeriodRule = (typeof periodRules)[number];

const hourMs = 3_600_000;
const dayMs = 24 * hourMs;

/** The number of the period a moment lies in, in UTC; weeks begin on Monday. */
export function utcPeriod(rule: Period, timeMs: number): number {
  if (rule === 'hourly') return Math.floor(timeMs / hourMs);
  const day = Math.floor(timeMs / dayMs);
  if (rule === 'daily') return day;
  // 1970-01-01 was a Thursday.
  if (rule === 'weekly') return Math.floor((day + 3) / 7);
  const { year, month } = dateOfDay(day);
  return rule === 'yearly' ? year : year * 12 + month;
}

/** Judges one series of things after another, each newest first. */
export class PeriodJudge {
  readonly #rules: PeriodRules;
  readonly #periodOf: (rule: Period, timeMs: number) => number | string;
  #rank = 0;
  #newestMs = 0;
  /** Of each period rule: how many periods were met, and the last of them. */
  readonly #met = new Map<Period, { count: number; last: number | string }>();

  /** `periodOf` names periods so that a moment later than another is not in an earlier one. */
  constructor(rules: PeriodRules, periodOf: (rule: Period, timeMs: number) => number | string = utcPeriod) {
    this.#rules = rules;
    this.#periodOf = periodOf;
  }

  /** Another series follows. */
  begin(): void {
    this.#rank = 0;
    this.#met.clear();
  }

  /** The rules that keep the next thing, which is not newer than those before. */
  judge(timeMs: number): PeriodRule[] {
    const { last = 0, within = 0 } = this.#rules;
    if (this.#rank === 0) this.#newestMs = timeMs;
    const kept: PeriodRule[] = [];
    if (this.#rank < last) kept.push('last');
    if (within > 0 && this.#newestMs - timeMs < within) kept.push('within');
    this.#rank++;
    for (const rule of periods) {
      const wanted = this.#rules[rule] ?? 0;
      if (wanted > 0 && this.#isNewestOf(rule, timeMs, wanted)) kept.push(rule);
    }
    return kept;
  }

  #isNewestOf(rule: Period, timeMs: number, wanted: number): boolean {
    const met = this.#met.get(rule);
    if (met?.count === wanted) return false;
    const period = this.#periodOf(rule, timeMs);
    if (met === undefined) this.#met.set(rule, { count: 1, last: period });
    else if (met.last === period) return false;
    else {
      met.count++;
      met.last = period;
    }
    return true;
  }
}
