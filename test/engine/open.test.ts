import { describe, expect, test } from 'vitest';
import { MemoryFileSystem } from '../../src/fs/memory-file-system.ts';
import { bytesOf, codeOf, failure, newStore, openOn, same, text, turn } from './engine-kit.ts';

describe('directories', () => {
  test("someone else's files are left alone", async () => {
    const disk = new MemoryFileSystem();
    const file = await disk.open('thesis.doc', 'create');
    await file.close();
    const error = await failure(openOn(disk));
    expect([error.code, error.file]).toEqual(['VARVE_INVALID_ARGUMENT', 'thesis.doc']);
    expect(disk.files()).toEqual(['thesis.doc']);
  });

  test('a creation that crashed at any step is completed by the next', async () => {
    const disk = new MemoryFileSystem();
    const copies: MemoryFileSystem[] = [];
    disk.faults = (op) => {
      if (op.index === copies.length) copies.push(disk.fork());
      return undefined;
    };
    await (await openOn(disk)).close();
    for (const copy of copies) {
      for (const crashed of [copy.crash('none'), copy.crash('all'), copy]) {
        const engine = await openOn(crashed);
        await engine.put('k', 'v');
        await engine.close();
      }
    }
  });
});

describe('readers', () => {
  test('see the store as of their open, beside a writer, and write nothing', async () => {
    const { engine, disk } = await newStore();
    const value = bytesOf(1, 100_000);
    await engine.put('k', value);
    const before = disk.opCount;
    const reader = await openOn(disk, { readOnly: true });
    expect(disk.opCount).toBe(before);
    await engine.put('later', 'x');
    await engine.delete('k');
    await engine.flush();
    await engine.flush();
    expect(same(await reader.get('k'), value)).toBe(true);
    expect(await reader.has('later')).toBe(false);
    for (const call of [
      () => reader.put('k', 'v'),
      () => reader.delete('k'),
      () => reader.batch([]),
      () => reader.flush(),
    ]) {
      expect(await codeOf(call)).toBe('VARVE_READ_ONLY');
    }
    expect(reader.health()).toMatchObject({ ok: true, readOnly: true, status: 'healthy' });
    const second = await openOn(disk, { readOnly: true });
    expect(text(await second.get('later'))).toBe('x');
    await Promise.all([reader.close(), second.close()]);
    await engine.put('still', 'writing');
  });

  test('open while a writer installs one set of files after another', async () => {
    const { engine, disk } = await newStore();
    let writing = true;
    const writer = (async () => {
      for (let i = 0; writing && i < 200; i++) {
        await engine.put(`k${i % 7}`, bytesOf(i, 3000));
        await engine.flush();
      }
    })();
    for (let i = 0; i < 10; i++) {
      const reader = await openOn(disk, { readOnly: true });
      expect(reader.health().damage).toEqual([]);
      for await (const entry of reader.scan()) expect(entry.key).toMatch(/^k/);
      await reader.close();
      await turn();
    }
    writing = false;
    await writer;
  });
});
