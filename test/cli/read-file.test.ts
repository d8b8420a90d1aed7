import { lstatSync, symlinkSync, utimesSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { CallPace } from '../../src/cli/tree/call-pace.ts';
import { readWholeFile } from '../../src/cli/tree/read-file.ts';
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
      await expect(readWholeFile(Buffer.from(path), seen, 4, pace)).rejects.toThrow('changed while');
      const link = readWholeFile(Buffer.from(join(dir, 'link')), seen, 4, pace);
      await expect(link).rejects.toMatchObject({ code: 'ELOOP' });
      const none = readWholeFile(Buffer.from(join(dir, 'none')), seen, 4, pace);
      await expect(none).rejects.toMatchObject({ code: 'ENOENT' });
      await expect(readWholeFile(Buffer.from(dir), seen, 4, pace)).rejects.toThrow();
    }
  });
});
