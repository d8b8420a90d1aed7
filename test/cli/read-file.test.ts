import { lstatSync, symlinkSync, utimesSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { CallPace } from '../../src/cli/tree/call-pace.ts';
import { FileRoom, readWholeFile } from '../../src/cli/tree/read-file.ts';
import { freshDir } from './kit.ts';

/** A pace that makes every call on this thread, and one that has found them slow. */
async function paces(): Promise<CallPace[]> {
  let now = 0;
  const slow = new CallPace(() => {
    now += 10;
    return now;
  });
  while (slow.isQuick)
    await slow.run(
      () => undefined,
      async () => undefined,
    );
  return [new CallPace(() => 0), slow];
}

describe('a small file', () => {
  test('is read alike on this thread and in the background', async () => {
    const dir = await freshDir();
    const path = join(dir, 'file');
    for (const pace of await paces()) {
      for (const size of [0, 1, 4095, 65_536]) {
        const bytes = new Uint8Array(size).fill(7);
        writeFileSync(path, bytes);
        const seen = lstatSync(path, { bigint: true });
        const whole = await readWholeFile(Buffer.from(path), seen, 65_536, pace);
        expect(Buffer.compare(whole.bytes, bytes)).toBe(0);
        expect(whole.stat.ino).toBe(seen.ino);
      }
    }
  });

  test('that has changed since it was seen is read as it is now', async () => {
    const path = join(await freshDir(), 'file');
    for (const pace of await paces()) {
      writeFileSync(path, 'before');
      const seen = lstatSync(path, { bigint: true });
      for (const now of ['longer than before', 'short', 'as old']) {
        writeFileSync(path, now);
        utimesSync(path, 1, 1);
        const { bytes, stat } = await readWholeFile(Buffer.from(path), seen, 100, pace);
        expect(Buffer.from(bytes).toString()).toBe(now);
        expect(stat.mtimeMs).toBe(1000n);
      }
    }
  });

  test('that has grown too large, or is something else now, is refused', async () => {
    const dir = await freshDir();
    const path = join(dir, 'file');
    writeFileSync(path, 'x');
    const seen = lstatSync(path, { bigint: true });
    writeFileSync(path, 'xxxxx');
    symlinkSync(path, join(dir, 'link'));
    for (const pace of await paces()) {
      const read = async (name: string): Promise<unknown> =>
        await readWholeFile(Buffer.from(join(dir, name)), seen, 4, pace);
      await expect(read('file')).rejects.toThrow('changed while');
      await expect(read('link')).rejects.toMatchObject({ code: 'ELOOP' });
      await expect(read('none')).rejects.toMatchObject({ code: 'ENOENT' });
      await expect(read('')).rejects.toThrow();
    }
  });

  test('has bytes of its own', () => {
    const room = new FileRoom();
    const taken = [1, 100, 300_000, 0, 262_144, 500_000, 262_144, 262_144, 262_144, 7].map((length, i) => {
      const bytes = room.take(length).fill(i);
      expect(bytes.length).toBe(length);
      return bytes;
    });
    for (const [i, bytes] of taken.entries()) expect(bytes.every((byte) => byte === i)).toBe(true);
  });
});
