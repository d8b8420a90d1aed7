import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { MemoryBlobs } from '../../src/backup/memory-blobs.ts';
import { type BackupSchedule, planSchedule, type ScheduleEntry } from '../../src/backup/schedule-planner.ts';
import type { Vault } from '../../src/backup/vault.ts';
import { lockRun } from '../../src/backup/vault-lock.ts';
import { VarveError } from '../../src/base/errors.ts';
import type {
  RunScheduleOptions,
  ScheduleEvent,
  ScheduleReport,
} from '../../src/engine/backups/schedule-run.ts';
import type { Engine } from '../../src/engine/engine.ts';
import { vaultOn } from '../backup/backup-kit.ts';
import { codeOf, newStore, openOn, type TestClock, turn } from './engine-kit.ts';

const hourMs = 3_600_000;
const hourly: BackupSchedule = { cron: '0 * * * *', vault: 'v' };

interface Rig {
  readonly engine: Engine;
  readonly clock: TestClock;
  readonly vault: Vault;
  readonly events: ScheduleEvent[];
  run(more?: RunScheduleOptions): Promise<ScheduleReport>;
}

async function rig(): Promise<Rig & { disk: Awaited<ReturnType<typeof newStore>>['disk'] }> {
  const { engine, clock, disk } = await newStore();
  const vault = await vaultOn(new MemoryBlobs(), clock);
  const events: ScheduleEvent[] = [];
  const run = (more: RunScheduleOptions = {}): Promise<ScheduleReport> =>
    engine.schedules.run({
      openVault: async () => vault,
      once: true,
      onEvent: (event) => events.push(event),
      ...more,
    });
  return { engine, clock, disk, vault, events, run };
}

