import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  checkKeepRules,
  isoWeek,
  type KeepRules,
  periodOf,
  planRetention,
  type RetainedBackup,
} from '../../src/backup/retention-planner.ts';

const hour = 3600 * 1000;
const day = 24 * hour;

const at = (time: string, more: Partial<RetainedBackup> = {}): RetainedBackup => {
  return { id: time, store: 's', timeMs: Date.parse(time), tags: [], proved: true, ...more };
};

const kept = (backups: readonly RetainedBackup[], rules: KeepRules, zone = 'UTC'): string[] =>
  backups.filter(({ id }) => planRetention(backups, rules, zone).kept.has(id)).map(({ id }) => id);

describe('retention', () => {
  test('each period keeps its newest, and periods without a backup do not count', () => {
    const backups = [
      at('2026-01-01T10:00:00Z'),
      at('2026-01-01T22:00:00Z'),
      at('2026-01-05T03:00:00Z'),
      at('2026-02-10T03:00:00Z'),
      at('2026-02-10T09:00:00Z'),
    ];
    expect(kept(backups, { daily: 2 })).toEqual(['2026-01-05T03:00:00Z', '2026-02-10T09:00:00Z']);
    expect(kept(backups, { monthly: 5 })).toEqual(['2026-01-05T03:00:00Z', '2026-02-10T09:00:00Z']);
    expect(kept(backups, { yearly: 1 })).toEqual(['2026-02-10T09:00:00Z']);
    expect(kept(backups, { daily: 3, last: 2 })).toHaveLength(4);
    expect(kept(backups, { within: 7 * hour })).toHaveLength(2);
  });

  test('days begin where the time zone says, and an hour that the clock repeats is two', () => {
    const backups = [at('2026-01-01T22:30:00Z'), at('2026-01-01T23:30:00Z')];
    expect(kept(backups, { daily: 9 })).toHaveLength(1);
    expect(kept(backups, { daily: 9 }, 'Europe/Berlin')).toHaveLength(2);
    // 02:30 in Berlin comes twice in this night.
    const night = [at('2026-10-25T00:30:00Z'), at('2026-10-25T01:30:00Z')];
    expect(kept(night, { hourly: 9 }, 'Europe/Berlin')).toHaveLength(2);
    expect(kept(night, { daily: 9 }, 'Europe/Berlin')).toHaveLength(1);
  });

  test('weeks are those of ISO 8601', () => {
    const weeks: [string, string][] = [
      ['2020-12-31', '2020-W53'],
      ['2021-01-03', '2020-W53'],
      ['2021-01-04', '2021-W1'],
      ['2024-12-30', '2025-W1'],
      ['1969-12-29', '1970-W1'],
      ['2026-11-21', '2026-W47'],
    ];
    for (const [date, week] of weeks) {
      const [year, month, one] = date.split('-').map(Number);
      expect(isoWeek(year!, month!, one!), date).toBe(week);
      expect(periodOf('weekly', Date.parse(`${date}T12:00:00Z`), 'UTC'), date).toBe(week);
    }
  });

  test('the newest proved backup of each store stays whatever the rules say', () => {
    const backups = [
      at('2026-01-01T10:00:00Z', { tags: ['x'] }),
      at('2026-01-02T10:00:00Z'),
      at('2026-01-03T10:00:00Z', { proved: false }),
      at('2025-01-03T10:00:00Z', { store: 'other', proved: false }),
    ];
    const { kept: rules, removed } = planRetention(backups, { tags: ['x'] }, 'UTC');
    expect(Object.fromEntries(rules)).toEqual({
      '2026-01-01T10:00:00Z': ['tags'],
      '2026-01-02T10:00:00Z': ['newest proved'],
      '2025-01-03T10:00:00Z': ['newest proved'],
    });
    expect(removed).toEqual(['2026-01-03T10:00:00Z']);
  });

  const backup = fc.record({
    timeMs: fc.integer({ min: 0, max: 900 * day }),
    store: fc.constantFrom('a', 'b'),
    proved: fc.boolean(),
    tags: fc.subarray(['x', 'y']),
  });
  const count = fc.option(fc.integer({ min: 0, max: 6 }), { nil: undefined });
  const rules = fc.record({
    last: count,
    hourly: count,
    daily: count,
    weekly: count,
    monthly: count,
    yearly: count,
    within: fc.option(fc.integer({ min: 0, max: 30 * day }), { nil: undefined }),
    tags: fc.option(fc.subarray(['x', 'y']), { nil: undefined }),
  });

  test('all are decided, counts hold, more rules keep more, forgetting twice changes nothing', () => {
    fc.assert(
      fc.property(fc.array(backup, { maxLength: 40 }), rules, rules, (some, one, other) => {
        const backups = some.map((each, i) => ({ ...each, id: `id${i}` }));
        const plan = planRetention(backups, one, 'America/New_York');
        expect(plan.kept.size + plan.removed.length).toBe(backups.length);
        for (const store of ['a', 'b']) {
          const own = backups.filter((each) => each.store === store);
          const keptOwn = own.filter(({ id }) => plan.kept.has(id));
          if (own.length > 0) expect(keptOwn.length).toBeGreaterThan(0);
          const daily = keptOwn.filter(({ id }) => plan.kept.get(id)!.includes('daily'));
          const days = new Set(own.map(({ timeMs }) => periodOf('daily', timeMs, 'America/New_York')));
          expect(daily.length).toBe(Math.min(one.daily ?? 0, days.size));
          const newest = Math.max(...own.filter(({ proved }) => proved).map(({ timeMs }) => timeMs));
          const hasNewest = keptOwn.some(({ timeMs, proved }) => proved && timeMs === newest);
          expect(hasNewest).toBe(Number.isFinite(newest));
        }
        const left = backups.filter(({ id }) => plan.kept.has(id));
        expect(planRetention(left, one, 'America/New_York').removed).toEqual([]);
        const max = (a?: number, b?: number): number => Math.max(a ?? 0, b ?? 0);
        const both: KeepRules = {
          last: max(one.last, other.last),
          hourly: max(one.hourly, other.hourly),
          daily: max(one.daily, other.daily),
          weekly: max(one.weekly, other.weekly),
          monthly: max(one.monthly, other.monthly),
          yearly: max(one.yearly, other.yearly),
          within: max(one.within, other.within),
          tags: [...(one.tags ?? []), ...(other.tags ?? [])],
        };
        const more = planRetention(backups, both, 'America/New_York').kept;
        for (const id of plan.kept.keys()) expect(more.has(id)).toBe(true);
      }),
      { numRuns: 200 },
    );
  });

  test('rules that keep nothing, or cannot be, are refused', () => {
    for (const wrong of [
      {},
      { last: 0 },
      { last: 1.5 },
      { daily: -1 },
      { tags: [] },
      { tags: 'x' },
      { other: 1 },
    ])
      expect(() => checkKeepRules(wrong as KeepRules, 'UTC')).toThrow(/keep/);
    expect(() => checkKeepRules({ last: 1 }, 'Mars/Olympus')).toThrow('time zone');
  });
});
