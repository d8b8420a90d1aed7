import { expect, test } from 'vitest';
import type { Engine } from '../../src/engine/engine.ts';
import type { MemoryFileSystem } from '../../src/fs/memory-file-system.ts';
import { bytesOf, codeOf, newStore, openOn, TestClock } from '../engine/engine-kit.ts';

const day = 24 * 3600_000;

/** Some tables and segments. */
async function fill(engine: Engine, from = 0): Promise<void> {
  for (let i = from; i < from + 6; i++) {
    await engine.put(`k${i}`, bytesOf(i, 12_000));
    if (i % 2 === 0) await engine.flush();
  }
  await engine.flush();
}

function digests(disk: MemoryFileSystem): Map<string, string> {
  const files = disk.files().filter((file) => file !== 'checks' && file !== 'LOCK');
  return new Map(files.map((file) => [file, Buffer.from(disk.bytesOf(file)).toString('base64')]));
}

test('a scrub writes nothing but its record', async () => {
  const { disk, engine } = await newStore();
  await fill(engine);
  const before = digests(disk);
  const report = await engine.scrub();
  expect(report).toMatchObject({ ok: true, done: true, damage: [], checked: { skipped: 0 } });
  expect(report.checkedSince).toBeInstanceOf(Date);
  expect(digests(disk)).toEqual(before);
  expect(disk.files()).toContain('checks');
  expect(disk.files().filter((file) => file.startsWith('tmp/'))).toEqual([]);
});

test('only what was not checked since is checked, also after a restart', async () => {
  const clock = new TestClock();
  const { disk, engine } = await newStore();
  await fill(engine);
  await engine.close();
  const first = await openOn(disk, {}, undefined, clock);
  const all = await first.scrub();
  const at = new Date(clock.now());
  expect(first.health().lastCheck).toEqual({ at, level: 'full', damage: 0 });
  await first.close();

  await clock.advance(day);
  const second = await openOn(disk, {}, undefined, clock);
  expect(second.health().lastCheck).toEqual({ at, level: 'full', damage: 0 });
  await fill(second, 10);
  const rest = await second.scrub({ olderThanMs: 2 * day });
  expect(rest.checked.skipped).toBeGreaterThan(0);
  expect(rest.checked.bytes).toBeLessThan(all.checked.bytes + 100_000);
  expect(rest.checkedSince).toEqual(at);
  const since = await second.verify({ level: 'full', since: at });
  // Roots, and nothing else that is final.
  expect(since.checked.chunks).toBeLessThan(all.checked.chunks);
  expect(since.checked.skipped).toBeGreaterThanOrEqual(rest.checked.skipped);
  expect((await second.verify({ level: 'full', since: new Date(clock.now() + 1) })).checked.skipped).toBe(0);
  // What was looked at less closely does not count.
  await second.scrub({ level: 'index' });
  expect((await second.verify({ level: 'full', since: at })).checked.skipped).toBeGreaterThan(0);
  await second.close();
});

test('a damaged record is none, and one of another store neither', async () => {
  const { disk, engine } = await newStore();
  await fill(engine);
  await engine.scrub();
  const since = new Date(0);
  expect((await engine.verify({ since })).checked.skipped).toBeGreaterThan(0);
  disk.flipBit('checks', 8 * 60);
  expect((await engine.verify({ since })).checked.skipped).toBe(0);
  await engine.scrub();
  const other = await newStore();
  await fill(other.engine);
  await other.engine.scrub();
  const file = await other.disk.open('checks', 'rw');
  const foreign = disk.bytesOf('checks');
  await file.truncate(foreign.length);
  await file.write(foreign, 0);
  await file.close();
  expect((await other.engine.verify({ since })).checked.skipped).toBe(0);
});

test('samples come round to every file', async () => {
  const clock = new TestClock();
  const { disk, engine: filled } = await newStore();
  await fill(filled);
  await filled.close();
  const engine = await openOn(disk, {}, undefined, clock);
  const rounds: (Date | undefined)[] = [];
  for (let i = 0; i < 5; i++) {
    await clock.advance(1000);
    rounds.push((await engine.scrub({ sample: 0.25 })).checkedSince);
  }
  expect(rounds[0]).toBeUndefined();
  expect(rounds.at(-1)).toBeInstanceOf(Date);
  expect(clock.now() - rounds.at(-1)!.getTime()).toBeLessThanOrEqual(4000);
  await engine.close();
});

test('damage that a scrub finds is in health, and is never taken for checked', async () => {
  const { disk, engine } = await newStore();
  await fill(engine);
  await engine.flush();
  const segment = disk.files().find((file) => file.startsWith('seg/'))!;
  disk.flipBit(segment, 8 * 500);
  for (let i = 0; i < 2; i++) {
    const report = await engine.scrub({ olderThanMs: day });
    expect(report).toMatchObject({ ok: false, damage: [{ file: segment }] });
    expect(report.checkedSince).toBeUndefined();
  }
  expect(engine.health()).toMatchObject({ ok: false, status: 'warning', lastCheck: { damage: 1 } });
  const kinds = engine.health().reasons.map(({ kind }) => kind);
  expect(kinds).toContain('damage');
  expect(kinds).toContain('check');
});

test('a scrub that is ended early goes on with the rest', async () => {
  const { engine } = await newStore();
  await fill(engine);
  const all = await engine.verify({ level: 'full' });
  let calls = 0;
  let files = 0;
  for (;;) {
    const { done, checked } = await engine.scrub({ maxMs: 0, olderThanMs: day });
    calls++;
    files += checked.files;
    if (done) break;
  }
  expect(calls).toBeGreaterThan(3);
  expect(files).toBeGreaterThanOrEqual(all.checked.files);
  const controller = new AbortController();
  controller.abort();
  expect(await codeOf(engine.scrub({ signal: controller.signal }))).toBe('VARVE_ABORTED');
  expect(await codeOf(engine.scrub({ sample: 0 }))).toBe('VARVE_INVALID_ARGUMENT');
  expect(await codeOf(engine.scrub({ share: 2 }))).toBe('VARVE_INVALID_ARGUMENT');
});

test('close ends a scrub in the background, which goes round by round', async () => {
  const clock = new TestClock();
  const { disk, engine: filled } = await newStore();
  await fill(filled);
  await filled.close();
  const engine = await openOn(disk, { scrub: { everyMs: 60_000, sample: 1, share: 1 } }, undefined, clock);
  for (let i = 0; i < 200 && engine.health().lastCheck === undefined; i++) await clock.advance(10);
  expect(engine.health()).toMatchObject({ ok: true, lastCheck: { level: 'full', damage: 0 } });
  const first = engine.health().lastCheck!.at.getTime();
  for (let i = 0; i < 300 && engine.health().lastCheck!.at.getTime() === first; i++)
    await clock.advance(1000);
  expect(engine.health().lastCheck!.at.getTime()).toBeGreaterThan(first);
  await engine.close();
  const sleeping = clock.sleeping;
  await clock.advance(600_000);
  expect(clock.sleeping).toBeLessThanOrEqual(sleeping);
});
