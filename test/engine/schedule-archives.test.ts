import { describe, expect, test } from 'vitest';
import { MemoryBlobs } from '../../src/backup/memory-blobs.ts';
import type { BackupSchedule } from '../../src/backup/schedule-planner.ts';
import { VarveError } from '../../src/base/errors.ts';
import type { ScheduleEvent } from '../../src/engine/backups/schedule-run.ts';
import { archivePrefix } from '../../src/format/vault-names.ts';
import { vaultOn, withRestored } from '../backup/backup-kit.ts';
import { bytesOf, codeOf, newStore, openOn, same, type TestClock, turn } from './engine-kit.ts';

const hourMs = 3_600_000;
const hourly: BackupSchedule = { cron: '0 * * * *', vault: 'v', archive: { everyMs: 1000 } };

/** Everything that does not wait for time has happened. */
async function settled(clock: TestClock): Promise<void> {
  for (let i = 0; i < 300; i++) await turn();
  expect(clock.sleeping).toBeGreaterThan(0);
}

/** Minutes go by, second by second where archives sleep. */
async function minutes(clock: TestClock, count: number): Promise<void> {
  for (let half = 0; half < count * 4; half++) {
    await clock.advance(15_000);
    for (let i = 0; i < 20; i++) await turn();
  }
}

async function rig() {
  const { engine, clock, disk } = await newStore();
  const blobs = new MemoryBlobs();
  const vault = await vaultOn(blobs, clock);
  const events: ScheduleEvent[] = [];
  const run = (more = {}) =>
    engine.schedules.run({
      openVault: async () => vault,
      onEvent: (event) => events.push(event),
      ...more,
    });
  return { engine, clock, disk, blobs, vault, events, run };
}

