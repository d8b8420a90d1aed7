import { readFileSync, renameSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { describe, expect, onTestFinished, test } from 'vitest';
import { loadFlock } from '../../src/fs/flock.ts';
import type { LockOwner, WriterLock } from '../../src/fs/lock-port.ts';
import { decodeLockRecord, encodeLockRecord } from '../../src/fs/lock-record.ts';
import { ownIdentity } from '../../src/fs/process-identity.ts';
import {
  acquireWriterLock,
  describeLock,
  nodeLock,
  type WriterLockOptions,
} from '../../src/fs/writer-lock.ts';
import { LockClock } from './lock-clock.ts';
import { tempDir } from './temp-dir.ts';

const me = ownIdentity();
// Without fs-ext (install scripts blocked, no compiler) there is no flock to test.
const flock = await loadFlock();
const hasFlock = !('unavailable' in flock);
const lockBytes = (dir: string): Buffer => readFileSync(path.join(dir, 'LOCK'));
const recordOf = (dir: string): LockOwner => decodeLockRecord(lockBytes(dir), 'LOCK')!;

async function take(dir: string, options: Partial<WriterLockOptions> = {}): Promise<WriterLock> {
  const lock = await acquireWriterLock({ dir, waitMs: 0, clock: new LockClock(), ...options });
  onTestFinished(() => lock.release());
  return lock;
}

/** Writes the record of a writer that did not let go. */
function leaveRecord(dir: string, change: Partial<LockOwner>): LockOwner {
  const owner: LockOwner = {
    ...me,
    nonce: 'left behind',
    providers: ['socket'],
    writerEpoch: 5,
    takenMs: 1,
    touchedMs: 2,
    touches: 3,
    released: false,
    ...change,
  };
  writeFileSync(path.join(dir, 'LOCK'), encodeLockRecord(owner));
  return owner;
}

describe('one writer', () => {
  test('a second writer of the same process is refused and told who has the store', async () => {
    const dir = await tempDir();
    const lock = await take(dir);
    expect(lock.providers).toEqual(['socket']);
    const refused = expect(take(dir)).rejects;
    await refused.toMatchObject({
      code: 'VARVE_LOCKED',
      retryable: true,
      actual: { nonce: lock.owner.nonce },
    });
    await expect(take(dir)).rejects.toThrow(`process ${process.pid} on ${os.hostname()}`);
    await lock.release();
    await lock.release();
    expect(recordOf(dir).released).toBe(true);
    const next = await take(dir);
    expect(next.owner.nonce).not.toBe(lock.owner.nonce);
    expect(next.lost).toBe(false);
  });

  test('another path to the same directory is the same store', async () => {
    const dir = await tempDir();
    const alias = path.join(await tempDir(), 'alias');
    symlinkSync(dir, alias);
    await take(dir);
    await expect(take(alias)).rejects.toMatchObject({ code: 'VARVE_LOCKED' });
  });

  test('a refused writer leaves LOCK as it was', async () => {
    const dir = await tempDir();
    await take(dir);
    const before = lockBytes(dir);
    const { ino } = statSync(path.join(dir, 'LOCK'));
    await expect(take(dir)).rejects.toMatchObject({ code: 'VARVE_LOCKED' });
    expect(lockBytes(dir).equals(before)).toBe(true);
    expect(statSync(path.join(dir, 'LOCK')).ino).toBe(ino);
  });

  test('a writer waits for the lock as long as it was told', async () => {
    const dir = await tempDir();
    const first = await take(dir);
    const clock = new LockClock();
    let waits = 0;
    clock.onWait = async () => {
      waits++;
      if (waits === 4) await first.release();
    };
    await (await take(dir, { waitMs: 60_000, clock })).release();
    expect(waits).toBe(4);
    await take(dir);
    const start = clock.time;
    await expect(take(dir, { waitMs: 3_000, clock })).rejects.toMatchObject({ code: 'VARVE_LOCKED' });
    expect(clock.time - start).toBe(3_000);
  });

  test('waiting ends with VARVE_ABORTED when the signal fires', async () => {
    const dir = await tempDir();
    await take(dir);
    const stop = new AbortController();
    const clock = new LockClock();
    clock.onWait = () => stop.abort();
    const waiting = { waitMs: 60_000, clock, signal: stop.signal };
    await expect(take(dir, waiting)).rejects.toMatchObject({ code: 'VARVE_ABORTED' });
    await expect(take(dir, waiting)).rejects.toMatchObject({ code: 'VARVE_ABORTED' });
  });

  test('a missing directory and a link in the place of LOCK are refused', async () => {
    const dir = await tempDir();
    await expect(take(path.join(dir, 'no'))).rejects.toMatchObject({ code: 'VARVE_NOT_FOUND' });
    writeFileSync(path.join(dir, 'elsewhere'), 'x');
    symlinkSync(path.join(dir, 'elsewhere'), path.join(dir, 'LOCK'));
    await expect(take(dir)).rejects.toMatchObject({ code: 'VARVE_IO' });
    expect(readFileSync(path.join(dir, 'elsewhere'), 'utf8')).toBe('x');
  });
});

describe('flock beside the socket', () => {
  test.skipIf(!hasFlock)('a writer with flock and one without exclude each other', async () => {
    if ('unavailable' in flock) throw new Error(flock.unavailable);
    const dir = await tempDir();
    const lock = await take(dir, { flock });
    expect(lock.providers).toEqual(['socket', 'flock']);
    await expect(take(dir)).rejects.toMatchObject({ code: 'VARVE_LOCKED' });
    await expect(take(dir, { flock })).rejects.toMatchObject({ code: 'VARVE_LOCKED' });
    await lock.release();
    await take(dir);
    await expect(take(dir, { flock })).rejects.toMatchObject({ code: 'VARVE_LOCKED' });
  });

  test('a flock taken by someone else refuses the writer, who lets go of the socket again', async () => {
    const dir = await tempDir();
    let calls = 0;
    const busy = { name: 'flock' as const, tryLock: () => calls++ > 0 };
    await expect(take(dir, { flock: busy })).rejects.toMatchObject({ code: 'VARVE_LOCKED' });
    expect(calls).toBe(1);
    expect(lockBytes(dir).length).toBe(0);
    expect((await take(dir, { flock: busy })).providers).toEqual(['socket', 'flock']);
  });

  test.skipIf(!hasFlock)(
    'holding flock proves the owner of another container on this kernel dead',
    async () => {
      if ('unavailable' in flock) throw new Error(flock.unavailable);
      const dir = await tempDir();
      leaveRecord(dir, { host: 'container', pidNamespace: 'pid:[1]', providers: ['socket', 'flock'] });
      await expect(take(dir)).rejects.toMatchObject({ code: 'VARVE_LOCKED' });
      await take(dir, { flock });
    },
  );
});

describe('what an earlier owner left', () => {
  test('a dead process, a reused pid and an earlier boot are taken over, with the epoch', async () => {
    for (const left of [{ pid: 2 ** 30 }, { pid: process.ppid, processStart: '1' }, { bootId: 'earlier' }]) {
      const dir = await tempDir();
      leaveRecord(dir, left);
      const lock = await take(dir);
      expect(lock.owner.writerEpoch).toBe(5);
      expect(lock.owner.touches).toBeGreaterThan(3);
    }
  });

  test('a process known to live keeps the lock, also from breakLock', async () => {
    const dir = await tempDir();
    const start = readFileSync(`/proc/${process.ppid}/stat`, 'utf8').split(') ')[1]!.split(' ')[19]!;
    leaveRecord(dir, { pid: process.ppid, processStart: start });
    await expect(take(dir)).rejects.toThrow(`process ${process.ppid}`);
    await expect(take(dir, { breakLock: true })).rejects.toMatchObject({ code: 'VARVE_LOCKED' });
  });

  test('an owner on another host or in another pid namespace keeps the lock until it is broken', async () => {
    for (const left of [
      { host: 'other', bootId: 'other' },
      { pidNamespace: 'pid:[1]', pid: 2 ** 30 },
    ]) {
      const dir = await tempDir();
      const owner = leaveRecord(dir, left);
      await expect(take(dir)).rejects.toThrow('breakLock');
      await expect(take(dir)).rejects.toMatchObject({ code: 'VARVE_LOCKED', actual: owner });
      const clock = new LockClock();
      const start = clock.time;
      await take(dir, { breakLock: true, clock });
      expect(clock.time - start).toBe(60_000);
    }
  });

  test('a record that changes while it is watched is not broken', async () => {
    const dir = await tempDir();
    leaveRecord(dir, { host: 'other', bootId: 'other' });
    const clock = new LockClock();
    clock.onWait = () => {
      if (clock.time > 1_040_000) leaveRecord(dir, { host: 'other', bootId: 'other', touches: 4 });
    };
    await expect(take(dir, { breakLock: true, clock })).rejects.toThrow('its record changes');
    clock.onWait = () => {
      leaveRecord(dir, { host: 'other', bootId: 'other', touches: 5, released: true });
    };
    await take(dir, { breakLock: true, clock });
  });

  test('an empty LOCK has no owner, one damaged copy does no harm, two need breakLock', async () => {
    for (const content of [new Uint8Array(0), new Uint8Array(4096)]) {
      const dir = await tempDir();
      writeFileSync(path.join(dir, 'LOCK'), content);
      await (await take(dir)).release();
      const bytes = lockBytes(dir);
      bytes[100]! ^= 1;
      writeFileSync(path.join(dir, 'LOCK'), bytes);
      await (await take(dir)).release();
      writeFileSync(path.join(dir, 'LOCK'), new Uint8Array(4096).fill(0x55));
      await expect(take(dir)).rejects.toThrow('damaged');
      await take(dir, { breakLock: true });
    }
  });
});

describe('while it is held', () => {
  test('touches, epochs and a release are written one after another', async () => {
    const dir = await tempDir();
    const clock = new LockClock();
    const lock = await take(dir, { clock });
    const { touches } = lock.owner;
    await Promise.all([lock.touch(), lock.setEpoch(7), lock.touch(), lock.setEpoch(8)]);
    expect(recordOf(dir)).toMatchObject({ touches: touches + 4, writerEpoch: 8, released: false });
    await lock.release();
    expect(recordOf(dir)).toMatchObject({ touches: touches + 5, writerEpoch: 8, released: true });
    await expect(lock.touch()).rejects.toMatchObject({ code: 'VARVE_CLOSED' });
    await expect(lock.setEpoch(9)).rejects.toMatchObject({ code: 'VARVE_CLOSED' });
    expect((await take(dir)).owner.writerEpoch).toBe(8);
  });

  test('the record is touched every 5 s by itself', async () => {
    const dir = await tempDir();
    const clock = new LockClock();
    const lock = await take(dir, { clock });
    const before = lock.owner;
    clock.wakeAll();
    while (clock.sleeping === 0) await clock.turn();
    expect(recordOf(dir)).toMatchObject({ touches: before.touches + 1, touchedMs: before.touchedMs + 5_000 });
  });

  test('a broken lock is noticed, told once, and LOCK is left to the new owner', async () => {
    const dir = await tempDir();
    const clock = new LockClock();
    const lock = await take(dir, { clock });
    const told: Error[] = [];
    lock.onLost = (reason) => told.push(reason);
    leaveRecord(dir, { host: 'other', nonce: 'thief' });
    clock.wakeAll();
    while (!lock.lost) await clock.turn();
    await expect(lock.setEpoch(9)).rejects.toMatchObject({ code: 'VARVE_LOCKED', retryable: false });
    await expect(lock.touch()).rejects.toMatchObject({ code: 'VARVE_LOCKED' });
    await lock.release();
    expect(told.length).toBe(1);
    expect(recordOf(dir).nonce).toBe('thief');
  });

  test('a LOCK replaced by another file is a lost lock', async () => {
    const dir = await tempDir();
    const lock = await take(dir);
    writeFileSync(path.join(dir, 'copy'), lockBytes(dir));
    renameSync(path.join(dir, 'copy'), path.join(dir, 'LOCK'));
    await expect(lock.touch()).rejects.toThrow('replaced');
    expect(lock.lost).toBe(true);
  });

  test('describe tells the owner and whether it lives, and takes nothing', async () => {
    const dir = await tempDir();
    const provider = nodeLock({ dir, clock: new LockClock() });
    expect(await provider.describe()).toBe(null);
    const lock = await provider.acquire({ waitMs: 0 });
    const before = lockBytes(dir);
    expect(await provider.describe()).toEqual({ ...lock.owner, alive: true, held: true });
    expect(lockBytes(dir).equals(before)).toBe(true);
    await lock.release();
    expect(await describeLock(dir)).toMatchObject({ released: true, alive: false, held: false });
    leaveRecord(dir, { host: 'other', bootId: 'other' });
    expect(await describeLock(dir)).toMatchObject({ host: 'other', alive: undefined, held: false });
    leaveRecord(dir, { pid: 2 ** 30 });
    expect(await describeLock(dir)).toMatchObject({ alive: false, held: false });
    writeFileSync(path.join(dir, 'LOCK'), 'nonsense');
    await expect(describeLock(dir)).rejects.toMatchObject({ code: 'VARVE_CORRUPT', file: 'LOCK' });
  });
});
