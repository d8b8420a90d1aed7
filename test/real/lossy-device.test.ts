import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { expect, test } from 'vitest';
import { LossyDevice } from './lossy-device.ts';
import { command, missing } from './mounts.ts';

const reason = missing('root', 'mount', 'nbdkit', 'nbdfuse');
const bytes = 306 * 1024;

test('a write that the device refuses is never taken as written by the kernel', async (context) => {
  if (reason !== undefined) return context.skip(reason);
  const dir = mkdtempSync(path.join(os.tmpdir(), 'varve-lossy-'));
  const device = await LossyDevice.start(path.join(dir, 'device'), 16 * 1024 * 1024, 1);
  const loop = command('losetup', '--find', '--show', device.path).trim();
  const [from, back] = [path.join(dir, 'from'), path.join(dir, 'back')];
  const whole = [`bs=${bytes}`, 'count=1', 'status=none'];
  let refused = 0;
  try {
    for (let passes = 0; passes < 4; passes++) {
      // Not at a page: FUSE splits it, and the refusal may fall on the first part or on the second.
      const at = passes * 2 ** 20 + 1024;
      writeFileSync(from, new Uint8Array(bytes).fill(passes + 1));
      device.refuseWrites(1, passes);
      try {
        const to = [`seek=${at}`, 'oflag=direct,seek_bytes', 'conv=notrunc,fsync'];
        command('dd', `if=${from}`, `of=${loop}`, ...whole, ...to);
      } catch (error) {
        expect((error as Error).message).toMatch(/Input\/output error/);
        refused++;
        continue;
      }
      command('dd', `if=${loop}`, `of=${back}`, ...whole, `skip=${at}`, 'iflag=direct,skip_bytes');
      expect(Buffer.compare(readFileSync(from), readFileSync(back)), `after ${passes} writes`).toBe(0);
    }
  } finally {
    command('losetup', '--detach', loop);
    device.stop();
    rmSync(dir, { recursive: true, force: true });
  }
  expect(refused).toBeGreaterThan(0);
}, 60_000);