describe('archives of schedules', () => {
  test('any moment between two backups can be restored', async () => {
    const { engine, clock, vault, events, run } = await rig();
    await engine.schedules.set('hourly', hourly);
    const stop = new AbortController();
    const going = run({ signal: stop.signal });
    await settled(clock);
    await clock.advance(hourMs);
    await settled(clock);
    expect(await vault.list()).toHaveLength(1);
    const moments: number[] = [];
    for (let i = 0; i < 3; i++) {
      await minutes(clock, 1);
      await engine.put('k', bytesOf(i, 20_000));
      moments.push(clock.now());
      await clock.advance(5);
      await engine.put('k', 'between two rounds');
      await engine.compact();
    }
    for (let i = 0; i < 60 && (await vault.archives()).length === 0; i++) await minutes(clock, 1);
    await minutes(clock, 3);
    stop.abort();
    await minutes(clock, 2);
    expect(await going).toMatchObject({ ok: true });
    for (const [i, ms] of moments.entries()) {
      await withRestored(vault, { at: new Date(ms) }, async (again) =>
        expect(same(await again.get('k'), bytesOf(i, 20_000))).toBe(true),
      );
    }
    expect(events.filter(({ type }) => type === 'archived').length).toBeGreaterThan(0);
  });

  test('an archive ends with its schedule', async () => {
    const { engine, clock, blobs, run } = await rig();
    await engine.schedules.set('hourly', hourly);
    const stop = new AbortController();
    const going = run({ signal: stop.signal });
    await settled(clock);
    await clock.advance(hourMs);
    await settled(clock);
    await engine.schedules.delete('hourly');
    await minutes(clock, 3);
    const before = blobs.names().filter((name) => name.startsWith(archivePrefix)).length;
    await engine.put('k', 'v');
    await minutes(clock, 3);
    expect(blobs.names().filter((name) => name.startsWith(archivePrefix)).length).toBe(before);
    stop.abort();
    await minutes(clock, 2);
    await going;
  });

  test('a single run archives once, and a failing archive is told once and fails the run', async () => {
    const { engine, clock, vault, events, run } = await rig();
    await engine.schedules.set('hourly', { ...hourly, archive: { everyMs: 1000, keepMs: 1000 } });
    await engine.schedules.set('other', { ...hourly, paused: true });
    expect(await run({ once: true })).toMatchObject({ ok: true, runs: [] });
    expect(await vault.archives()).toEqual([]);
    await clock.advance(hourMs);
    expect(await run({ once: true })).toMatchObject({ ok: true, runs: [{ ok: true }] });
    await engine.put('k', 'v');
    await run({ once: true });
    expect(events.at(-1)).toMatchObject({ type: 'archived', schedule: 'hourly', report: { objects: 1 } });
    const openVault = () => Promise.reject(new VarveError('VARVE_IO', 'no such disk'));
    expect(await run({ once: true, openVault })).toMatchObject({ ok: false, runs: [] });
    expect(events.at(-1)).toMatchObject({ type: 'archive-failed', error: { code: 'VARVE_IO' } });
    for (const archive of [{}, { everyMs: 10 }, { everyMs: 1000, keepMs: 0 }, { everyMs: 1000, x: 1 }, 3])
      expect(await codeOf(engine.schedules.set('n', { ...hourly, archive } as BackupSchedule))).toBe(
        'VARVE_INVALID_ARGUMENT',
      );
  });

  test('a reader leaves the log to the writer, and its runs are known by notes in the vault', async () => {
    const { engine, clock, vault, disk, events } = await rig();
    await engine.schedules.set('hourly', { ...hourly, keep: { last: 3 } });
    await engine.flush();
    await clock.advance(1.5 * hourMs);
    const openVault = async () => vault;
    const reader = await openOn(disk, { readOnly: true }, undefined, clock);
    const onEvent = (event: ScheduleEvent): void => void events.push(event);
    expect(await reader.schedules.run({ once: true, openVault, onEvent })).toMatchObject({ ok: true });
    expect(events.at(-1)).toEqual({ type: 'archive-left', schedule: 'hourly' });
    const [made] = await vault.list();
    expect(await engine.schedules.get('hourly', { graceMs: 0 })).toMatchObject({ failures: 0 });
    expect((await engine.schedules.list({ graceMs: 0 }))[0]!.lateSince).toBeDefined();
    const [known] = await engine.schedules.list({ graceMs: 0, openVault });
    expect(known).toMatchObject({ last: { ok: true, backup: made!.id } });
    expect(known!.lateSince).toBeUndefined();
    expect(known!.due).toBeUndefined();
    // A failed run is known as well, and backs off.
    await clock.advance(hourMs);
    const full = new MemoryBlobs((vault.env.store as MemoryBlobs).entries());
    const put = full.put.bind(full);
    full.put = async (name, data, options) => {
      if (name.startsWith('noted/') || name.startsWith('runs/')) return await put(name, data, options);
      throw new VarveError('VARVE_NO_SPACE', 'full');
    };
    const broken = { openVault: () => vaultOn(full, clock) };
    expect(await reader.schedules.run({ once: true, ...broken })).toMatchObject({ ok: false });
    expect((await engine.schedules.list(broken))[0]).toMatchObject({
      failures: 1,
      last: { ok: false, error: 'VARVE_NO_SPACE: full' },
    });
    const gone = { openVault: () => Promise.reject(new VarveError('VARVE_NOT_FOUND', 'no vault')) };
    expect((await engine.schedules.list(gone))[0]!.due).toBeDefined();
    await reader.close();
  });

  test('a damaged note is named by verify, and stands for none', async () => {
    const { engine, clock, blobs, vault, disk } = await rig();
    await engine.schedules.set('hourly', hourly);
    await engine.flush();
    await clock.advance(hourMs);
    const reader = await openOn(disk, { readOnly: true }, undefined, clock);
    await reader.schedules.run({ once: true, openVault: async () => vault });
    await reader.close();
    const [name] = blobs.names().filter((one) => one.startsWith('noted/'));
    const bytes = await blobs.get(name!, 1 << 20);
    bytes[40]! ^= 1;
    await blobs.put(name!, bytes);
    expect((await vault.verify()).damage).toMatchObject([{ file: name }]);
    expect((await engine.schedules.list({ openVault: async () => vault }))[0]!.last).toBeUndefined();
  });
});
