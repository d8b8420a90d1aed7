/**
 * Times that repeat, in the five fields of cron and a time zone. Read and computed by croner, of which
 * nothing is used that starts a timer or looks at the clock.
 *
 *   minute 0-59  hour 0-23  day of month 1-31  month 1-12 or JAN-DEC  day of week 0-7 or SUN-SAT
 *
 * A field is `*`, or a list of numbers, ranges and steps (`1-5`, `8-18/2`, `5/15`); L, W and # are those of
 * croner. Where neither day field is `*`, a day counts that either of them names. `@hourly`, `@daily`,
 * `@midnight`, `@weekly`, `@monthly` and `@yearly` stand for what they say.
 *
 * Where clocks are changed: a time that is skipped happens at the moment of the change, one that comes twice
 * happens the first time. With a `*` or a step for minutes or hours every real minute counts instead: nothing
 * is made up for, and a repeated hour is one more hour.
 *
 * Invariants (test/backup/cron.test.ts)
 * - The next time is the first minute after the given one that the fields name, by the clocks of the zone,
 *   and the last time of that minute is that minute ("the next time is the first minute that fits").
 */
import { Cron } from 'croner';
import { invalid } from '../base/errors.ts';

/** Five fields, or a word. */
const pattern = /^(?:@[a-z]+|\S+(?:\s+\S+){4})$/i;
const textMax = 500;

/** The times of a schedule. */
export class CronTimes {
  readonly #cron: Cron;

  /** `timeZone` (IANA name) has been checked. VARVE_INVALID_ARGUMENT says what is wrong with the text. */
  constructor(text: string, timeZone: string) {
    if (typeof text !== 'string' || text.length > textMax)
      throw invalid('a schedule is a text of five fields');
    const shown = JSON.stringify(text);
    if (!pattern.test(text.trim())) throw invalid(`${shown} is no schedule: it does not have five fields`);
    try {
      const options = { mode: '5-part', sloppyRanges: true, fixedTimeRule: 'no-wildcard' } as const;
      this.#cron = new Cron(text.trim(), { ...options, timezone: timeZone, paused: true });
    } catch (error) {
      if (!(error instanceof Error)) throw error;
      throw invalid(`${shown} is no schedule: ${error.message}`);
    }
    if (this.next(0) === undefined) throw invalid(`${shown} names a day that never comes`);
  }

  /** The first time after `afterMs` (ms since 1970); undefined where there is none. */
  next(afterMs: number): number | undefined {
    return this.#cron.nextRun(new Date(afterMs))?.getTime();
  }

  /** The last time at or before `nowMs` and after `afterMs`; undefined where there is none. */
  last(afterMs: number, nowMs: number): number | undefined {
    const [last] = this.#cron.previousRuns(1, new Date(nowMs + 1));
    return last !== undefined && last.getTime() > afterMs ? last.getTime() : undefined;
  }
}
