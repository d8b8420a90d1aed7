import { readFileSync } from 'node:fs';
import path from 'node:path';
import { expect, test } from 'vitest';
import { runPlants } from '../campaigns/planted.ts';
import { projectRoot } from './ground.ts';
import { edited, type Plant } from './plant.ts';
import { plants } from './plants.ts';

const named = (name: string): Plant => plants.find((one) => one.name === name)!;

/** Noticed within a second, and nothing that could be. */
const noticed: Plant = {
  ...named('chunk checksum not checked'),
  hunts: [{ campaign: 'damage', count: 300 }],
};
const harmless: Plant = {
  name: 'harmless',
  what: 'another word in a comment',
  edits: [
    {
      file: 'src/log/log-writer.ts',
      find: ' * Writer of one log file.',
      replace: ' * The writer of one log file.',
    },
  ],
  hunts: [{ campaign: 'fuzz', count: 100 }],
};

test('every fault has a name of its own and its place in the sources exactly once', () => {
  expect(new Set(plants.map(({ name }) => name)).size).toBe(plants.length);
  for (const { edits, hunts } of plants) {
    expect(hunts.length).toBeGreaterThan(0);
    for (const edit of edits) {
      const source = readFileSync(path.join(projectRoot, edit.file), 'utf8');
      expect(edited(source, edit)).not.toBe(source);
    }
  }
});

test('a fault is noticed, and what is none is not', async () => {
  const { failed, lines } = await runPlants({ seed: 1, onProgress: () => undefined }, [noticed, harmless]);
  expect(lines[0]).toBe('NOT NOTICED seed 1, harmless: another word in a comment (tried: fuzz 100)');
  expect(lines.join('\n')).toMatch(/\| chunk checksum not checked: .* \| damage \| [1-9]/);
  expect(lines.join('\n')).toMatch(/\| none \| not by damage \| [1-9]/);
  expect(failed).toBe(1);
}, 60_000);
