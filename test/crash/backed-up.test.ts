import { describe, expect, test } from 'vitest';
import { letters, preparation, sequenceAt, sequenceShape } from './alphabet.ts';
import { backUp, checkBackups } from './backed-up.ts';
import { openOn } from './machine.ts';
import { stateAt } from './model.ts';
import { type Base, prepare, type Recording, record } from './recorder.ts';

const backupLetter = letters.findIndex(([name]) => name === 'backup');

async function recorded(): Promise<Recording> {
  const base: Base = await prepare({ seed: 1, shape: sequenceShape, steps: preparation }, 'posix');
  return await record(sequenceAt(3 + 6 * backupLetter).workload, 'posix', { base });
}

describe('a backup in the alphabet', () => {
  test('restores as the store was at its last commit, and one that differs is found', async () => {
    const { points, history } = await recorded();
    const objects = points.at(-1)!.vault!;
    expect(await checkBackups(objects, history, sequenceShape)).toBe(1);
    const values = new Map(Array.from(history.values, ([name, bytes]) => [name, bytes.slice().reverse()]));
    await expect(checkBackups(objects, { ...history, values }, sequenceShape)).rejects.toThrow('other bytes');
  });

  test('is made again into the vault that a power cut has left in the middle of one', async () => {
    const { points, history } = await recorded();
    const during = points.find(
      ({ vault, op }) => vault !== undefined && vault.length > 0 && op !== undefined,
    )!;
    const engine = await openOn(during.disk.crash('none'), sequenceShape, 5);
    const state = stateAt(history, engine.stats().seq);
    await backUp(engine, during.vault!, { history, state, shape: sequenceShape });
    state.get('')!.clear();
    await expect(backUp(engine, during.vault!, { history, state, shape: sequenceShape })).rejects.toThrow(
      'should not be there',
    );
    await engine.close();
  });
});
