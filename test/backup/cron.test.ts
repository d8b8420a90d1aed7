import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { CronTimes } from '../../src/backup/cron.ts';
import { codeOf } from '../engine/engine-kit.ts';

const next = (cron: string, after: string, zone = 'UTC'): string | undefined => {
  const ms = new CronTimes(cron, zone).next(Date.parse(after));
  return ms === undefined ? undefined : new Date(ms).toISOString();
};

describe('times of a schedule', () => {
  test('fields, names, ranges, steps and words', () => {
    const after = '2026-11-21T12:18:30Z';
    expect(next('*/15 * * * *', after)).toBe('2026-11-21T12:30:00.000Z');
    expect(next('30 2 * * *', after)).toBe('2026-11-22T02:30:00.000Z');
    expect(next('0 8-18/5 * * *', after)).toBe('2026-11-21T13:00:00.000Z');
    expect(next('0 22 * * mon-fri', after)).toBe('2026-11-23T22:00:00.000Z');
    expect(next('0 0 * * 7', after)).toBe('2026-11-22T00:00:00.000Z');
    expect(next('0 0 1 JAN,JUL *', after)).toBe('2027-01-01T00:00:00.000Z');
    expect(next('0 0 29 2 *', after)).toBe('2028-02-29T00:00:00.000Z');
    expect(next('5/20 * * * *', after)).toBe('2026-11-21T12:25:00.000Z');
    expect(next('@hourly', after)).toBe('2026-11-21T13:00:00.000Z');
    expect(next('@weekly', after)).toBe('2026-11-22T00:00:00.000Z');
    expect(next('@monthly', '2026-11-30T23:59:59.999Z')).toBe('2026-12-01T00:00:00.000Z');
  });

  test('of two day fields either counts, unless one is a star', () => {
    expect(next('0 0 13 * fri', '2026-11-21T00:00:00Z')).toBe('2026-11-27T00:00:00.000Z');
    expect(next('0 0 13 * *', '2026-11-21T00:00:00Z')).toBe('2026-12-13T00:00:00.000Z');
    expect(next('0 0 */2 * fri', '2026-11-21T00:00:00Z')).toBe('2026-11-23T00:00:00.000Z');
  });

  test('a time that is skipped happens at the change, one that comes twice happens once', () => {
    const zone = 'Europe/Berlin';
    expect(next('30 2 * * *', '2026-03-28T12:00:00Z', zone)).toBe('2026-03-29T01:00:00.000Z');
    expect(next('30 2 * * *', '2026-03-29T01:00:00Z', zone)).toBe('2026-03-30T00:30:00.000Z');
    expect(next('30 2 * * *', '2026-10-24T12:00:00Z', zone)).toBe('2026-10-25T00:30:00.000Z');
    expect(next('30 2 * * *', '2026-10-25T00:30:00Z', zone)).toBe('2026-10-26T01:30:00.000Z');
    expect(next('30 * * * *', '2026-10-25T00:30:00Z', zone)).toBe('2026-10-25T01:30:00.000Z');
    expect(next('30 * * * *', '2026-03-29T00:30:00Z', zone)).toBe('2026-03-29T01:30:00.000Z');
    expect(next('30 2,14 * * *', '2026-10-25T00:30:00Z', zone)).toBe('2026-10-25T13:30:00.000Z');
    expect(next('15 0 * * *', '2011-12-29T20:00:00Z', 'Pacific/Apia')).toBe('2011-12-30T10:15:00.000Z');
  });

  test.each([
    '',
    '* * * *',
    '* * * * * *',
    '60 * * * *',
    '* 24 * * *',
    '* * 0 * *',
    '* * * 13 *',
    '* * * * 8',
    '5-1 * * * *',
    '*/0 * * * *',
    'x * * * *',
    '1- * * * *',
    '0 0 31 2 *',
    '@never',
    '@reboot',
    '2026-01-01T00:00:00',
    '1,,2 * * * *',
  ])('%j is refused', async (text) => {
    expect(await codeOf(() => new CronTimes(text, 'UTC'))).toBe('VARVE_INVALID_ARGUMENT');
  });

  test('the next time is the first minute that fits', () => {
    const span = (from: number, to: number): number[] =>
      Array.from({ length: to - from + 1 }, (_, i) => from + i);
    /** A field, what it names, and whether it is a fixed time: no star and no step. */
    const field = (from: number, to: number) => {
      const number = fc.integer({ min: from, max: to });
      return fc.oneof(
        fc.constant({ text: '*', names: span(from, to), fixed: false }),
        number.map((n) => ({ text: `${n}`, names: [n], fixed: true })),
        fc.integer({ min: 2, max: 6 }).map((step) => {
          return { text: `*/${step}`, names: span(from, to).filter((n) => n % step === 0), fixed: false };
        }),
        fc.tuple(number, number).map((pair) => {
          const [low, high] = [Math.min(...pair), Math.max(...pair)];
          return { text: `${low}-${high}`, names: span(low, high), fixed: true };
        }),
      );
    };
    const zones = fc.constantFrom('UTC', 'Europe/Berlin', 'America/New_York', 'Australia/Lord_Howe');
    // About the changes of clocks in 2026, and between.
    const moments = fc.integer({ min: Date.UTC(2026, 2, 5), max: Date.UTC(2026, 10, 5) });
    fc.assert(
      fc.property(
        field(0, 59),
        field(0, 23),
        field(0, 6),
        zones,
        moments,
        (minute, hour, day, zone, after) => {
          const times = new CronTimes(`${minute.text} ${hour.text} * * ${day.text}`, zone);
          const isFixed = minute.fixed && hour.fixed;
          const isNamed = (wall: number): boolean => {
            const date = new Date(wall);
            const isTime =
              minute.names.includes(date.getUTCMinutes()) && hour.names.includes(date.getUTCHours());
            return isTime && day.names.includes(date.getUTCDay());
          };
          const until = after + 5 * 3_600_000;
          const found = times.next(after);
          const fits: number[] = [];
          const shown = new Set<number>();
          for (let ms = Math.floor(after / minuteMs - 180) * minuteMs; ms <= until; ms += minuteMs) {
            const wall = wallOf(ms, zone);
            const isAgain = shown.has(wall) && isFixed;
            shown.add(wall);
            // What clocks left out happens now.
            const leftOut = span(1, (wall - wallOf(ms - minuteMs, zone)) / minuteMs - 1);
            const isMadeUp = isFixed && leftOut.some((minutes) => isNamed(wall - minutes * minuteMs));
            if (ms > after && ((isNamed(wall) && !isAgain) || isMadeUp)) fits.push(ms);
          }
          if (found !== undefined && found <= until) expect(found).toBe(fits[0]);
          else expect(fits).toEqual([]);
          if (found !== undefined) {
            expect(times.last(after, found)).toBe(found);
            expect(times.last(found, found)).toBeUndefined();
            expect(times.last(after, found - 1)).toBeUndefined();
          }
        },
      ),
      { numRuns: 60 },
    );
  });
});

const minuteMs = 60_000;
const clocks = new Map<string, Intl.DateTimeFormat>();

/** What clocks of the zone show, as ms since 1970 as if they showed UTC. */
function wallOf(ms: number, timeZone: string): number {
  let clock = clocks.get(timeZone);
  clock ??= new Intl.DateTimeFormat('sv-SE', { timeZone, dateStyle: 'short', timeStyle: 'medium' });
  clocks.set(timeZone, clock);
  return Date.parse(`${clock.format(ms).replace(' ', 'T')}Z`);
}
