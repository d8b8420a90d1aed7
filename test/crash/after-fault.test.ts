/** The checker of the failing-operations lane can fail: each lie about a sound run is found. */
import { describe, expect, test } from 'vitest';
import { MemoryFileSystem } from '../../src/fs/memory-file-system.ts';
import { checkAfterFault } from './after-fault.ts';
import { letters, sequenceShape } from './alphabet.ts';
import { type Attempt, type FaultyRun, runFaulty } from './faulty.ts';

const wanted = new Set(['inline', 'update', 'count', 'snapshot', 'rules']);
const steps = letters.filter(([name]) => wanted.has(name)).map(([, step]) => step);

async function sound(): Promise<{ disk: MemoryFileSystem; run: FaultyRun }> {
  const disk = new MemoryFileSystem();
  const run = await runFaulty(disk, { seed: 3, shape: { ...sequenceShape, merges: false }, steps });
  expect(run.failures).toEqual([]);
  return { disk, run };
}

const lies: readonly [what: string, lie: (one: Attempt) => Partial<Attempt>, found: string][] = [
  [
    'an update put something else',
    ({ kind }) => (kind === 'update' ? { changes: reversed } : {}),
    'shows 61',
  ],
  [
    'the counter had said more',
    ({ kind }) => (kind === 'count' ? { durable: true, told: 9 } : {}),
    'counter',
  ],
  [
    'a snapshot was never made',
    ({ kind }) => (kind === 'snapshot' ? { kind: 'put', mark: undefined } : {}),
    'nobody',
  ],
  [
    'rules were taken away',
    ({ kind }) => (kind === 'rules' ? { mark: { name: 'rules', made: false } } : {}),
    'otherwise',
  ],
  ['a commit that is not there', ({ kind, seq }) => (kind === 'put' ? { seq: seq! + 90 } : {}), 'lost key'],
];
const reversed = new Map([['61', new Uint8Array(5)]]);

describe('the checker behind a fault', () => {
  test('accepts a run with features as it was', async () => {
    const { disk, run } = await sound();
    await checkAfterFault(disk, run, { ...sequenceShape, merges: false }, 7);
  });

  test.each(lies)('finds that %s', async (_what, lie, found) => {
    const { disk, run } = await sound();
    const attempts = run.attempts.map((one) => ({ ...one, ...lie(one) }));
    const told = { ...run, attempts };
    await expect(checkAfterFault(disk, told, { ...sequenceShape, merges: false }, 7)).rejects.toThrow(found);
  });

  test('excuses what an expired value had superseded, and nothing put behind it', async () => {
    const { disk, run } = await sound();
    const shape = { ...sequenceShape, merges: true };
    const [one] = run.attempts;
    const lost = (kind: Attempt['kind'], seq: number): Attempt => {
      const changes = new Map([['6666', new Uint8Array(3)]]);
      return { ...one!, kind, seq, changes, mark: undefined, range: undefined, acked: true, durable: true };
    };
    const before = { ...run, attempts: [...run.attempts, lost('put', 903), lost('brief', 905)] };
    await checkAfterFault(disk.fork(), before, shape, 7);
    const behind = { ...run, attempts: [...run.attempts, lost('brief', 905), lost('put', 907)] };
    await expect(checkAfterFault(disk.fork(), behind, shape, 7)).rejects.toThrow('lost key 6666');
  });
});
