import { expect, test } from 'vitest';
import { newStore, text, turn } from '../engine/engine-kit.ts';

test('an update sees no conflict where its key came and went while that one was told', async () => {
  const { engine, disk } = await newStore();
  await engine.put('other', 'x');
  let answer: (value: string) => void = () => undefined;
  const asked: (string | undefined)[] = [];
  const updated = engine.update('k', (old) => {
    asked.push(text(old));
    return asked.length > 1 ? 'mine' : new Promise<string>((resolve) => (answer = resolve));
  });
  await turn();
  let letGo: () => void = () => undefined;
  const held = new Promise<void>((resolve) => (letGo = resolve));
  disk.schedule = (op) => (op.kind === 'dataSync' ? held : Promise.resolve());
  const put = engine.put('k', 'theirs');
  answer('mine');
  for (let i = 0; i < 5; i++) await turn();
  // The conflict with the put is told once that is on the disk; by then the key is absent again.
  const removed = engine.delete('k');
  for (let i = 0; i < 5; i++) await turn();
  letGo();
  await expect(updated).resolves.toMatchObject({ size: 4 });
  await Promise.all([put, removed]);
  expect(asked).toEqual([undefined, undefined]);
  expect(text(await engine.get('k'))).toBe('mine');
  await engine.close();
});
