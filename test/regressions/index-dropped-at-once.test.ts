import { expect, test } from 'vitest';
import { codeOf, newStore, turn } from '../engine/engine-kit.ts';

test('who defines an index that is dropped before its definition is on the disk is told so', async () => {
  const { engine, disk } = await newStore();
  await engine.indexes.define({ name: 'other', kind: 'range', on: 'size' });
  let letGo: () => void = () => undefined;
  const held = new Promise<void>((resolve) => (letGo = resolve));
  disk.schedule = (op) => (op.kind === 'dataSync' ? held : Promise.resolve());
  const defined = codeOf(engine.indexes.define({ name: 'i', kind: 'range', on: 'size' }));
  for (let i = 0; i < 5; i++) await turn();
  const dropped = engine.indexes.drop('i');
  for (let i = 0; i < 5; i++) await turn();
  letGo();
  expect(await dropped).toBe(true);
  expect(await defined).toBe('VARVE_NOT_FOUND');
});
