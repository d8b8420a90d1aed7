import { describe, expect, test } from 'vitest';
import type { BackupSchedule } from '../../src/backup/schedule-planner.ts';
import { Prng } from '../../src/base/prng.ts';
import { catalogFeatures, schedulesFeature } from '../../src/format/format-ladder.ts';
import { MemoryFileSystem } from '../../src/fs/memory-file-system.ts';
import { rootFromScratch, rootOf, vaultOn, withRestored } from '../backup/backup-kit.ts';
import { codeOf, newStore, openOn } from './engine-kit.ts';

const nightly: BackupSchedule = {
  cron: '30 2 * * *',
  timeZone: 'Europe/Berlin',
  vault: '/mnt/vault',
  tags: ['auto'],
  keep: { daily: 7, weekly: 5 },
  verify: { level: 3, parts: 7, testKeys: 5 },
};

describe('schedules of backups', () => {
  test('what is set is listed, replaced and deleted', async () => {
    const { engine, clock } = await newStore();
    expect(await engine.schedules.list()).toEqual([]);
    const info = await engine.schedules.set('nightly', nightly);
    expect(info).toEqual({
      name: 'nightly',
      schedule: nightly,
      defined: new Date(clock.ms),
      next: new Date('2023-11-15T01:30:00.000Z'),
      failures: 0,
    });
    await engine.schedules.set('hourly', {
      cron: '@hourly',
      vault: 'v',
      keep: { last: 3, daily: undefined } as never,
    });
    expect((await engine.schedules.list()).map(({ name }) => name)).toEqual(['hourly', 'nightly']);
    await engine.schedules.set('nightly', { ...nightly, paused: true });
    const paused = await engine.schedules.get('nightly');
    expect(paused.next).toBeUndefined();
    expect(await engine.schedules.delete('nightly')).toBe(true);
    expect(await engine.schedules.delete('nightly')).toBe(false);
    expect(await codeOf(engine.schedules.get('nightly'))).toBe('VARVE_NOT_FOUND');
  });

  test('what cannot be is refused by name', async () => {
    const { engine } = await newStore();
    const wrong: [string, unknown][] = [
      ['', nightly],
      ['../x', nightly],
      ['x'.repeat(201), nightly],
      ['n', undefined],
      ['n', { ...nightly, cron: '61 * * * *' }],
      ['n', { ...nightly, timeZone: 'Mars/Base' }],
      ['n', { ...nightly, vault: '' }],
      ['n', { ...nightly, keep: {} }],
      ['n', { ...nightly, keep: { fortnightly: 2 } }],
      ['n', { ...nightly, mode: 'some' }],
      ['n', { ...nightly, tags: [1] }],
      ['n', { ...nightly, verify: { level: 4 } }],
      ['n', { ...nightly, verify: { parts: 0 } }],
      ['n', { ...nightly, verify: { all: true } }],
      ['n', { ...nightly, paused: 'yes' }],
      ['n', { ...nightly, bytesPerSecond: 0.5 }],
      ['n', { ...nightly, when: 'now' }],
    ];
    for (const [name, schedule] of wrong)
      expect([name, await codeOf(engine.schedules.set(name, schedule as BackupSchedule))]).toEqual([
        name,
        'VARVE_INVALID_ARGUMENT',
      ]);
    const openVault = async (): Promise<never> => expect.unreachable();
    for (const call of [
      () => engine.schedules.get('n', { grace: 1 } as never),
      () => engine.schedules.get('n', null as never),
      () => engine.schedules.run({ openVault, names: 'n' as never }),
      () => engine.schedules.run({ openVault, once: 'yes' as never }),
      () => engine.schedules.run({ openVault, onEvent: 5 as never }),
    ])
      expect(await codeOf(call as () => unknown), String(call)).toBe('VARVE_INVALID_ARGUMENT');
    expect(await codeOf(engine.schedules.list({ graceMs: -1 }))).toBe('VARVE_INVALID_ARGUMENT');
    expect(await engine.schedules.list()).toEqual([]);
  });

  test('readers list them and cannot set any; the store says that it has them', async () => {
    const { engine, disk } = await newStore();
    await engine.schedules.set('nightly', nightly);
    await engine.close();
    const reader = await openOn(disk, { readOnly: true });
    expect((await reader.schedules.list()).map(({ name }) => name)).toEqual(['nightly']);
    expect(await codeOf(reader.schedules.set('n', nightly))).toBe('VARVE_READ_ONLY');
    expect(await codeOf(reader.schedules.delete('nightly'))).toBe('VARVE_READ_ONLY');
    await reader.close();
    expect(catalogFeatures.find(({ name }) => name === 'schedules')?.bit).toBe(schedulesFeature);
  });

  test('a schedule acknowledged is there after a crash, and after a restore', async () => {
    const disk = new MemoryFileSystem();
    const engine = await openOn(disk);
    await engine.schedules.set('nightly', nightly);
    await engine.put('k', 'v'.repeat(500));
    for (const left of [disk.crash('none'), disk.crash(new Prng(3)), disk.crash('all')]) {
      const again = await openOn(left);
      expect((await again.schedules.get('nightly')).schedule).toEqual(nightly);
      await again.close();
    }
    const vault = await vaultOn();
    await engine.backup(vault);
    await engine.close();
    await withRestored(vault, {}, async (restored, { proved }) => {
      expect(proved).toBe(true);
      expect((await restored.schedules.get('nightly')).schedule).toEqual(nightly);
    });
  });

  test('an incremental backup has schedules set and deleted since, and not their runs', async () => {
    const { engine, clock } = await newStore({ changesRetention: { bytes: 1 << 20 } });
    const vault = await vaultOn(undefined, clock);
    await engine.put('k', 'v'.repeat(500));
    await engine.schedules.set('one', nightly);
    await engine.backup(vault);
    await engine.schedules.set('two', { ...nightly, cron: '@hourly' });
    await engine.schedules.delete('one');
    await engine.schedules.run({ openVault: async () => vault, once: true, force: true });
    expect(await rootOf(vault)).toBe(await rootFromScratch(engine));
    await withRestored(vault, {}, async (restored) => {
      const [only, ...more] = await restored.schedules.list();
      expect(only).toMatchObject({ name: 'two', failures: 0 });
      expect(only!.last).toBeUndefined();
      expect(more).toEqual([]);
    });
  });

  test('the store knows its last backup into each vault, also when it is opened again', async () => {
    const { engine, disk, clock } = await newStore();
    expect(engine.health().backups).toEqual([]);
    const [one, two] = [await vaultOn(undefined, clock), await vaultOn(undefined, clock)];
    await engine.put('k', 'v');
    const first = await engine.backup(one);
    await clock.advance(1000);
    const second = await engine.backup(two, { verify: false });
    const known = [
      { vault: two.id, backup: second.id, time: second.time, seq: second.seq },
      { vault: one.id, backup: first.id, time: first.time, seq: first.seq, proof: first.proof },
    ];
    expect(engine.health()).toMatchObject({ ok: true, backups: known });
    await engine.close();
    const reader = await openOn(disk, { readOnly: true });
    expect(reader.health().backups).toEqual(known);
    await reader.close();
    expect((await two.verify({ expect: known.slice(0, 1) })).ok).toBe(true);
    await two.env.store.delete((await listed(two))[0]!);
    const hidden = await two.verify({ expect: known.slice(0, 1) });
    expect(hidden.ok).toBe(false);
    expect(hidden.damage[0]).toMatchObject({ kind: 'VARVE_CORRUPT', snapshots: [second.id] });
    expect(hidden.damage[0]!.message).toContain('hides it');
    expect(await codeOf(two.verify({ expect: [{ backup: 'short' }] }))).toBe('VARVE_INVALID_ARGUMENT');
  });
});

async function listed(vault: Awaited<ReturnType<typeof vaultOn>>): Promise<string[]> {
  const names: string[] = [];
  for await (const { name } of vault.env.store.list('snaps/')) names.push(name);
  return names;
}
