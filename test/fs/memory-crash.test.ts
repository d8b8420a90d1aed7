import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { Prng } from '../../src/base/prng.ts';
import type { CrashChooser, PendingItem } from '../../src/fs/crash-chooser.ts';
import { ensureDir, hasErrno, writeNewFile } from '../../src/fs/dirs.ts';
import { MemoryFileSystem } from '../../src/fs/memory-file-system.ts';
import type { FsProfile } from '../../src/fs/sim-names.ts';

const bytes = (...values: number[]): Uint8Array => Uint8Array.from(values);
const profiles: FsProfile[] = ['posix', 'ext4', 'wild'];
const keepOnly = (...kept: number[]): CrashChooser => ({ keep: (item) => kept.includes(item.index) });

/** A file with synced bytes, its name not synced. */
async function syncedFile(disk: MemoryFileSystem, path: string, content: Uint8Array): Promise<void> {
  const file = await disk.open(path, 'create');
  await file.write(content, 0);
  await file.sync();
  await file.close();
}

describe.each(profiles)('profile %s', (profile) => {
  test('a file is durable once its bytes and every directory above it are synced', async () => {
    const disk = new MemoryFileSystem({ profile });
    await ensureDir(disk, 'a/b');
    await writeNewFile(disk, 'a/b/c', bytes(1, 2, 3));
    expect(disk.pending()).toEqual([]);
    expect(disk.crash('none').bytesOf('a/b/c')).toEqual(bytes(1, 2, 3));
  });

  test('a name without its bytes is an empty file', async () => {
    const disk = new MemoryFileSystem({ profile });
    const file = await disk.open('a', 'create');
    await file.write(bytes(1, 2, 3), 0);
    await disk.syncDir('');
    expect(disk.crash('none').bytesOf('a')).toEqual(bytes());
  });

  test('files below a directory that was not synced into its parent are gone', async () => {
    const disk = new MemoryFileSystem({ profile });
    await disk.mkdir('d');
    const file = await disk.open('d/a', 'create');
    await file.write(bytes(1), 0);
    expect(disk.crash('none').files()).toEqual([]);
    await file.sync();
    await disk.syncDir('d');
    expect(disk.crash('none').files()).toEqual(profile === 'ext4' ? ['d/a'] : []);
    expect(disk.crash('all').files()).toEqual(['d/a']);
  });

  test('an unsynced replacement leaves the old file or the new one', async () => {
    const disk = new MemoryFileSystem({ profile });
    await writeNewFile(disk, 'a', bytes(1));
    await writeNewFile(disk, 'b', bytes(2));
    await disk.rename('b', 'a');
    const before = disk.crash('none');
    expect([before.files(), before.bytesOf('a')]).toEqual([['a', 'b'], bytes(1)]);
    const after = disk.crash('all');
    expect([after.files(), after.bytesOf('a')]).toEqual([['a'], bytes(2)]);
    await disk.syncDir('');
    expect(disk.crash('none').digest()).toBe(after.digest());
  });

  test('an unlink comes back until the directory is synced', async () => {
    const disk = new MemoryFileSystem({ profile });
    await writeNewFile(disk, 'a', bytes(1));
    await disk.unlink('a');
    expect(disk.crash('none').files()).toEqual(['a']);
    await disk.syncDir('');
    expect(disk.crash('none').files()).toEqual([]);
  });

  test('a cut that loses nothing shows what programs saw, at every operation', async () => {
    const disk = new MemoryFileSystem({ profile });
    const states: [MemoryFileSystem, string][] = [];
    await randomRun(disk, new Prng(7), 120, () => {
      states.push([disk.fork(), disk.digest()]);
    });
    for (const [state, digest] of states) {
      expect(state.digest()).toBe(digest);
      expect(state.crash('all').digest()).toBe(digest);
      const none = state.crash('none');
      expect(none.pending()).toEqual([]);
      expect(none.crash('none').digest()).toBe(none.digest());
      expect(state.crash({ keep: () => false }).digest()).toBe(none.digest());
    }
  });

  test('the same seed gives the same power cut', async () => {
    const disk = new MemoryFileSystem({ profile });
    await randomRun(disk, new Prng(3), 80);
    for (const path of disk.files()) {
      const file = await disk.open(path, 'rw');
      await file.write(new Uint8Array(4_000).fill(9), 100);
    }
    const seen = new Set<string>();
    for (let seed = 0; seed < 40; seed++) {
      const digest = disk.crash(new Prng(seed)).digest();
      expect(disk.crash(new Prng(seed)).digest()).toBe(digest);
      seen.add(digest);
    }
    expect(seen.size).toBeGreaterThan(5);
  });
});

