import { closeSync, openSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { alignedBytes, directBlock, isAligned } from '../../src/base/aligned-bytes.ts';
import { Prng } from '../../src/base/prng.ts';
import { DirectAccess, DirectSupport, directBytesMin } from '../../src/fs/direct-access.ts';
import { openNodeFileSystem } from '../../src/fs/node-file-system.ts';
import { offersDirect } from '../../src/fs/raw-fs.ts';
import { tempDir } from './temp-dir.ts';

const length = 2 * directBytesMin;
const memory = alignedBytes(length + 2 * directBlock);

/** Quicker than a comparison that tells where. */
const isSame = (a: Uint8Array, b: Uint8Array): boolean => Buffer.compare(a, b) === 0;

/** What a file had that is written with `offered`, and what was written directly. */
async function written(offered: boolean, pos: number, bytes: Uint8Array) {
  const file = path.join(await tempDir(), 'f');
  writeFileSync(file, Uint8Array.of(7));
  const fd = openSync(file, 'r+');
  const support = new DirectSupport();
  if (!offered) support.isOffered = false;
  const access = new DirectAccess(support, 'f', false);
  try {
    return { span: await access.write(fd, bytes, pos), support, size: readFileSync(file).length };
  } finally {
    await access.close();
    closeSync(fd);
  }
}

describe('direct access', () => {
  test('memory for it begins on a page and is known by its buffer', () => {
    const bytes = alignedBytes(10);
    expect([bytes.length, bytes.byteOffset, isAligned(bytes.subarray(3))]).toEqual([10, 0, true]);
    expect(isAligned(new Uint8Array(10))).toBe(false);
  });

  test('a file written directly has the bytes of one written plainly', async () => {
    const fs = await openNodeFileSystem(await tempDir());
    const places = fc.record({
      pos: fc.nat(3 * directBlock),
      at: fc.nat(directBlock - 1),
      isAlike: fc.boolean(),
      less: fc.nat(directBlock),
      seed: fc.nat(),
    });
    let n = 0;
    await fc.assert(
      fc.asyncProperty(places, async ({ pos, at, isAlike, less, seed }) => {
        const from = isAlike ? pos % directBlock : at;
        const bytes = memory.subarray(from, from + length - less);
        bytes.set(new Prng(seed).bytes(bytes.length));
        const file = await fs.open(`f${n++}`, 'create');
        // What lies around stays.
        const around = new Uint8Array(pos + length + 100).fill(9);
        await file.write(around, 0);
        await file.writeDirect(bytes, pos);
        around.set(bytes, pos);
        const back = new Uint8Array(around.length + 1);
        expect(await file.read(back, 0)).toBe(around.length);
        expect(isSame(back.subarray(0, around.length), around)).toBe(true);
        bytes.fill(0);
        const wanted = memory.subarray(from, memory.length);
        const got = await file.readDirect(wanted, pos);
        expect(isSame(wanted.subarray(0, got), around.subarray(pos, pos + wanted.length))).toBe(true);
        await file.dataSync();
        await file.close();
      }),
      { numRuns: 40 },
    );
  });

  test.runIf(offersDirect)('whole blocks go directly where memory and position lie alike', async () => {
    const alike = memory.subarray(5, 5 + length);
    const { span, support } = await written(true, 5, alike);
    // A file system without such access says so once.
    if (!support.isOffered) return expect(span).toEqual({ from: 0, to: 0 });
    expect(span).toEqual({ from: directBlock - 5, to: directBlock - 5 + length - directBlock });
    expect((await written(true, 6, alike)).span).toEqual({ from: 0, to: 0 });
    expect((await written(true, 5, memory.subarray(5, directBytesMin))).span).toEqual({ from: 0, to: 0 });
    expect((await written(true, 0, new Uint8Array(length))).span).toEqual({ from: 0, to: 0 });
  });

  test('what refuses direct access is written plainly', async () => {
    const { span, size } = await written(false, 0, memory.subarray(0, length));
    expect([span, size]).toEqual([{ from: 0, to: 0 }, 1]);
    const dir = await tempDir();
    const fs = await openNodeFileSystem(dir);
    const file = await fs.open('f', 'create');
    const bytes = new Prng(3).bytes(length);
    await file.writeDirect(bytes, 3);
    const back = new Uint8Array(length);
    expect(await file.readDirect(back, 3)).toBe(length);
    expect(isSame(back, bytes)).toBe(true);
    await file.close();
  });

  test('a file that was opened for reading is not written', async () => {
    const fs = await openNodeFileSystem(await tempDir());
    await (await fs.open('f', 'create')).close();
    const file = await fs.open('f', 'read');
    await expect(file.writeDirect(memory.subarray(0, length), 0)).rejects.toMatchObject({ code: 'VARVE_IO' });
    await file.close();
  });
});