describe('running schedules', () => {
  test('what is due is backed up once, with the tag of its schedule', async () => {
    const { engine, clock, vault, events, run } = await rig();
    await engine.put('k', 'v'.repeat(3000));
    await engine.schedules.set('hourly', { ...hourly, label: 'l', tags: ['a'] });
    expect(await run()).toMatchObject({ ok: true, runs: [], skipped: 0 });
    expect(events).toEqual([]);
    await clock.advance(hourMs);
    const { runs, next } = await run();
    expect(runs).toMatchObject([{ schedule: 'hourly', ok: true, corrupt: false }]);
    expect(next!.getTime() % hourMs).toBe(0);
    expect(events.map(({ type }) => type)).toEqual(['started', 'backup', 'finished']);
    expect(await vault.list()).toMatchObject([
      { id: runs[0]!.backup, label: 'l', tags: ['a', 'schedule:hourly'] },
    ]);
    expect((await run()).runs).toEqual([]);
    const info = await engine.schedules.get('hourly');
    expect(info).toMatchObject({ failures: 0, last: { ok: true, backup: runs[0]!.backup } });
    expect(info.due).toBeUndefined();
    expect(await codeOf(run({ names: ['other'] }))).toBe('VARVE_NOT_FOUND');
  });

  test('times that were missed are one run', async () => {
    const { engine, clock, vault, run } = await rig();
    await engine.schedules.set('hourly', hourly);
    await clock.advance(50.4 * hourMs);
    const info = await engine.schedules.get('hourly');
    expect(info.lateSince!.getTime()).toBeLessThan(clock.ms - 49 * hourMs);
    const { runs } = await run();
    expect(runs).toHaveLength(1);
    expect(runs[0]!.due.getTime()).toBe(Math.floor(clock.ms / hourMs) * hourMs);
    expect((await run()).runs).toEqual([]);
    expect(await vault.list()).toHaveLength(1);
    expect((await engine.schedules.get('hourly')).lateSince).toBeUndefined();
  });

  test('it goes on by itself until the signal fires', async () => {
    const { engine, clock, vault, events, run } = await rig();
    await engine.schedules.set('hourly', hourly);
    const stop = new AbortController();
    const going = run({ once: false, signal: stop.signal });
    expect(await codeOf(run())).toBe('VARVE_CONFLICT');
    for (let minute = 0; minute < 180; minute++) {
      await settled(clock);
      await clock.advance(60_000);
    }
    await settled(clock);
    stop.abort();
    await clock.advance(60_000);
    expect(await going).toMatchObject({ ok: true });
    expect((await vault.list()).length).toBe(3);
    expect(events.filter(({ type }) => type === 'finished')).toHaveLength(3);
  });

  test('a run ends with the engine', async () => {
    const { engine, clock, run } = await rig();
    await engine.schedules.set('hourly', hourly);
    const going = run({ once: false });
    await settled(clock);
    await engine.close();
    await clock.advance(60_000);
    expect(await going).toMatchObject({ ok: true, runs: [] });
    expect(await codeOf(run())).toBe('VARVE_CLOSED');
  });

  test('a failed run is told, noted, and tried again ever more rarely', async () => {
    const { engine, clock, vault, run } = await rig();
    await engine.schedules.set('daily', { cron: '@daily', vault: 'v' });
    await clock.advance(24 * hourMs);
    const broken = { openVault: () => Promise.reject(new VarveError('VARVE_IO', 'no such disk')) };
    expect(await run(broken)).toMatchObject({
      ok: false,
      runs: [{ ok: false, error: { code: 'VARVE_IO', message: 'no such disk' } }],
    });
    expect((await run(broken)).runs).toEqual([]);
    expect(await engine.schedules.get('daily')).toMatchObject({
      failures: 1,
      last: { ok: false, error: 'VARVE_IO: no such disk' },
    });
    const tries: number[] = [];
    for (let minute = 1; minute <= 200; minute++) {
      await clock.advance(60_000);
      if ((await run(broken)).runs.length > 0) tries.push(minute);
    }
    // Midnight, and with it the next time of the schedule, is in the 107th minute.
    expect(tries).toEqual([1, 3, 7, 15, 31, 63, 107, 167]);
    await clock.advance(hourMs);
    expect(await run()).toMatchObject({ ok: true, runs: [{ ok: true }] });
    expect(await engine.schedules.get('daily')).toMatchObject({ failures: 0, last: { ok: true } });
    expect(await vault.list()).toHaveLength(1);
  });

  test('two processes never run for one store at once', async () => {
    const { engine, clock, vault, disk, events, run } = await rig();
    await engine.schedules.set('hourly', hourly);
    await clock.advance(hourMs);
    const [{ store }] = [await engine.backup(vault)];
    const lock = await lockRun(vault.env, store, false);
    expect(await run()).toMatchObject({ ok: true, runs: [], skipped: 1 });
    expect(events.at(-1)).toMatchObject({ type: 'skipped', reason: 'running' });
    await lock.release();
    // A reader in another process comes first; the writer sees its backup in the vault.
    await engine.flush();
    const reader = await openOn(disk, { readOnly: true }, undefined, clock);
    const notes = new Map();
    const other = { openVault: async () => vault, once: true, notes };
    expect((await reader.schedules.run(other)).runs).toMatchObject([{ ok: true }]);
    expect((await reader.schedules.run(other)).runs).toEqual([]);
    expect((await reader.schedules.run({ ...other, notes: new Map() })).runs).toEqual([]);
    await reader.close();
    await clock.advance(60_000);
    expect((await run()).runs).toEqual([]);
    expect(events.at(-1)).toMatchObject({ type: 'skipped', reason: 'done' });
    expect(await engine.schedules.get('hourly')).toMatchObject({ failures: 0, last: { ok: true } });
    const held = await lockRun(vault.env, store, false);
    await clock.advance(hourMs);
    expect((await run({ breakLock: true })).runs).toMatchObject([{ ok: true }]);
    expect(await codeOf(held.check())).toBe('VARVE_LOCKED');
  });

  test('older backups of this store go by its rules, those of others stay', async () => {
    const { engine, clock, vault, events, run } = await rig();
    const other = await newStore();
    await other.engine.put('k', 'x'.repeat(3000));
    for (let i = 0; i < 3; i++) await other.engine.backup(vault);
    await engine.schedules.set('hourly', { ...hourly, keep: { last: 2 }, verify: { testKeys: 3, parts: 2 } });
    for (let hour = 0; hour < 4; hour++) {
      await engine.put('k', String(hour).repeat(3000));
      await clock.advance(hourMs);
      expect((await run()).ok).toBe(true);
    }
    expect(await vault.list()).toHaveLength(5);
    expect(events.slice(-6).map(({ type }) => type)).toEqual([
      'started',
      'backup',
      'forgot',
      'pruned',
      'verified',
      'finished',
    ]);
    expect((await engine.schedules.get('hourly')).verified).toEqual(new Date(clock.ms));
  });

  test('a failed or damaged backup removes nothing', async () => {
    const { engine, clock, vault, run } = await rig();
    await engine.put('k', 'v'.repeat(3000));
    await engine.schedules.set('hourly', { ...hourly, keep: { last: 1 }, verify: {} });
    await clock.advance(hourMs);
    await run();
    const [pack] = (vault.env.store as MemoryBlobs).names().filter((name) => name.startsWith('packs/'));
    const bytes = await vault.env.store.get(pack!, 1 << 20);
    bytes[100]! ^= 1;
    await vault.env.store.put(pack!, bytes);
    await clock.advance(hourMs);
    expect(await run()).toMatchObject({ ok: false, runs: [{ ok: false, corrupt: true }] });
    expect((await engine.schedules.get('hourly')).failures).toBe(1);
  });

  test('force runs what is not due, and a listener that throws breaks nothing', async () => {
    const { engine, vault, run } = await rig();
    await engine.schedules.set('hourly', hourly);
    const report = await run({
      force: true,
      onEvent: () => {
        throw new Error('mine');
      },
    });
    expect(report.runs).toMatchObject([{ ok: true }]);
    expect(await vault.list()).toHaveLength(1);
    expect(await codeOf(run({ force: true, once: false }))).toBe('VARVE_INVALID_ARGUMENT');
    expect(await codeOf(engine.schedules.run({}))).toBe('VARVE_INVALID_ARGUMENT');
  });
});

