import { link, mkdir, open, readFile, rm, stat, symlink, utimes, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { encodeUtf8 } from '../../src/base/bytes.ts';
import type { Progress } from '../../src/cli/progress.ts';
import { exportTree } from '../../src/cli/tree/export-tree.ts';
import { importTree } from '../../src/cli/tree/import-tree.ts';
import { dataRanges } from '../../src/cli/tree/sparse.ts';
import { bigBytes, cli, freshDir, snapshot, withStore } from './kit.ts';

async function inode(...parts: string[]): Promise<bigint> {
  return (await stat(join(...parts), { bigint: true })).ino;
}

/** Five names of three files, and one that is alone. */
async function linkedTree(base: string): Promise<string> {
  const tree = join(base, 'tree');
  await mkdir(join(tree, 'sub'), { recursive: true });
  await writeFile(join(tree, 'alone'), 'same');
  await writeFile(join(tree, 'b'), 'same', { mode: 0o640 });
  await link(join(tree, 'b'), join(tree, 'sub', 'c'));
  await writeFile(join(tree, 'big'), bigBytes(700_000));
  await link(join(tree, 'big'), join(tree, 'sub', 'big'));
  await link(join(tree, 'big'), join(tree, 'zzz'));
  await symlink('b', join(tree, 'soft'));
  await utimes(join(tree, 'b'), 1.5, 1_234_567_890.125);
  return tree;
}

describe('hard links', () => {
  test('names of one file come back as names of one file, and no others', async () => {
    await withStore(async (engine, base) => {
      const tree = await linkedTree(base);
      expect(await importTree(engine, tree)).toMatchObject({ ok: true, files: 6, hardLinks: 3 });
      const out = join(base, 'out');
      expect(await exportTree(engine, out)).toMatchObject({ ok: true, files: 6, links: 1, hardLinks: 3 });
      expect(await snapshot(out)).toEqual(await snapshot(tree));
      expect(await inode(out, 'sub/c')).toBe(await inode(out, 'b'));
      expect(await inode(out, 'sub/big')).toBe(await inode(out, 'big'));
      expect(await inode(out, 'zzz')).toBe(await inode(out, 'big'));
      expect(await inode(out, 'alone')).not.toBe(await inode(out, 'b'));
      // Over a tree that is there the same comes out.
      expect(await exportTree(engine, out, { overwrite: true })).toMatchObject({ ok: true, hardLinks: 3 });
      expect(await snapshot(out)).toEqual(await snapshot(tree));
      expect(await inode(out, 'sub/c')).toBe(await inode(out, 'b'));
    });
  });

  test('a name that was put anew is a file of its own, and so is one exported alone', async () => {
    await withStore(async (engine, base) => {
      await importTree(engine, await linkedTree(base));
      const { metadata } = (await engine.stat('sub/c'))!;
      await engine.put('sub/c', 'other', { metadata: metadata! });
      const out = join(base, 'out');
      expect(await exportTree(engine, out)).toMatchObject({ ok: true, hardLinks: 2 });
      expect(await readFile(join(out, 'b'), 'utf8')).toBe('same');
      expect(await readFile(join(out, 'sub/c'), 'utf8')).toBe('other');
      const part = join(base, 'part');
      const options = { prefix: encodeUtf8('sub/') };
      expect(await exportTree(engine, part, options)).toMatchObject({ ok: true, files: 2, hardLinks: 0 });
      expect(Buffer.compare(await readFile(join(part, 'big')), bigBytes(700_000))).toBe(0);
    });
  });

  test('two imports of a tree do not share files', async () => {
    await withStore(async (engine, base) => {
      const tree = await linkedTree(base);
      for (const prefix of ['x/', 'y/']) await importTree(engine, tree, { prefix: encodeUtf8(prefix) });
      const out = join(base, 'out');
      expect(await exportTree(engine, out)).toMatchObject({ ok: true, hardLinks: 6 });
      expect(await inode(out, 'x/sub/c')).toBe(await inode(out, 'x/b'));
      expect(await inode(out, 'x/b')).not.toBe(await inode(out, 'y/b'));
    });
  });

  test('where the first name could not be written the next one is a file', async () => {
    await withStore(async (engine, base) => {
      const metadata = { type: 'file', hardLink: encodeUtf8('d/x') };
      await engine.put('d', 'in the way');
      for (const key of ['d/x', 'e', 'f']) await engine.put(key, 'shared', { metadata });
      const report = await exportTree(engine, join(base, 'out'));
      expect(report).toMatchObject({ ok: false, failedCount: 1, files: 3, hardLinks: 1 });
      expect(await inode(base, 'out', 'e')).toBe(await inode(base, 'out', 'f'));
    });
  });

  test('metadata of links and holes that makes no sense does no harm', async () => {
    await withStore(async (engine, base) => {
      await engine.put('a', 'x', { metadata: { type: 'file', hardLink: 'text', sparse: 1 } });
      await engine.put('b', 'x', { metadata: { type: 'file', hardLink: new Uint8Array(0), sparse: true } });
      await engine.put('c/', '', {
        metadata: { type: 'directory', hardLink: encodeUtf8('b'), sparse: true },
      });
      expect(await exportTree(engine, join(base, 'out'))).toMatchObject({ ok: true, hardLinks: 0 });
      expect(await readFile(join(base, 'out/b'), 'utf8')).toBe('x');
    });
  });

  test('a name that joins or leaves others is read again with trustMtime', async () => {
    await withStore(async (engine, base) => {
      const tree = await linkedTree(base);
      await importTree(engine, tree);
      const options = { trustMtime: true, measure: true } as const;
      let last: Progress | undefined;
      const onProgress = (progress: Progress): void => {
        last = progress;
      };
      expect(await importTree(engine, tree, options)).toMatchObject({ files: 0, unchanged: 6 });
      await link(join(tree, 'alone'), join(tree, 'together'));
      const joined = await importTree(engine, tree, { ...options, onProgress });
      expect(joined).toMatchObject({ files: 2, unchanged: 5, hardLinks: 4 });
      // What need not be read does not keep progress from its end.
      expect(last).toMatchObject({ done: 8, total: 8 });
      await rm(join(tree, 'alone'));
      expect(await importTree(engine, tree, options)).toMatchObject({ files: 1, unchanged: 5 });
    });
  });
});

describe('holes', () => {
  test('a file with holes comes back with its bytes, and takes as little room', async () => {
    await withStore(async (engine, base) => {
      const tree = join(base, 'tree');
      await mkdir(tree);
      const size = 9_000_001;
      const file = await open(join(tree, 'sparse'), 'w');
      await file.write(Buffer.from('front'), 0, 5, 0);
      await file.write(bigBytes(20_000), 0, 20_000, 3_000_123);
      await file.truncate(size);
      await file.close();
      await writeFile(join(tree, 'zeros'), Buffer.alloc(100_000));
      const small = await open(join(tree, 'small'), 'w');
      await small.truncate(50_000);
      await small.close();
      await importTree(engine, tree);
      const { metadata } = (await engine.stat('zeros'))!;
      const out = join(base, 'out');
      expect(await exportTree(engine, out)).toMatchObject({ ok: true, files: 3 });
      for (const name of ['sparse', 'small', 'zeros']) {
        const [was, is] = [await readFile(join(tree, name)), await readFile(join(out, name))];
        expect({ name, same: Buffer.compare(was, is) }).toEqual({ name, same: 0 });
      }
      const before = await stat(join(tree, 'sparse'));
      // Not every file system has holes.
      if (before.blocks * 512 < size / 2) {
        expect((await engine.stat('sparse'))!.metadata).toMatchObject({ sparse: true });
        expect((await stat(join(out, 'sparse'))).blocks * 512).toBeLessThan(size / 2);
        expect(metadata).not.toHaveProperty('sparse');
      }
    });
  });

  test('what is left out is zero, whatever the pieces, and nothing is told twice', () => {
    const part = fc.record({ length: fc.integer({ min: 1, max: 12_000 }), zero: fc.boolean() });
    const cuts = fc.array(fc.integer({ min: 1, max: 9000 }), { maxLength: 20 });
    fc.assert(
      fc.property(fc.array(part, { maxLength: 8 }), cuts, (parts, lengths) => {
        const bytes = Buffer.concat(
          parts.map(({ length, zero }, i) => (zero ? Buffer.alloc(length) : bigBytes(length, i + 1))),
        );
        const rebuilt = Buffer.alloc(bytes.length);
        let written = 0;
        for (let at = 0, i = 0; at < bytes.length; i++) {
          const piece = bytes.subarray(at, at + (lengths[i] ?? 100_000));
          let before = -1;
          for (const [from, to] of dataRanges(piece, at)) {
            expect(from).toBeGreaterThan(before);
            expect(to).toBeGreaterThan(from);
            rebuilt.set(piece.subarray(from, to), at + from);
            written += to - from;
            before = to;
          }
          at += piece.length;
        }
        expect(Buffer.compare(rebuilt, bytes)).toBe(0);
        expect(written).toBeLessThanOrEqual(bytes.length);
      }),
      { numRuns: 60 },
    );
  });
});

test('an import that was interrupted and is run again stores the rest, and a third one nothing', async () => {
  await withStore(async (engine, base) => {
    const tree = join(base, 'tree');
    await mkdir(tree);
    const fileBytes = 600_000;
    for (let n = 0; n < 12; n++) await writeFile(join(tree, `file${n}`), bigBytes(fileBytes, n + 1));
    const controller = new AbortController();
    const run = importTree(engine, tree, {
      signal: controller.signal,
      onProgress: ({ files }) => {
        if (files >= 4) controller.abort();
      },
    });
    await expect(run).rejects.toMatchObject({ code: 'VARVE_ABORTED' });
    const again = await importTree(engine, tree);
    expect(again).toMatchObject({ ok: true, files: 12 });
    expect(again.newBytes).toBeLessThanOrEqual(8 * fileBytes);
    expect(await importTree(engine, tree)).toMatchObject({ ok: true, newBytes: 0, newChunks: 0 });
    await exportTree(engine, join(base, 'out'));
    expect(await snapshot(join(base, 'out'))).toEqual(await snapshot(tree));
  });
});

test('the command line tells of names that share a file', async () => {
  const base = await freshDir();
  const tree = await linkedTree(base);
  const store = join(base, 'store');
  const imported = await cli(['import', store, tree]);
  expect(imported.out).toContain('6 files');
  expect(imported.out).toContain(', 3 hard links');
  const exported = await cli(['export', store, join(base, 'out')]);
  expect(exported.out).toContain('1 link, 3 hard links written in');
  const [report] = (await cli(['export', store, join(base, 'out2'), '--json'])).json();
  expect(report).toMatchObject({ type: 'export', ok: true, files: 6, hardLinks: 3 });
});
