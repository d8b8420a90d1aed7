/**
 * Rules of retention over things that have a time: the newest so many, those within a time of the newest, the
 * newest of each of the last so many hours, days, weeks, months, years that have one. Rules are united.
 *
 * Things are judged newest first, one by one. A rule never keeps more of a thing because older ones are gone,
 * and never less because newer ones are not known: who judges a part of them keeps too much, never too
 * little.
 */

/** What is kept; every part is optional. */
export interface PeriodRules {
  readonly last?: number;
  readonly hourly?: number;
  readonly daily?: number;
  readonly weekly?: number;
  readonly monthly?: number;
  readonly yearly?: number;
  /** Ms before the newest. */
  readonly within?: number;
}

export const periods = ['hourly', 'daily', 'weekly', 'monthly', 'yearly'] as const;
export type Period = (typeof periods)[number];
/** Names of the rules. */
export const periodRules = ['last', ...periods, 'within'] as const;
export type PeriodRule = (typeof periodRules)[number];

/** Days since 1970-01-01 of a date of the Gregorian calendar. */
export function dayNumber(year: number, month: number, day: number): number {
  const y = month <= 2 ? year - 1 : year;
  const era = Math.floor(y / 400);
  const ofEra = y - era * 400;
  const ofYear = Math.floor((153 * (month + (month > 2 ? -3 : 9)) + 2) / 5) + day - 1;
  const days = ofEra * 365 + Math.floor(ofEra / 4) - Math.floor(ofEra / 100) + ofYear;
  return era * 146_097 + days - 719_468;
}

/** Year and month (1 to 12) of a day since 1970-01-01: `dayNumber` the other way round. */
function monthOfDay(day: number): { readonly year: number; readonly month: number } {
  const days = day + 719_468;
  const era = Math.floor(days / 146_097);
  const ofEra = days - era * 146_097;
  const years = Math.floor(
    (ofEra - Math.floor(ofEra / 1460) + Math.floor(ofEra / 36_524) - Math.floor(ofEra / 146_096)) / 365,
  );
  const ofYear = ofEra - (365 * years + Math.floor(years / 4) - Math.floor(years / 100));
  const fromMarch = Math.floor((5 * ofYear + 2) / 153);
  const month = fromMarch < 10 ? fromMarch + 3 : fromMarch - 9;
  return { year: years + era * 400 + (month <= 2 ? 1 : 0), month };
}

const hourMs = 3_600_000;
const dayMs = 24 * hourMs;

/** The number of the period a moment lies in, in UTC; weeks begin on Monday. */
export function utcPeriod(rule: Period, timeMs: number): number {
  if (rule === 'hourly') return Math.floor(timeMs / hourMs);
  const day = Math.floor(timeMs / dayMs);
  if (rule === 'daily') return day;
  // 1970-01-01 was a Thursday.
  if (rule === 'weekly') return Math.floor((day + 3) / 7);
  const { year, month } = monthOfDay(day);
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