describe('when a schedule is due', () => {
  test('each time has one success, whatever the clock does between', () => {
    const steps = fc.array(fc.tuple(fc.integer({ min: -90, max: 600 }), fc.boolean()), { maxLength: 40 });
    fc.assert(
      fc.property(steps, (moves) => {
        const definedMs = Date.UTC(2026, 0, 1, 0, 30);
        let entry: ScheduleEntry = { name: 's', schedule: hourly, definedMs, run: undefined };
        let now = definedMs;
        const done: number[] = [];
        for (const [minutes, works] of moves) {
          now += minutes * 60_000;
          const { dueMs } = planSchedule(entry, now, 0);
          if (dueMs === undefined) continue;
          expect(dueMs).toBeLessThanOrEqual(now);
          if (works) done.push(dueMs);
          const { failures = 0, okDueMs = 0, okMs = 0 } = entry.run ?? {};
          const run = {
            failures: works ? 0 : failures + 1,
            dueMs,
            startedMs: now,
            endedMs: now,
            okDueMs: works ? dueMs : okDueMs,
            okMs: works ? now : okMs,
            verifiedMs: 0,
            backup: undefined,
            error: undefined,
          };
          entry = { ...entry, run };
        }
        // A clock set back by more than an hour may make one time come again.
        const isSteady = moves.every(([minutes]) => minutes >= 0);
        if (isSteady) expect(new Set(done).size).toBe(done.length);
        const later = planSchedule(entry, now + 10 * hourMs, 0);
        expect(later.dueMs).toBeGreaterThan(now + 8 * hourMs);
      }),
    );
  });

  test('a run noted by a clock that was far ahead does not hold backups up', () => {
    const definedMs = Date.UTC(2026, 0, 1);
    const ahead = Date.UTC(2040, 0, 1);
    const run = {
      failures: 0,
      dueMs: ahead,
      startedMs: ahead,
      endedMs: ahead,
      okDueMs: ahead,
      okMs: ahead,
      verifiedMs: 0,
      backup: undefined,
      error: undefined,
    };
    const entry = { name: 's', schedule: hourly, definedMs, run };
    const now = Date.UTC(2026, 0, 2, 5, 10);
    expect(planSchedule(entry, now, 0)).toMatchObject({ dueMs: Date.UTC(2026, 0, 2, 5) });
  });
});

/** Everything that does not wait for time has happened. */
async function settled(clock: TestClock): Promise<void> {
  for (let i = 0; i < 2000 && clock.sleeping === 0; i++) await turn();
}
