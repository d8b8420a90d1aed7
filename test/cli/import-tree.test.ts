import { chmod, mkdir, rename, rm, stat, symlink, utimes, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { encodeUtf8 } from '../../src/base/bytes.ts';
import { exportTree } from '../../src/cli/tree/export-tree.ts';
import { importTree } from '../../src/cli/tree/import-tree.ts';
import type { TreeStore } from '../../src/cli/tree/tree-store.ts';
import { measureTree, walkTree } from '../../src/cli/tree/walk.ts';
import { inOrder, WorkPool } from '../../src/cli/tree/work-pool.ts';
import {
  bigBytes,
  freshDir,
  hostileTree,
  isRoot,
  keysOf,
  makePipe,
  paths,
  snapshot,
  withStore,
} from './kit.ts';

describe('a tree and back', () => {
  test('everything a POSIX tree holds comes back byte for byte, with modes, times and links', async () => {
    await withStore(async (engine, base) => {
      const tree = join(base, 'tree');
      await mkdir(tree);
      await hostileTree(tree);
      const imported = await importTree(engine, tree, { prefix: encodeUtf8('t/') });
      expect(imported).toMatchObject({ ok: true, links: 3, failedCount: 0, skippedCount: 0 });
      const exported = await exportTree(engine, join(base, 'out'), { prefix: encodeUtf8('t/') });
      expect(exported).toMatchObject({ ok: true, files: imported.files, directories: imported.directories });
      expect(await snapshot(join(base, 'out'))).toEqual(await snapshot(tree));
    });
  });

  test('any tree of names, bytes and modes comes back as it was', async () => {
    const name = fc
      .uint8Array({ minLength: 1, maxLength: 12 })
      .map((bytes) => bytes.map((byte) => (byte === 0 || byte === 0x2f ? 0x61 : byte)))
      .filter((bytes) => !bytes.every((byte) => byte === 0x2e));
    const file = fc.record({
      name,
      kind: fc.constantFrom('file', 'directory', 'link'),
      size: fc.constantFrom(0, 1, 1000, 1024, 1025, 70_000, 300_000),
      mode: fc.constantFrom(0o644, 0o600, 0o755, 0o444),
    });
    await fc.assert(
      fc.asyncProperty(fc.array(file, { maxLength: 12 }), async (files) => {
        await withStore(async (engine, base) => {
          const tree = join(base, 'tree');
          await mkdir(tree);
          let dir: Buffer = Buffer.from(tree);
          for (const [i, { name: bytes, kind, size, mode }] of files.entries()) {
            const path = Buffer.concat([dir, Buffer.from('/'), bytes, Buffer.from(String(i))]);
            if (kind === 'directory') {
              await mkdir(path);
              if (mode !== 0o444) dir = path;
            } else if (kind === 'link') await symlink(Buffer.from(bytes), path);
            else await writeFile(path, bigBytes(size, i), { mode });
          }
          const imported = await importTree(engine, tree);
          expect(imported.ok).toBe(true);
          const exported = await exportTree(engine, join(base, 'out'));
          expect(exported.ok).toBe(true);
          expect(await snapshot(join(base, 'out'))).toEqual(await snapshot(tree));
        });
      }),
      { numRuns: 10 },
    );
  });

  test('a second import of the same tree stores no new chunk', async () => {
    await withStore(async (engine, base) => {
      const tree = join(base, 'tree');
      await mkdir(tree);
      await hostileTree(tree);
      const first = await importTree(engine, tree, { prefix: encodeUtf8('1/') });
      const second = await importTree(engine, tree, { prefix: encodeUtf8('2/') });
      expect(first.newBytes).toBeGreaterThan(600_000);
      expect(second).toMatchObject({ newBytes: 0, newChunks: 0, files: first.files });
    });
  });

  test('progress has a total, rises and ends at the bytes of the tree', async () => {
    await withStore(async (engine, base) => {
      const tree = join(base, 'tree');
      await mkdir(tree);
      await hostileTree(tree);
      const seen: { phase: string; done: number; total: number | undefined }[] = [];
      const report = await importTree(engine, tree, {
        measure: true,
        onProgress: ({ phase, done, total }) => seen.push({ phase, done, total }),
      });
      const imports = seen.filter(({ phase }) => phase === 'import');
      expect(imports.at(-1)).toMatchObject({ done: report.bytes, total: report.bytes });
      expect(imports.every(({ done }, i) => i === 0 || done >= imports[i - 1]!.done)).toBe(true);
      expect((await measureTree(tree)).bytes).toBe(report.bytes);
    });
  });
});

describe('walk', () => {
  test('a walk meets entries in the byte order of their keys', async () => {
    const tree = await freshDir();
    await hostileTree(tree);
    const keys: Buffer[] = [];
    for await (const item of walkTree(tree)) keys.push(Buffer.from(item.key));
    expect(keys.length).toBeGreaterThan(45);
    expect(keys).toEqual([...keys].sort(Buffer.compare));
  });

  test('a missing tree and one that is a file are told apart', async () => {
    const dir = await freshDir();
    await writeFile(join(dir, 'file'), '');
    await expect(walkTree(join(dir, 'none')).next()).rejects.toMatchObject({ code: 'VARVE_NOT_FOUND' });
    await expect(walkTree(join(dir, 'file')).next()).rejects.toMatchObject({
      code: 'VARVE_INVALID_ARGUMENT',
    });
  });
});

describe('import', () => {
  test('pipes are skipped and reported, and do not hang the import', async () => {
    await withStore(async (engine, base) => {
      const tree = join(base, 'tree');
      await mkdir(tree);
      makePipe(join(tree, 'pipe'));
      await writeFile(join(tree, 'file'), 'x');
      const report = await importTree(engine, tree);
      expect(report).toMatchObject({ ok: true, files: 1, skippedCount: 1 });
      expect(report.skipped[0]).toMatchObject({ reason: 'a named pipe' });
      expect(await keysOf(engine)).toEqual(['file']);
    });
  });

  test('what cannot be read is reported and the rest is stored', async () => {
    await withStore(async (engine, base) => {
      const tree = join(base, 'tree');
      await mkdir(join(tree, 'closed'), { recursive: true });
      await writeFile(join(tree, 'closed', 'in'), 'x');
      await writeFile(join(tree, 'secret'), 'x');
      await writeFile(join(tree, 'z'), 'z');
      await chmod(join(tree, 'secret'), 0);
      await chmod(join(tree, 'closed'), 0);
      const report = await importTree(engine, tree);
      await chmod(join(tree, 'closed'), 0o700);
      // Root reads everything.
      expect(report.ok).toBe(isRoot);
      expect(paths(report.failed)).toEqual(isRoot ? [] : ['closed/', 'secret']);
      expect(await keysOf(engine)).toContain('z');
    });
  });

  test('the store inside the tree is left out', async () => {
    await withStore(async (engine, base) => {
      await writeFile(join(base, 'file'), 'x');
      const { dev, ino } = await stat(join(base, 'store'), { bigint: true });
      const report = await importTree(engine, base, { exclude: { dev, ino } });
      expect(report.skipped[0]).toMatchObject({ reason: 'the store itself' });
      expect(await keysOf(engine)).toEqual(['file']);
    });
  });

  test('a small file that changes while it is read is not stored as a mix', async () => {
    await withStore(async (engine, base) => {
      const tree = join(base, 'tree');
      await mkdir(tree);
      const path = join(tree, 'large');
      await writeFile(path, bigBytes(2_000_000));
      let touched = 0;
      const report = await importTree(engine, tree, {
        onProgress: ({ files }) => {
          // Each piece that is read finds the file changed again.
          if (files === 0) void utimes(path, 1, ++touched);
        },
      });
      expect(touched).toBeGreaterThan(1);
      expect(report.failed[0]).toMatchObject({ reason: 'changed while it was read' });
      expect(report).toMatchObject({ ok: false, files: 0, bytes: 0 });
      expect(await keysOf(engine)).toEqual([]);
    });
  });

  test('a failure of the store ends the import with its error', async () => {
    await withStore(async (engine, base) => {
      const tree = join(base, 'tree');
      await mkdir(tree);
      await hostileTree(tree);
      const failing: TreeStore = {
        put: async () => {
          throw new Error('disk on fire');
        },
        batch: (operations) => engine.batch(operations),
        get: (key) => engine.get(key),
        stat: (key) => engine.stat(key),
        stream: (key) => engine.stream(key),
        scan: (options) => engine.scan<Uint8Array>(options),
        stats: () => engine.stats(),
      };
      await expect(importTree(failing, tree)).rejects.toThrow('disk on fire');
    });
  });

  test('an aborted import rejects and leaves the store usable', async () => {
    await withStore(async (engine, base) => {
      const tree = join(base, 'tree');
      await mkdir(tree);
      await hostileTree(tree);
      const controller = new AbortController();
      const run = importTree(engine, tree, {
        signal: controller.signal,
        onProgress: () => controller.abort(),
      });
      await expect(run).rejects.toMatchObject({ code: 'VARVE_ABORTED' });
      await engine.put('k', 'v');
      expect(await engine.has('k')).toBe(true);
    });
  });

  test('deleteMissing removes what is gone and nothing beside the prefix', async () => {
    await withStore(async (engine, base) => {
      const tree = join(base, 'tree');
      await mkdir(tree);
      await hostileTree(tree);
      const prefix = encodeUtf8('t/');
      await engine.put('t', 'beside');
      await engine.put('u', 'beside');
      await importTree(engine, tree, { prefix });
      const before = await keysOf(engine, 't/');
      await rm(join(tree, 'd0'), { recursive: true });
      await rm(join(tree, 'a.txt'));
      await rename(join(tree, 'new\nline'), join(tree, 'other'));
      expect((await importTree(engine, tree, { prefix })).deleted).toBe(0);
      const report = await importTree(engine, tree, { prefix, deleteMissing: true });
      const after = await keysOf(engine, 't/');
      const walked: string[] = [];
      for await (const { key } of walkTree(tree)) walked.push(`t/${Buffer.from(key).toString('latin1')}`);
      expect(after).toEqual(walked);
      expect(report.deleted).toBe(before.length + 1 - after.length);
      expect(await keysOf(engine)).toEqual(['t', ...after, 'u']);
    });
  });

  test('trustMtime reads only what looks changed', async () => {
    await withStore(async (engine, base) => {
      const tree = join(base, 'tree');
      await mkdir(tree);
      await hostileTree(tree);
      const all = await importTree(engine, tree);
      await writeFile(join(tree, 'a', 'small'), 'other');
      const report = await importTree(engine, tree, { trustMtime: true });
      expect(report).toMatchObject({ files: 1, unchanged: all.files - 1 });
      expect(Buffer.from((await engine.get('a/small'))!).toString()).toBe('other');
    });
  });
});

describe('bounded work', () => {
  test('the pool never exceeds its weight and throws the first failure', async () => {
    const pool = new WorkPool(4);
    let running = 0;
    let most = 0;
    for (let i = 0; i < 20; i++) {
      const weight = (i % 3) + 1;
      await pool.start(weight, async () => {
        running += weight;
        most = Math.max(most, running);
        await new Promise((resolve) => setImmediate(resolve));
        running -= weight;
      });
    }
    await pool.drain();
    expect(most).toBeLessThanOrEqual(4);
    await pool.start(1, async () => {
      throw new Error('first');
    });
    await expect(pool.drain()).rejects.toThrow('first');
    await expect(pool.start(1, async () => undefined)).rejects.toThrow('first');
  });

  test('the look-ahead keeps order and its bound', async () => {
    let ahead = 0;
    let most = 0;
    const out: number[] = [];
    const step = async (i: number): Promise<number> => {
      most = Math.max(most, ++ahead);
      for (let turns = 0; turns < 5 - (i % 5); turns++) await Promise.resolve();
      ahead--;
      return i;
    };
    const numbers = Array.from({ length: 30 }, (_, i) => i);
    for await (const run of inOrder([numbers.slice(0, 20), [], numbers.slice(20)], 6, step)) out.push(...run);
    expect(out).toEqual(numbers);
    expect(most).toBeLessThanOrEqual(6);
  });

  test('what is there at once is handed on together, and in order', async () => {
    const pattern = fc.array(fc.array(fc.boolean(), { maxLength: 100 }), { maxLength: 5 });
    await fc.assert(
      fc.asyncProperty(pattern, async (runs) => {
        let n = 0;
        const source = runs.map((run) => run.map((isSlow) => ({ n: n++, isSlow })));
        const step = (item: { n: number; isSlow: boolean }): number | Promise<number> =>
          item.isSlow ? Promise.resolve(item.n) : item.n;
        const out: number[] = [];
        let given = 0;
        for await (const run of inOrder(source, 4, step)) {
          out.push(...run);
          given++;
        }
        expect(out).toEqual(Array.from({ length: n }, (_, i) => i));
        if (!runs.flat().includes(true)) expect(given).toBeLessThanOrEqual(runs.length + n / 64);
      }),
      { numRuns: 50 },
    );
  });
});
