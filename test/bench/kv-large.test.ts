/** The parts of the large bench that need no store, and the command line of all benches. */
import { describe, expect, test } from 'vitest';
import { commandOf, countOf, listOf } from '../../bench/tools/command-line.ts';
import { simulateMerges } from '../../bench/tools/merge-simulation.ts';
import { SmallChunks, smallChunkBytes, tinyChunks } from '../../bench/tools/small-chunks.ts';
import { defaultCompactionLimits } from '../../src/engine/background/compactor.ts';
import { trees } from '../../src/format/trees.ts';
import { chunkAll, createChunker } from '../../src/kernels/chunker/chunker.ts';
import { solveParams } from '../../src/kernels/chunker/params.ts';

test('values for small chunks are cut into them, each unlike the others', () => {
  const data = new SmallChunks();
  const words = new Uint32Array(1 << 16);
  const chunks = new Set<string>();
  let count = 0;
  for (let n = 0; n < 4; n++) {
    data.fill(words, n);
    const bytes = Buffer.from(words.buffer);
    let from = 0;
    for (const end of chunkAll(createChunker(solveParams(tinyChunks)), bytes)) {
      chunks.add(bytes.toString('latin1', from, end));
      from = end;
      count++;
    }
  }
  const expected = (4 * words.byteLength) / smallChunkBytes;
  expect(Math.abs(count / expected - 1)).toBeLessThan(0.05);
  expect(chunks.size).toBeGreaterThan(0.99 * count);
});

describe('simulated merges', () => {
  const load = { tree: trees.K, rows: 2_000_000, flushRows: 190_000, rowBytes: 150, plainRowBytes: 145 };
  const simulate = (rows: number) => simulateMerges({ ...load, rows, limits: defaultCompactionLimits });

  test('what is flushed is the rows once, what is merged grows with the levels', () => {
    const few = simulate(1_000_000);
    expect(few).toEqual({ flushed: 150_000_000, merged: 0 });
    const some = simulate(2_000_000);
    expect(some.flushed).toBe(300_000_000);
    expect(some.merged).toBeGreaterThan(200_000_000);
    const many = simulate(20_000_000);
    const factors = [some, many].map(({ flushed, merged }) => merged / flushed);
    expect(factors[1]!).toBeGreaterThan(factors[0]!);
    expect(factors[1]!).toBeLessThan(10);
  });
});

describe('command line', () => {
  const options = {
    rounds: { type: 'string', default: '3' },
    json: { type: 'boolean', default: false },
  } as const;
  const parse = (...args: string[]) =>
    commandOf('how to', options, ({ rounds, json }) => ({ rounds: countOf('rounds', rounds), json }), args);

  test('options come checked, help as a text, mistakes as a text and 2', () => {
    expect(parse('--rounds', '1_000', '--json')).toEqual({ values: { rounds: 1000, json: true } });
    expect(parse()).toEqual({ values: { rounds: 3, json: false } });
    expect(parse('--nonsense', '--help')).toEqual({ text: 'how to', exitCode: 0 });
    for (const wrong of [['--nonsense'], ['--rounds', '0'], ['--rounds', ''], ['--rounds'], ['word']]) {
      expect(parse(...wrong)).toMatchObject({ exitCode: 2, text: expect.stringContaining('how to') });
    }
    const broken = () => {
      throw new Error('a fault of the bench');
    };
    expect(() => commandOf('how to', options, broken, [])).toThrow('a fault of the bench');
  });

  test('a list is of known names, and of all where none is given', () => {
    expect(listOf('only', undefined, ['a', 'b'])).toEqual(['a', 'b']);
    expect(listOf('only', 'b,', ['a', 'b'])).toEqual(['b']);
    expect(() => listOf('only', 'c', ['a', 'b'])).toThrow("--only must be a or b, not 'c'");
  });
});
