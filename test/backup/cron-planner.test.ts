import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { lastTime, nextTime, parseCron } from '../../src/backup/cron-planner.ts';
import { LocalTime } from '../../src/backup/local-time.ts';
import { codeOf } from '../engine/engine-kit.ts';

const next = (cron: string, after: string, zone = 'UTC'): string | undefined => {
  const ms = nextTime(parseCron(cron), Date.parse(after), zone);
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

  test('of two day fields either counts, unless one begins with a star', () => {
    expect(next('0 0 13 * fri', '2026-11-21T00:00:00Z')).toBe('2026-11-27T00:00:00.000Z');
    expect(next('0 0 13 * *', '2026-11-21T00:00:00Z')).toBe('2026-12-13T00:00:00.000Z');
    expect(next('0 0 */2 * fri', '2026-11-21T00:00:00Z')).toBe('2026-11-27T00:00:00.000Z');
  });

  test('a time that is skipped happens at the change, one that comes twice happens once', () => {
    const zone = 'Europe/Berlin';
    expect(next('30 2 * * *', '2026-03-28T12:00:00Z', zone)).toBe('2026-03-29T01:00:00.000Z');
    expect(next('30 2 * * *', '2026-03-29T01:00:00Z', zone)).toBe('2026-03-30T00:30:00.000Z');
    expect(next('30 2 * * *', '2026-10-24T12:00:00Z', zone)).toBe('2026-10-25T00:30:00.000Z');
    expect(next('30 2 * * *', '2026-10-25T00:30:00Z', zone)).toBe('2026-10-26T01:30:00.000Z');
    expect(next('30 * * * *', '2026-10-25T00:30:00Z', zone)).toBe('2026-10-25T01:30:00.000Z');
    expect(next('30 * * * *', '2026-03-29T00:30:00Z', zone)).toBe('2026-03-29T01:30:00.000Z');
    expect(next('15 0 * * *', '2011-12-29T20:00:00Z', 'Pacific/Apia')).toBe('2011-12-30T10:00:00.000Z');
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
    '1,,2 * * * *',
  ])('%j is refused', async (text) => {
    expect(await codeOf(() => parseCron(text))).toBe('VARVE_INVALID_ARGUMENT');
  });

  test('the next time is the first minute that fits', () => {
    const numbers = (from: number, to: number) =>
      fc.oneof(
        fc.constant('*'),
        fc.integer({ min: from, max: to }).map(String),
        fc.integer({ min: 2, max: 9 }).map((step) => `*/${step}`),
        fc
          .tuple(fc.integer({ min: from, max: to }), fc.integer({ min: from, max: to }))
          .map(([a, b]) => `${Math.min(a, b)}-${Math.max(a, b)}`),
      );
    const crons = fc.tuple(numbers(0, 59), numbers(0, 23), fc.constant('*'), fc.constant('*'), numbers(0, 6));
    const zones = fc.constantFrom('UTC', 'Europe/Berlin', 'America/New_York', 'Australia/Lord_Howe');
    // About the changes of clocks in 2026, and between.
    const moments = fc.integer({ min: Date.UTC(2026, 2, 5), max: Date.UTC(2026, 10, 5) });
    fc.assert(
      fc.property(crons, zones, moments, (fields, zone, after) => {
        const cron = parseCron(fields.join(' '));
        const local = new LocalTime(zone);
        const until = after + 5 * 3_600_000;
        const found = nextTime(cron, after, zone);
        const fits: number[] = [];
        const shown = new Set<number>();
        for (let ms = Math.floor(after / 60_000 - 180) * 60_000; ms <= until; ms += 60_000) {
          const wall = ms + local.offset(ms);
          // The first of two hours that look alike, unless every hour counts.
          const again = shown.has(wall);
          shown.add(wall);
          const date = new Date(wall);
          const isTime = cron.minutes.has(date.getUTCMinutes()) && cron.hours.has(date.getUTCHours());
          const jumped = local.offset(ms) > local.offset(ms - 60_000) && !cron.everyHour;
          const isSkipped = jumped && skippedFit(cron, wall, local.offset(ms) - local.offset(ms - 60_000));
          if (!cron.weekdays.has(date.getUTCDay())) continue;
          if (ms > after && ((isTime && (!again || cron.everyHour)) || isSkipped)) fits.push(ms);
        }
        if (found !== undefined && found <= until) expect(found).toBe(fits[0]);
        else expect(fits).toEqual([]);
        if (found !== undefined) {
          expect(lastTime(cron, after, found, zone)).toBe(found);
          expect(lastTime(cron, found, found, zone)).toBeUndefined();
          expect(lastTime(cron, after, found - 1, zone)).toBeUndefined();
        }
      }),
      { numRuns: 60 },
    );
  });
});

/** A time of the schedule lies among those that a change of clocks to `wall` has left out. */
function skippedFit(cron: ReturnType<typeof parseCron>, wall: number, leftOutMs: number): boolean {
  for (let ms = wall - leftOutMs; ms < wall; ms += 60_000) {
    const date = new Date(ms);
    if (cron.minutes.has(date.getUTCMinutes()) && cron.hours.has(date.getUTCHours())) return true;
  }
  return false;
}
