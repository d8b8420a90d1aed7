import { join } from 'node:path';
import { PassThrough } from 'node:stream';
import { describe, expect, test } from 'vitest';
import { systemClock } from '../../src/fs/system-clock.ts';
import { openEngine } from '../../src/index.ts';
import { cli, freshDir } from './kit.ts';

/** A store with a schedule for each full hour that was set so long ago. */
async function storeWithSchedule(
  hoursAgo: number,
  vault?: string,
): Promise<{ store: string; vault: string }> {
  const dir = await freshDir();
  const [store, target] = [join(dir, 'data'), vault ?? join(dir, 'vault')];
  const clock = { ...systemClock, now: () => Date.now() - hoursAgo * 3_600_000 };
  const engine = await openEngine(store, { clock, workers: 0 });
  await engine.put('k', 'v'.repeat(5000));
  await engine.schedules.set('hourly', { cron: '@hourly', vault: target, keep: { last: 2 } });
  await engine.close();
  return { store, vault: target };
}

describe('varve schedule', () => {
  test('set, list, check, run and delete', async () => {
    const dir = await freshDir();
    const [store, vault] = [join(dir, 'data'), join(dir, 'vault')];
    await cli(['put', store, 'k'], { stdin: 'v' });
    expect((await cli(['schedule', 'check', store])).code).toBe(1);
    const set = ['schedule', 'set', store, 'nightly', '--cron', '30 2 * * *', '--time-zone', 'Europe/Berlin'];
    const more = [
      '--vault',
      vault,
      '--keep-daily',
      '7',
      '--keep-tag',
      'x',
      '--test-keys',
      '2',
      '--verify-parts',
      '2',
    ];
    const made = await cli([...set, ...more, '--tag', 'x', '--no-verify-new', '--json']);
    expect(made.json()).toMatchObject([
      {
        type: 'schedule',
        name: 'nightly',
        failures: 0,
        schedule: {
          cron: '30 2 * * *',
          timeZone: 'Europe/Berlin',
          vault,
          tags: ['x'],
          verifyNew: false,
          keep: { daily: 7, tags: ['x'] },
          verify: { parts: 2, testKeys: 2 },
        },
      },
    ]);
    expect((await cli(['schedule', 'list', store])).out).toContain('not run yet');
    expect((await cli(['schedule', 'check', store])).code).toBe(0);
    expect((await cli(['schedule', 'run', store])).out).toBe('nothing is due\n');
    const forced = await cli(['schedule', 'run', store, '--force', '--json']);
    expect(forced.code).toBe(0);
    expect(forced.json().map(({ type, event }) => event ?? type)).toEqual([
      'started',
      'backup',
      'forgot',
      'pruned',
      'verified',
      'finished',
      'schedule-run',
    ]);
    expect((await cli(['schedule', 'list', store])).out).toMatch(/ ok\s*$/);
    expect(
      (await cli(['vault', 'verify', vault, '--rotate', '2', '--test-keys', '3', '--store', store])).out,
    ).toMatch(/^whole: level 3, 1 backup, .*, 3 keys read whole/);
    expect((await cli(['stats', store])).out).toMatch(/last backup +\d{4}-/);
    expect((await cli(['schedule', 'delete', store, 'nightly'])).code).toBe(0);
    expect((await cli(['schedule', 'delete', store, 'nightly'])).code).toBe(3);
  });

  test('exit codes for monitors', async () => {
    const { store } = await storeWithSchedule(3);
    const late = await cli(['schedule', 'check', store]);
    expect(late.code).toBe(1);
    expect(late.out).toContain('late since');
    expect((await cli(['schedule', 'check', store, '--grace-seconds', '36000'])).code).toBe(0);
    // A file where the vault should be.
    const broken = await storeWithSchedule(3, join(store, 'SUPER'));
    const failed = await cli(['schedule', 'run', broken.store]);
    expect(failed.code).toBe(1);
    expect(failed.out).toContain('FAILED');
    expect((await cli(['schedule', 'check', broken.store, '--grace-seconds', '36000'])).code).toBe(1);
    const wrong = ['schedule', 'set', store, 'x', '--vault', 'v'];
    for (const args of [
      wrong,
      [...wrong, '--cron', 'never'],
      [...wrong, '--cron', '@daily', '--time-zone', 'Nowhere'],
    ])
      expect((await cli(args)).code).toBe(2);
    expect((await cli(['schedule', 'run', store, '--name', 'other'])).code).toBe(3);
    expect((await cli(['backup', store])).code).toBe(2);
    expect((await cli(['backup', store, 'v', '--daemon'])).code).toBe(2);
    expect((await cli(['backup', store, '--daemon', '--dry-run'])).code).toBe(2);
  });

  test.each([false, true])('the daemon makes what is due and waits (store in use: %s)', async (inUse) => {
    const { store, vault } = await storeWithSchedule(3);
    const engine = inUse ? await openEngine(store, { workers: 0 }) : undefined;
    const stop = new AbortController();
    const stdout = new PassThrough();
    let seen = '';
    stdout.on('data', (piece: Buffer) => {
      seen += piece.toString();
      if (seen.includes('"waiting"')) stop.abort('SIGTERM');
    });
    const result = await cli(['backup', store, '--daemon', '--json'], { signal: stop.signal, stdout });
    await engine?.close();
    expect(result.code).toBe(0);
    const events = seen
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line) as { type: string; event: string });
    expect(events.map(({ event }) => event)).toEqual([
      'started',
      'backup',
      'forgot',
      'pruned',
      'finished',
      'waiting',
    ]);
    expect((await cli(['vault', 'list', vault, '--json'])).json()).toMatchObject([
      { tags: ['schedule:hourly'] },
    ]);
    // Beside a writer the run is noted in the vault.
    const check = await cli(['schedule', 'check', store, '--grace-seconds', '0', '--json']);
    expect(check).toMatchObject({ code: 0 });
    expect(check.json()).toMatchObject([{ failures: 0, last: { ok: true } }]);
  });

  test('a store that hides nothing is told from one whose vault does', async () => {
    const { store, vault } = await storeWithSchedule(3);
    await cli(['schedule', 'run', store]);
    const { rm } = await import('node:fs/promises');
    await rm(join(vault, 'snaps'), { recursive: true });
    const found = await cli(['vault', 'verify', vault, '--store', store]);
    expect(found.code).toBe(4);
    expect(found.out).toContain('hides it');
  });
});
