import { closeSync, openSync, readFileSync, writeSync } from 'node:fs';
import path from 'node:path';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { Prng } from '../../src/base/prng.ts';
import { DirectOutputs } from '../../src/cli/tree/direct-output.ts';
import { DirectSupport } from '../../src/fs/direct-access.ts';
import { tempDir } from '../fs/temp-dir.ts';

const MiB = 1024 * 1024;

describe('direct output', () => {
  test('a file has the bytes that were appended', async () => {
    const dir = await tempDir();
    const support = new DirectSupport();
    let n = 0;
    const lengths = fc.array(fc.nat(3 * MiB), { maxLength: 6 });
    await fc.assert(
      fc.asyncProperty(lengths, fc.boolean(), fc.boolean(), async (pieces, isOffered, isShared) => {
        const outputs = new DirectOutputs(isOffered ? support : refusing());
        const name = path.join(dir, String(n++));
        const fd = openSync(name, 'wx');
        const output = outputs.open(fd, name, async (bytes, pos) => {
          writeSync(fd, bytes, 0, bytes.length, pos);
        });
        const all: Uint8Array[] = [];
        for (const length of pieces) {
          const bytes = new Prng(length).bytes(length);
          all.push(bytes);
          const lent = isShared ? new Uint8Array(new SharedArrayBuffer(length)) : bytes.slice();
          lent.set(bytes);
          await output.append(lent);
          lent.fill(0);
        }
        await output.finish();
        await output.close();
        closeSync(fd);
        expect(Buffer.concat(all).equals(readFileSync(name))).toBe(true);
      }),
      { numRuns: 12 },
    );
  });

  test('a write that fails is told, and memory and descriptor go back', async () => {
    const name = path.join(await tempDir(), 'f');
    const fd = openSync(name, 'wx');
    const outputs = new DirectOutputs(refusing());
    const output = outputs.open(fd, name, () => Promise.reject(new Error('the disk is full')));
    const whole = output.append(new Uint8Array(5 * MiB)).then(() => output.finish());
    await expect(whole).rejects.toThrow('the disk is full');
    await output.close();
    closeSync(fd);
  });
});

function refusing(): DirectSupport {
  const support = new DirectSupport();
  support.isOffered = false;
  return support;
}
