import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { createInterface } from 'node:readline';
import { afterAll, beforeAll, expect, onTestFinished, test } from 'vitest';
import { loadFlock } from '../../src/fs/flock.ts';
import { decodeLockRecord } from '../../src/fs/lock-record.ts';
import { acquireWriterLock, describeLock } from '../../src/fs/writer-lock.ts';
import { LockClock } from './lock-clock.ts';
import { tempDir } from './temp-dir.ts';

const repo = path.resolve(import.meta.dirname, '../..');
let built = '';

// Children run what these tests import, compiled on its own, so that no stale build is tested.
beforeAll(() => {
  built = mkdtempSync(path.join(os.tmpdir(), 'varve-built-'));
  const options = { rootDir: repo, outDir: built, noCheck: true, declaration: false, declarationMap: false };
  const files = ['writer-lock', 'flock', 'system-clock'].map((name) => path.join(repo, `src/fs/${name}.ts`));
  const config = {
    extends: path.join(repo, 'tsconfig.json'),
    compilerOptions: { ...options, sourceMap: false, typeRoots: [path.join(repo, 'node_modules/@types')] },
    include: [],
    files,
  };
  writeFileSync(path.join(built, 'tsconfig.json'), JSON.stringify(config));
  writeFileSync(path.join(built, 'package.json'), '{"type":"module"}');
  symlinkSync(path.join(repo, 'node_modules'), path.join(built, 'node_modules'));
  execFileSync(path.join(repo, 'node_modules/.bin/tsc'), ['-p', built], { stdio: 'pipe' });
});

afterAll(() => rmSync(built, { recursive: true, force: true }));

interface Writer {
  process: ChildProcess;
  answer: { held?: string[]; code?: string; message?: string };
}

async function startWriter(dir: string, kind: 'flock' | 'plain'): Promise<Writer> {
  const child = spawn(
    process.execPath,
    [path.join(import.meta.dirname, 'lock-child.mjs'), built, dir, kind],
    {
      stdio: ['pipe', 'pipe', 'inherit'],
    },
  );
  onTestFinished(() => {
    child.kill('SIGKILL');
  });
  const [line] = (await once(createInterface({ input: child.stdout! }), 'line')) as [string];
  return { process: child, answer: JSON.parse(line) as Writer['answer'] };
}

const take = (dir: string) => acquireWriterLock({ dir, waitMs: 0, clock: new LockClock() });

// Without fs-ext (install scripts blocked, no compiler) there is no flock to test.
const hasFlock = !('unavailable' in (await loadFlock()));

test.skipIf(!hasFlock)('a writer in another process is refused, whichever of the two has flock', async () => {
  const dir = await tempDir();
  const child = await startWriter(dir, 'flock');
  expect(child.answer).toEqual({ held: ['socket', 'flock'] });
  await expect(take(dir)).rejects.toThrow(`process ${child.process.pid} on ${os.hostname()}`);
  const second = await startWriter(dir, 'plain');
  expect(second.answer).toMatchObject({ code: 'VARVE_LOCKED' });
  expect(await describeLock(dir)).toMatchObject({ pid: child.process.pid, alive: true, held: true });
  child.process.stdin!.end();
  await once(child.process, 'exit');
  const lock = await take(dir);
  const third = await startWriter(dir, 'flock');
  expect(third.answer).toMatchObject({ code: 'VARVE_LOCKED' });
  expect(third.answer.message).toContain(`process ${process.pid}`);
  await lock.release();
});

test('kill -9 of a writer leaves nothing to clean up', async () => {
  for (const kind of hasFlock ? (['plain', 'flock'] as const) : (['plain'] as const)) {
    const dir = await tempDir();
    const child = await startWriter(dir, kind);
    expect(child.answer.code).toBeUndefined();
    child.process.kill('SIGKILL');
    await once(child.process, 'exit');
    const left = decodeLockRecord(readFileSync(path.join(dir, 'LOCK')), 'LOCK');
    expect(left).toMatchObject({ pid: child.process.pid, released: false });
    expect(await describeLock(dir)).toMatchObject({ alive: false, held: false });
    await (await take(dir)).release();
  }
});

test('a stopped writer keeps the lock', async () => {
  const dir = await tempDir();
  const child = await startWriter(dir, 'plain');
  child.process.kill('SIGSTOP');
  await expect(take(dir)).rejects.toMatchObject({ code: 'VARVE_LOCKED', actual: { pid: child.process.pid } });
  child.process.kill('SIGCONT');
});

test.skipIf(!hasFlock)(
  'a writer in another network namespace is seen by its record and by its flock',
  async () => {
    const dir = await tempDir();
    const probe = spawn('unshare', ['-n', 'true'], { stdio: 'ignore' });
    const outcome = await Promise.race([once(probe, 'exit'), once(probe, 'error')]);
    if (outcome[0] !== 0) return;
    const script = path.join(import.meta.dirname, 'lock-child.mjs');
    const child = spawn('unshare', ['-n', process.execPath, script, built, dir, 'plain'], {
      stdio: ['pipe', 'pipe', 'inherit'],
    });
    onTestFinished(() => {
      child.kill('SIGKILL');
    });
    const [line] = (await once(createInterface({ input: child.stdout! }), 'line')) as [string];
    expect(JSON.parse(line)).toEqual({ held: ['socket'] });
    await expect(take(dir)).rejects.toMatchObject({ code: 'VARVE_LOCKED', actual: { pid: child.pid } });
    const flock = await loadFlock();
    if ('unavailable' in flock) throw new Error(flock.unavailable);
    const withFlock = acquireWriterLock({ dir, waitMs: 0, clock: new LockClock(), flock });
    await expect(withFlock).rejects.toMatchObject({ code: 'VARVE_LOCKED' });
  },
);
