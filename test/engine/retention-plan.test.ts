import fc from 'fast-check';
import { expect, test } from 'vitest';
import type { Engine } from '../../src/engine/engine.ts';
import { bytesOf, codeOf, newStore, turn } from './engine-kit.ts';
import { histories, historiesMs } from './histories.ts';

const hour = 3_600_000;

/** Superseded versions that are there, `key:seq`. */
async function superseded(engine: Engine): Promise<Set<string>> {
  const found = new Set<string>();
  for (let key = 0; key < 4; key++) {
    for await (const { seq, keptBy } of engine.versions(`k${key}`)) {
      if (!keptBy.includes('current')) found.add(`k${key}:${seq}`);
    }
  }
  return found;
}

async function swept(engine: Engine): Promise<void> {
  for (let i = 0; i < 3; i++) {
    await engine.compact();
    for (let turns = 0; turns < 20; turns++) await turn();
  }
}

const step = fc.record({
  what: fc.constantFrom('put', 'put', 'put', 'large', 'delete', 'snapshot'),
  key: fc.nat(3),
  hours: fc.nat(30),
});
const rule = fc.record(
  { last: fc.nat(2), daily: fc.nat(3), hourly: fc.nat(2), within: fc.nat(40 * hour) },
  { requiredKeys: [] },
);

test(
  'a plan says what setting the same policies drops',
  async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 30 }), rule, fc.nat(2), async (steps, asked, versions) => {
        const { engine, clock } = await newStore({ history: { versions: 1000 } });
        for (const [i, { what, key, hours }] of steps.entries()) {
          if (what === 'delete') await engine.delete(`k${key}`);
          else if (what === 'snapshot') await engine.snapshots.create(`n${i}`);
          else await engine.put(`k${key}`, what === 'large' ? bytesOf(i, 3000) : `v${i}`);
          await clock.advance(hours * hour);
        }
        const isNothing = Object.values(asked).every((count) => count === 0);
        const policies = { history: { versions }, retention: isNothing ? null : asked };
        const before = await superseded(engine);
        const plan = await engine.retentionPlan({ ...policies, list: 1000 });
        expect(plan.versions).toBe(before.size);
        expect([plan.kept + plan.dropped, plan.list.length]).toEqual([plan.versions, plan.dropped]);
        expect(await superseded(engine)).toEqual(before);
        for (const { key, seq } of plan.list) before.delete(`${String(key)}:${seq}`);
        await engine.setPolicy(policies);
        await swept(engine);
        expect(await superseded(engine)).toEqual(before);
        const now = await engine.retentionPlan();
        expect([now.versions, now.dropped]).toEqual([before.size, 0]);
        await engine.close();
      }),
      histories(40),
    );
  },
  historiesMs(),
);

test('what is not known is refused', async () => {
  const { engine } = await newStore();
  expect(await codeOf(engine.retentionPlan({ list: -1 }))).toBe('VARVE_INVALID_ARGUMENT');
  expect(await codeOf(engine.retentionPlan({ retention: {} }))).toBe('VARVE_INVALID_ARGUMENT');
  expect(await codeOf(engine.retentionPlan({ quotaBytes: 1 } as object))).toBe('VARVE_INVALID_ARGUMENT');
  expect(await engine.retentionPlan({ history: null, prefix: 'x' })).toMatchObject({ keys: 0, list: [] });
});
