import { expect, test } from 'vitest';
import { letters, profiles, sequenceShape } from './alphabet.ts';
import { checkDamagedRepair, damages } from './damaged-repair.ts';
import { prepare } from './recorder.ts';
import type { Step } from './workload.ts';

/** VARVE_POINTS=n: so many power cuts and failures of each repair. VARVE_SEED, VARVE_COUNT: which bits. */
const points = Number(process.env.VARVE_POINTS ?? 1);
const firstSeed = Number(process.env.VARVE_SEED ?? 1);
const count = Number(process.env.VARVE_COUNT ?? 1);

const stories = [
  ['list', 'chunk', 'index', 'flush', 'snapshot', 'inline', 'space', 'update', 'roll'],
  ['rules', 'batch', 'merge', 'list', 'range', 'reopen', 'group', 'count', 'stream'],
];

function stepsOf(names: readonly string[]): Step[] {
  const steps = new Map(letters);
  return names.map((name) => steps.get(name)!);
}

test('a repair that is stopped and begun again gives what one gives that is not stopped', async () => {
  let stopped = 0;
  for (let seed = firstSeed; seed < firstSeed + count; seed++) {
    const profile = profiles[seed % profiles.length]!;
    const steps = stepsOf(stories[seed % stories.length]!);
    const { disk } = await prepare({ seed, shape: sequenceShape, steps }, profile);
    for (const damage of Object.keys(damages))
      stopped += await checkDamagedRepair({ disk, shape: sequenceShape, profile, damage, seed, points });
  }
  expect(stopped).toBe(3 * points * count * Object.keys(damages).length);
}, 86_400_000);