describe('names', () => {
  test('posix: a synced file without a synced name is gone; ext4 keeps it', async () => {
    for (const profile of profiles) {
      const disk = new MemoryFileSystem({ profile });
      await syncedFile(disk, 'a', bytes(1));
      expect(disk.crash('none').files(), profile).toEqual(profile === 'ext4' ? ['a'] : []);
    }
  });

  test('posix: a later name may survive an earlier one, but not its own source', async () => {
    const disk = new MemoryFileSystem();
    await syncedFile(disk, 'tmp', bytes(1));
    await syncedFile(disk, 'other', bytes(2));
    await disk.rename('tmp', 'final');
    expect(disk.pending().map((item) => [item.kind, item.path])).toEqual([
      ['create', 'tmp'],
      ['create', 'other'],
      ['rename', 'final'],
    ]);
    expect(disk.crash(keepOnly(1)).files()).toEqual(['other']);
    expect(disk.crash(keepOnly(2)).files()).toEqual([]);
    expect(disk.crash(keepOnly(0)).files()).toEqual(['tmp']);
    expect(disk.crash(keepOnly(0, 2)).files()).toEqual(['final']);
  });

  test('posix: a rename across directories needs both synced; ext4 does it in one step', async () => {
    const make = async (profile: FsProfile): Promise<MemoryFileSystem> => {
      const disk = new MemoryFileSystem({ profile });
      await ensureDir(disk, 'x');
      await ensureDir(disk, 'y');
      await writeNewFile(disk, 'x/a', bytes(1));
      await disk.rename('x/a', 'y/a');
      return disk;
    };
    const target = await make('posix');
    await target.syncDir('y');
    expect(target.crash('none').files()).toEqual(['x/a', 'y/a']);
    const source = await make('posix');
    await source.syncDir('x');
    expect(source.crash('none').files()).toEqual([]);
    await source.syncDir('y');
    expect(source.crash('none').files()).toEqual(['y/a']);
    const ext4 = await make('ext4');
    expect(ext4.crash('none').files()).toEqual(['x/a']);
    await ext4.syncDir('x');
    expect(ext4.crash('none').files()).toEqual(['y/a']);
  });

  test('ext4: names survive as a prefix, and a replacing rename carries the bytes before it', async () => {
    const disk = new MemoryFileSystem({ profile: 'ext4' });
    await writeNewFile(disk, 'a', bytes(1));
    const file = await disk.open('b', 'create');
    await file.write(bytes(2, 2), 0);
    await disk.rename('b', 'a');
    await file.write(bytes(3), 2);
    await disk.mkdir('d');
    expect(disk.crash(keepOnly(2)).files()).toEqual(['a']);
    expect(disk.crash(keepOnly(0)).bytesOf('a')).toEqual(bytes(1));
    expect(disk.crash(keepOnly(0, 1)).bytesOf('a')).toEqual(bytes(2, 2));
    const torn = { keep: (item: PendingItem) => item.kind !== 'write' || (() => false) };
    expect(disk.crash(torn).bytesOf('a')).toEqual(bytes(2, 2));
    await disk.syncDir('');
    expect(disk.crash('none').bytesOf('a')).toEqual(bytes(2, 2));
  });

  test('wild: the size may come before the bytes', async () => {
    const extend = (_path: string, from: number, to: number): Uint8Array =>
      new Uint8Array(to - from).fill(0xee);
    for (const profile of profiles) {
      const disk = new MemoryFileSystem({ profile });
      await writeNewFile(disk, 'a', bytes(1));
      const file = await disk.open('a', 'rw');
      await file.write(bytes(2, 2), 1);
      const left = disk.crash({ keep: () => false, extend }).bytesOf('a');
      expect(left, profile).toEqual(profile === 'wild' ? bytes(1, 0xee, 0xee) : bytes(1));
    }
  });
});

