import { expect, test } from 'vitest';
import { codeOf, filesIn, keysOf, killed, newStore, openOn, text } from './engine-kit.ts';

test('spaces have keys of their own and share the store', async () => {
  const { engine, disk } = await newStore();
  const [a, b] = [engine.space('a'), engine.space('b')];
  await Promise.all([engine.put('k', 'none'), a.put('k', 'a'), b.put('k', 'b')]);
  expect([engine, a, b].map((space) => text(space.getSync('k')))).toEqual(['none', 'a', 'b']);
  await a.delete('k');
  expect([await keysOf(engine), await keysOf(a), await keysOf(b)]).toEqual([['k'], [], ['k']]);
  expect(engine.spaces.list()).toEqual(['a', 'b']);
  await b.close();
  const again = await openOn(disk);
  expect(again.spaces.list()).toEqual(['a', 'b']);
  expect(text(await again.space('b').get('k'))).toBe('b');
  await again.close();
});

test('a name keeps its number through kills, and its row goes with its first row', async () => {
  const { engine, disk } = await newStore();
  engine.space('never written');
  await Promise.all(['x', 'y', 'z'].map((name) => engine.space(name).put(name, name)));
  await expect(engine.space('w').put('w', 'w', { ifSeq: 5 })).rejects.toThrow();
  let copy = killed(disk);
  for (let round = 0; round < 3; round++) {
    const again = await openOn(copy);
    expect(again.spaces.list().filter((name) => name.length === 1)).toEqual(['x', 'y', 'z']);
    for (const name of ['x', 'y', 'z']) expect(await keysOf(again.space(name))).toEqual([name]);
    await again.space(`new ${round}`).put('n', `${round}`);
    copy = killed(copy);
    await again.close();
  }
  const last = await openOn(copy);
  for (let round = 0; round < 3; round++) {
    expect(text(last.space(`new ${round}`).getSync('n'))).toBe(`${round}`);
  }
  expect(last.spaces.list()).toEqual(['new 0', 'new 1', 'new 2', 'x', 'y', 'z']);
  await last.close();
});

test('a name that is none is refused, and so is an unknown option', async () => {
  const { engine } = await newStore();
  for (const name of ['', 7 as never, '\ud800', 'n'.repeat(256)]) {
    expect(await codeOf(() => engine.space(name))).toBe('VARVE_INVALID_ARGUMENT');
  }
  expect(await codeOf(() => engine.space('a', { lifetime: 1 } as never))).toBe('VARVE_INVALID_ARGUMENT');
  await engine.space('n'.repeat(255)).put('k', 'v');
});

test('a damaged list of names lets nothing be written: a number would be given twice', async () => {
  const { engine, disk } = await newStore();
  await engine.put('k', 'v');
  await engine.space('a').put('k', 'a');
  await engine.close();
  for (const file of filesIn(disk, 'tab')) {
    const copy = killed(disk);
    copy.corrupt(file, (bytes) => {
      bytes.fill(0xaa, 64, 96);
      return bytes;
    });
    const again = await openOn(copy);
    if (!again.spaces.list().includes('a')) {
      expect(again.health()).toMatchObject({ status: 'degraded', readOnly: true });
      expect(again.health().damage[0]).toMatchObject({ file, kind: 'VARVE_CORRUPT' });
      expect(await codeOf(again.put('x', 'y'))).toBe('VARVE_READ_ONLY');
    }
    await again.close();
  }
});
