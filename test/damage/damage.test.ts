import { describe, expect, test } from 'vitest';
import { campaign } from '../campaigns/damage.ts';
import { openOn } from '../crash/machine.ts';
import { judge } from './judge.ts';
import { type Knowledge, learn, tornFrom } from './knowledge.ts';
import { familiesOf, type Mutation } from './mutations.ts';
import { buildStore } from './stores.ts';

const plan = { turn: 0, whole: true, full: true };

/** A change that leaves every checksum right: only the model can tell. */
function rewritten(known: Knowledge, what: 'other bytes' | 'removed' | 'older' | 'back'): Mutation {
  const { keys, shape } = known.store;
  const isLive = what !== 'back';
  const target = keys.find(
    ({ space, versions }) =>
      space === '' &&
      (versions.at(-1)!.value !== undefined) === isLive &&
      (what === 'removed' ||
        what === 'other bytes' ||
        (new Set(versions.map(({ value }) => value && Buffer.from(value).toString('hex'))).size ===
          versions.length &&
          versions.filter(({ value }) => value).length > 1) ||
        !isLive),
  )!;
  return {
    name: what,
    touched: [],
    isSmall: false,
    async apply(disk) {
      const engine = await openOn(disk, shape, 7);
      const before = target.versions.findLast(
        ({ value }, i) => value !== undefined && i < target.versions.length - 1,
      );
      if (what === 'removed') await engine.delete(target.key);
      else await engine.put(target.key, what === 'other bytes' ? 'never written before' : before!.value!);
      await engine.close();
      return true;
    },
  };
}

describe('damage', () => {
  test('a sample of every damage to three stores is refused, detected or harmless', async () => {
    const { failed, lines, tried } = await campaign.run({ seed: 1, onProgress: () => undefined });
    expect({ failed, lines: failed === 0 ? [] : lines }).toEqual({ failed: 0, lines: [] });
    expect(tried).toBe(90);
  }, 120_000);

  test('the judge sees wrong bytes, lost, stale and resurrected keys that no checksum shows', async () => {
    const known = await learn(await buildStore('inline', 3));
    const faultsOf = async (what: Parameters<typeof rewritten>[1]): Promise<string> =>
      (await judge(known, rewritten(known, what), plan)).faults.join();
    expect(await faultsOf('other bytes')).toContain('never written to it');
    expect(await faultsOf('removed')).toContain('is gone, silently');
    expect(await faultsOf('older')).toContain('is an older version, silently');
    expect(await faultsOf('back')).toContain('is an older version, silently');
  });

  test('every family numbers its mutations without a gap, and each changes what it says', async () => {
    const store = await buildStore('killed', 3);
    const foreign = await buildStore('killed', 4);
    for (const { name, count, at } of familiesOf(store, foreign)) {
      expect([name, count > 0]).toEqual([name, true]);
      const names = new Set([0, 1, Math.floor(count / 2), count - 1].map((index) => at(index).name));
      expect([name, names.size]).toEqual([name, Math.min(4, count)]);
      for (const index of [0, count - 1]) {
        const disk = store.disk.fork();
        const changed = await at(index).apply(disk);
        expect([name, changed]).toEqual([name, disk.digest() !== store.disk.digest()]);
      }
    }
  });

  test('only frames that nothing proves may be taken for a torn tail', async () => {
    const known = await learn(await buildStore('killed', 3));
    const { file, frames } = known.openLog!;
    const hit = (i: number): Mutation => {
      const touched = [{ file, from: frames[i]!.from, to: frames[i]!.from + 1 }];
      return { name: '', touched, isSmall: true, apply: async () => true };
    };
    expect(tornFrom(known, hit(frames.length - 1))).toBe(frames.at(-2)!.lastSeq);
    expect(tornFrom(known, hit(1))).toBeUndefined();
  });
});
