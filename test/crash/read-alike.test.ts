import { expect, test } from 'vitest';
import { encodeUtf8 } from '../../src/base/bytes.ts';
import { Prng } from '../../src/base/prng.ts';
import { xxh64 } from '../../src/codec/checksum.ts';
import { MemoryFileSystem } from '../../src/fs/memory-file-system.ts';
import { preparation, sequenceAt, sequenceShape } from './alphabet.ts';
import { choicesAt, settle } from './choices.ts';
import { ReadAlike } from './read-alike.ts';
import { prepare, record } from './recorder.ts';
import { checkRecovered } from './recovered.ts';

async function diskWith(files: Readonly<Record<string, string>>): Promise<MemoryFileSystem> {
  const disk = new MemoryFileSystem();
  await disk.mkdir('d');
  for (const [path, text] of Object.entries(files)) {
    const file = await disk.open(path, 'create');
    await file.write(encodeUtf8(text), 0);
    await file.close();
  }
  return disk;
}

/** Reads a whole, asks for the size of b, writes c. */
async function check(disk: MemoryFileSystem): Promise<void> {
  const a = await disk.open('a', 'read');
  await a.read(new Uint8Array(10), 0);
  await a.close();
  await disk.stat('b');
  const c = await disk.open('c', 'create');
  await c.write(encodeUtf8('c'), 0);
  await c.close();
}

test('a disk is known until a file changes that the check has read, or a name', async () => {
  const alike = new ReadAlike();
  const first = await diskWith({ a: 'one', b: 'two', 'd/e': 'three' });
  expect(alike.resultOf(first.contents(), 'w')).toBeUndefined();
  const { passed } = alike.watch(first, 'w');
  await check(first);
  passed(7);
  expect(alike.resultOf((await diskWith({ a: 'one', b: 'two', 'd/e': 'three' })).contents(), 'w')).toBe(7);
  expect(alike.resultOf((await diskWith({ a: 'one', b: 'owt', 'd/e': 'anything' })).contents(), 'w')).toBe(7);
  expect(
    alike.resultOf((await diskWith({ a: 'eno', b: 'two', 'd/e': 'three' })).contents(), 'w'),
  ).toBeUndefined();
  expect(
    alike.resultOf((await diskWith({ a: 'one', b: 'longer', 'd/e': 'three' })).contents(), 'w'),
  ).toBeUndefined();
  expect(alike.resultOf((await diskWith({ a: 'one', b: 'two' })).contents(), 'w')).toBeUndefined();
  expect(
    alike.resultOf((await diskWith({ a: 'one', b: 'two', 'd/e': '', x: '' })).contents(), 'w'),
  ).toBeUndefined();
  expect(
    alike.resultOf((await diskWith({ a: 'one', b: 'two', 'd/e': 'three' })).contents(), 'v'),
  ).toBeUndefined();
});

test('a check that read more is asked for more, and one that renames is not kept', async () => {
  const alike = new ReadAlike();
  const first = await diskWith({ a: 'one', b: 'two' });
  const watched = alike.watch(first, 'w');
  await check(first);
  watched.noteRead('b');
  watched.passed(1);
  expect(alike.resultOf((await diskWith({ a: 'one', b: 'owt' })).contents(), 'w')).toBeUndefined();
  const second = await diskWith({ a: 'two', b: 'two' });
  const { passed } = alike.watch(second, 'w');
  await second.rename('b', 'e');
  await check(second).catch(() => undefined);
  passed(2);
  expect(alike.resultOf((await diskWith({ a: 'two', b: 'two' })).contents(), 'w')).toBeUndefined();
});

test('recoveries of disks that are taken for one another do the same to the disk', async () => {
  const { workload, profile } = sequenceAt(5 + 6 * 60);
  const base = await prepare({ seed: 1, shape: sequenceShape, steps: preparation }, 'posix');
  const { points, history } = await record(workload, profile, { base, from: 1 });
  const alike = new ReadAlike();
  const prng = new Prng(3);
  let known = 0;
  for (let n = 0; n < 60; n++) {
    const { disk, durable } = points[prng.below(points.length)]!;
    const pending = disk.pending();
    const choices = choicesAt(pending, prng, { mixtures: 2, singles: 4, cuts: 4 });
    const state = disk.crash(settle(prng.pick(choices), pending, false).chooser);
    const words = String(durable);
    const before = alike.resultOf(state.contents(), words);
    const { noteRead, passed } = alike.watch(state, words);
    const plan = { floor: durable, shape: sequenceShape, seed: 5, goOn: false, onRead: noteRead };
    await checkRecovered(state, history, plan);
    const done = Number(xxh64(encodeUtf8(JSON.stringify(state.trace))) & 0xffff_ffffn);
    passed(done);
    if (before === undefined) continue;
    known++;
    expect(done).toBe(before);
  }
  expect(known).toBeGreaterThan(10);
}, 60_000);