test('a power cut leaves each name at one of its states since the last sync of its directory', async () => {
  await fc.assert(
    fc.asyncProperty(fc.nat(), fc.constantFrom<FsProfile>('posix', 'wild'), async (seed, profile) => {
      const disk = new MemoryFileSystem({ profile });
      const prng = new Prng(seed);
      // Path -> which files it may name afterwards ('' = none); a file is known by its first byte.
      const possible = new Map<string, Set<number>>();
      const current = new Map<string, number>();
      const names = ['a', 'b', 'c', 'd/a', 'd/b'];
      const note = (path: string): void => {
        const set = possible.get(path) ?? new Set([0]);
        possible.set(path, set.add(current.get(path) ?? 0));
      };
      await ensureDir(disk, 'd');
      for (let i = 1; i <= 25; i++) {
        const path = prng.pick(names);
        const other = prng.pick(names);
        const kind = prng.below(4);
        if (kind === 0 && !current.has(path)) {
          await syncedFile(disk, path, bytes(i));
          current.set(path, i);
        } else if (kind === 1 && current.delete(path)) await disk.unlink(path);
        else if (kind === 2 && current.has(path) && path !== other) {
          await disk.rename(path, other);
          current.set(other, current.get(path)!);
          current.delete(path);
          note(other);
        } else if (kind === 3) {
          const dir = prng.pick(['', 'd']);
          await disk.syncDir(dir);
          for (const name of names.filter((n) => n.startsWith('d/') === (dir === 'd'))) possible.delete(name);
          for (const name of names) note(name);
        }
        note(path);
      }
      for (let round = 0; round < 10; round++) {
        const left = disk.crash(prng);
        const there = left.files();
        for (const name of names) {
          const found = there.includes(name) ? left.bytesOf(name)[0]! : 0;
          const allowed = possible.get(name) ?? new Set([0]);
          expect([...allowed], `${name} of ${there.join()}`).toContain(found);
        }
      }
    }),
    { numRuns: 60 },
  );
});

test('items at stake are numbered in the order the chooser is asked', async () => {
  const disk = new MemoryFileSystem();
  await randomRun(disk, new Prng(11), 60);
  const asked: PendingItem[] = [];
  disk.crash({
    keep(item) {
      asked.push(item);
      return true;
    },
  });
  expect(asked).toEqual(disk.pending());
  expect(asked.map((item) => item.index)).toEqual(asked.map((_, i) => i));
});

test('a machine that went off in an operation leaves what was there before it', async () => {
  const reference = new MemoryFileSystem();
  const digests: string[] = [];
  await randomRun(reference, new Prng(5), 40, () => undefined);
  for (let stop = 0; stop < reference.opCount; stop += 3) {
    const disk = new MemoryFileSystem();
    disk.failAt(stop, 'crash');
    await expect(randomRun(disk, new Prng(5), 40)).rejects.toThrow('simulated power cut');
    expect(disk.trace.slice(0, stop)).toEqual(reference.trace.slice(0, stop));
    digests.push(disk.crash('all').digest());
  }
  expect(new Set(digests).size).toBeGreaterThan(5);
});

/** Random calls on a few names; calls that a name's state does not allow are refused and ignored. */
async function randomRun(
  disk: MemoryFileSystem,
  prng: Prng,
  steps: number,
  after?: () => void,
): Promise<void> {
  const names = ['a', 'b', 'd/a', 'd/b', 'd/e/a'];
  const dirs = ['', 'd', 'd/e'];
  for (let i = 0; i < steps; i++) {
    try {
      await randomCall(disk, prng, prng.pick(names), prng.pick(names), prng.pick(dirs));
    } catch (error) {
      const known = ['ENOENT', 'EEXIST', 'EISDIR', 'ENOTDIR', 'ENOTEMPTY'].some((name) =>
        hasErrno(error, name),
      );
      if (!known) throw error;
    }
    after?.();
  }
}

async function randomCall(
  disk: MemoryFileSystem,
  prng: Prng,
  path: string,
  other: string,
  dir: string,
): Promise<void> {
  const kind = prng.below(10);
  if (kind === 0) await disk.unlink(path);
  else if (kind === 1) await disk.rename(path, other);
  else if (kind === 2) await disk.syncDir(dir);
  else if (kind === 3) await disk.rmdir('d/e');
  else if (kind === 4 && dir !== '') await disk.mkdir(dir);
  else {
    const file = await disk.open(path, kind < 7 ? 'create' : 'rw');
    await file.write(prng.bytes(1 + prng.below(2_000)), prng.below(3_000));
    if (prng.chance(0.2)) await file.truncate(prng.below(3_000));
    const sync = prng.below(3);
    if (sync === 0) await file.sync();
    if (sync === 1) await file.dataSync();
    await file.close();
  }
}
