import fc from 'fast-check';
import { expect, test } from 'vitest';
import { isoWeek } from '../../src/backup/retention-planner.ts';
import { PeriodJudge, type PeriodRules, periods, utcPeriod } from '../../src/base/keep-periods.ts';
import { encodeInternalKey } from '../../src/format/internal-key.ts';
import { rowKinds } from '../../src/format/row-kinds.ts';
import { encodeRulesRow, encodeUsedRow, rulesKey, usedKey } from '../../src/format/space-rules.ts';
import { trees } from '../../src/format/trees.ts';
import { plainRule } from '../../src/tree/keep-rule.ts';
import { RowRetention, verdicts } from '../../src/tree/row-retention.ts';
import { RetentionJudge, SpaceRuleRows } from '../../src/tree/space-rules.ts';

const hour = 3_600_000;
const none = { last: 0, hourly: 0, daily: 0, weekly: 0, monthly: 0, yearly: 0, within: 0 };
const row = (rules: PeriodRules): Uint8Array =>
  encodeRulesRow({ retention: { ...none, ...rules }, quotaBytes: undefined });

test('a changed retention counts alone when it is durable', () => {
  const rows = new SpaceRuleRows();
  rows.apply(rulesKey(3), row({ last: 5 }), 10);
  rows.apply(rulesKey(3), row({ daily: 2 }), 20);
  rows.declare(3, { yearly: 1 });
  expect(rows.retained().get(3)).toEqual([{ ...none, daily: 2 }, { ...none, last: 5 }, { yearly: 1 }]);
  expect(rows.settle(19)).toBe(false);
  expect(rows.settle(20)).toBe(true);
  rows.declare(3, undefined);
  expect(rows.retained().get(3)).toEqual([{ ...none, daily: 2 }]);
  rows.apply(rulesKey(3), undefined, 30);
  expect(rows.retained().get(3)).toEqual([{ ...none, daily: 2 }]);
  rows.settle(30);
  expect(rows.retained().size).toBe(0);
});

test('retention asked for since stays when that of an earlier call is applied', () => {
  const rows = new SpaceRuleRows();
  const [first, second] = [{ last: 1 }, { last: 2 }];
  rows.declare(3, first);
  rows.declare(3, second);
  rows.undeclare(3, first);
  expect(rows.retained().get(3)).toEqual([second]);
  rows.undeclare(3, second);
  expect(rows.retained().size).toBe(0);
});

test('rows loaded are those applied', () => {
  const rows = new SpaceRuleRows();
  const used = { isWhole: true, fromSeq: 4, added: 9, removed: 0 };
  expect(rows.apply(usedKey(1), encodeUsedRow(used), 5)).toBe(true);
  expect(rows.apply(Buffer.from('other'), undefined, 5)).toBe(false);
  expect([rows.usedOf(1), rows.isCounted(1), rows.isCounted(2)]).toEqual([used, true, false]);
  rows.apply(usedKey(1), undefined, 6);
  expect([rows.usedOf(1), rows.counts]).toEqual([undefined, false]);
});

test('periods of UTC are those of the calendar', () => {
  fc.assert(
    fc.property(
      fc.date({ min: new Date('1960-01-01'), max: new Date('2200-01-01'), noInvalidDate: true }),
      (date) => {
        const ms = date.getTime();
        const [year, month, day] = [date.getUTCFullYear(), date.getUTCMonth() + 1, date.getUTCDate()];
        expect(utcPeriod('yearly', ms)).toBe(year);
        expect(utcPeriod('monthly', ms)).toBe(year * 12 + month);
        expect(utcPeriod('daily', ms)).toBe(Math.floor(Date.UTC(year, month - 1, day) / (24 * hour)));
        const monday = (utcPeriod('weekly', ms) * 7 - 3) * 24 * hour;
        const of = (time: number): string => {
          const at = new Date(time);
          return isoWeek(at.getUTCFullYear(), at.getUTCMonth() + 1, at.getUTCDate());
        };
        expect([new Date(monday).getUTCDay(), of(monday)]).toEqual([1, of(ms)]);
      },
    ),
    { numRuns: 500 },
  );
});

const rulesOf = fc.record(
  {
    last: fc.nat(3),
    hourly: fc.nat(4),
    daily: fc.nat(3),
    weekly: fc.nat(2),
    monthly: fc.nat(2),
    yearly: fc.nat(1),
    within: fc.nat(50 * hour),
  },
  { requiredKeys: [] },
);
/** Hours between one thing and the next older one. */
const gaps = fc.array(fc.oneof(fc.nat(2), fc.nat(60), fc.nat(2000)), { maxLength: 30 });
const timesOf = (hours: readonly number[]): number[] => {
  let at = Date.UTC(2024, 5, 15, 12, 30);
  return hours.map((gap) => (at -= gap * hour));
};

test('each rule keeps what its words say', () => {
  fc.assert(
    fc.property(gaps, rulesOf, (hours, rules) => {
      const times = timesOf(hours);
      const judge = new PeriodJudge(rules);
      const kept = times.map((ms) => judge.judge(ms));
      for (const [i, ms] of times.entries()) {
        expect(kept[i]!.includes('last')).toBe(i < (rules.last ?? 0));
        expect(kept[i]!.includes('within')).toBe(times[0]! - ms < (rules.within ?? 0));
        for (const rule of periods) {
          const newer = new Set(times.slice(0, i).map((other) => utcPeriod(rule, other)));
          const isFirst = !newer.has(utcPeriod(rule, ms));
          expect(kept[i]!.includes(rule)).toBe(isFirst && newer.size < (rules[rule] ?? 0));
        }
      }
    }),
    { numRuns: 300 },
  );
});

test('retention of a part keeps what retention of all keeps', () => {
  fc.assert(
    fc.property(gaps, rulesOf, fc.array(fc.boolean(), { maxLength: 30 }), (hours, rules, part) => {
      const times = timesOf(hours);
      const all = new RetentionJudge([rules]);
      const some = new RetentionJudge([rules]);
      // Newer ones may lie elsewhere, and the first of a part is taken for the newest row of its key.
      for (const [i, ms] of times.entries()) {
        const isKept = all.keeps(ms);
        if (part[i] !== true) continue;
        const isKeptInPart = some.keeps(ms);
        if (isKept) expect(isKeptInPart).toBe(true);
      }
      // What goes makes no difference to what stays.
      const again = new RetentionJudge([rules]);
      all.begin();
      const left = times.filter((ms) => all.keeps(ms));
      expect(left.filter((ms) => again.keeps(ms))).toEqual(left);
    }),
    { numRuns: 500 },
  );
});

test('a merge keeps small values by retention of their space', () => {
  const rules = [{ daily: 2 }];
  const rule = { ...plainRule(1000), retentionOf: (space: number) => (space === 7 ? rules : []) };
  for (const space of [7, 8]) {
    const retention = new RowRetention(rule, trees.K);
    const key = encodeInternalKey(Uint8Array.of(0, 0, 0, space, 97, 0, 1), 5);
    retention.begin(key, 0);
    expect(retention.byTime).toBe(space === 7);
    const found = [90, 80, 79, 50, 49, 10].map((hours, i) =>
      retention.judge(100 - i, rowKinds.put, undefined, hours * hour),
    );
    const { keep, drop } = verdicts;
    expect(found).toEqual(
      space === 7 ? [keep, keep, drop, keep, drop, drop] : [keep, drop, drop, drop, drop, drop],
    );
  }
});
