import { existsSync, renameSync } from 'node:fs';
import path from 'node:path';
import { describe, expect, test } from 'vitest';
import { type GuardAddress, guardAddress, guardIsHeld, takeGuard } from '../../src/fs/lock-guard.ts';
import { systemClock } from '../../src/fs/system-clock.ts';
import { tempDir } from './temp-dir.ts';

const addresses: [string, () => Promise<GuardAddress>][] = [
  ['abstract', async () => ({ kind: 'abstract', path: `\0${await tempDir()}` })],
  ['file', async () => ({ kind: 'file', path: path.join(await tempDir(), 's') })],
];

describe.each(addresses)('%s socket', (_kind, make) => {
  test('a second guard is refused until the first is closed', async () => {
    const address = await make();
    expect(await guardIsHeld(address)).toBe(false);
    const guard = await takeGuard(address);
    expect(await guardIsHeld(address)).toBe(true);
    expect(await takeGuard(address)).toBe(null);
    await guard!.close();
    await guard!.close();
    expect(await guardIsHeld(address)).toBe(false);
    await (await takeGuard(address))!.close();
  });

  test('of many who come at once one gets it', async () => {
    const address = await make();
    const guards = await Promise.all(Array.from({ length: 8 }, () => takeGuard(address)));
    expect(guards.filter((guard) => guard !== null).length).toBe(1);
    for (const guard of guards) await guard?.close();
  });
});

test('of many who find the socket file of a dead owner one takes it over', async () => {
  const dir = await tempDir();
  for (let round = 0; round < 20; round++) {
    const address = { kind: 'file' as const, path: path.join(dir, `s${round}`) };
    const dead = await takeGuard(address);
    renameSync(address.path, `${address.path}.kept`);
    await dead!.close();
    renameSync(`${address.path}.kept`, address.path);
    // Some start later than others, so that one may claim after another has finished.
    const guards = await Promise.all(
      Array.from({ length: 12 }, async (_, i) => {
        for (let turn = 0; turn < (i * round) / 10; turn++) await systemClock.turn();
        return takeGuard(address);
      }),
    );
    const held = guards.filter((guard) => guard !== null);
    expect(held.length).toBe(1);
    expect(existsSync(`${address.path}.claim`)).toBe(false);
    await held[0]!.close();
    expect(existsSync(address.path)).toBe(false);
  }
});

test('an address that cannot be bound is an error, not a lock', async () => {
  const address = { kind: 'file' as const, path: path.join(await tempDir(), 'missing', 's') };
  await expect(takeGuard(address)).rejects.toMatchObject({ code: 'VARVE_IO' });
});

test('the address is named from device and inode', () => {
  const store = { dev: 0x801n, ino: 2n ** 64n - 1n };
  expect(guardAddress(store, 'linux')).toEqual({ kind: 'abstract', path: '\0varve-801-ffffffffffffffff' });
  expect(guardAddress(store, 'win32')).toEqual({
    kind: 'pipe',
    path: '\\\\.\\pipe\\varve-801-ffffffffffffffff',
  });
  expect(guardAddress(store, 'darwin')).toEqual({
    kind: 'file',
    path: '/tmp/varve-801-ffffffffffffffff.sock',
  });
});
