/** docs/RECIPES.md is run: every marked block as a program over an open store. */
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { describe, expect, test } from 'vitest';
import type { Engine } from '../../src/engine/engine.ts';
import { bytesOf, newStore } from '../engine/engine-kit.ts';
import { blocksOf, fencesIn } from './markdown.ts';

const recipes = readFileSync(fileURLToPath(new URL('../../docs/RECIPES.md', import.meta.url)), 'utf8');
const blocks = blocksOf(recipes).filter(({ kind }) => kind === 'recipe');

type Program = (...given: unknown[]) => Promise<void>;
const AsyncFunction = Object.getPrototypeOf(async () => undefined).constructor as new (
  ...parts: string[]
) => Program;

const text = (bytes: Uint8Array | undefined): string | undefined =>
  bytes === undefined ? undefined : Buffer.from(bytes).toString();

/** Runs a recipe; what it prints. */
async function run(name: string, engine: Engine, given: Record<string, unknown> = {}): Promise<unknown[][]> {
  const block = blocks.find((one) => one.name === name);
  if (block === undefined) throw new Error(`no recipe ${name}`);
  const printed: unknown[][] = [];
  const all = { engine, text, console: { log: (...what: unknown[]) => printed.push(what) }, ...given };
  await new AsyncFunction(...Object.keys(all), block.text)(...Object.values(all));
  return printed;
}

describe('recipes', () => {
  test('every block of code is run', () => {
    const here = readFileSync(fileURLToPath(import.meta.url), 'utf8');
    expect(fencesIn(recipes, ['js', 'ts'])).toBe(blocks.length);
    for (const { name } of blocks) expect(here).toContain(`run('${name}'`);
  });

  test('two keys together', async () => {
    const { engine } = await newStore();
    await engine.put('account/1', '15');
    await engine.put('account/2', '1');
    await run('two-keys', engine);
    expect([text(await engine.get('account/1')), text(await engine.get('account/2'))]).toEqual(['5', '11']);
    await expect(run('two-keys', engine)).rejects.toThrow('not enough');
    expect(text(await engine.get('account/2'))).toBe('11');
    await run('one-key', engine);
    expect(JSON.parse(text(await engine.get('profile/7'))!)).toHaveProperty('seen');
    expect(text(await engine.get('visits/today'))).toBe('1');
  });

  test('feed a cache', async () => {
    const { engine } = await newStore();
    await engine.put('page/a', 'one');
    await engine.put('page/large', bytesOf(1, 4000));
    await engine.put('page/b', 'two');
    await engine.put('page/a', 'three');
    await engine.delete('page/b');
    await engine.put('other', 'x');
    const cache = new Map<string, Uint8Array>();
    const deleteRange = (): void => cache.clear();
    let position = 0;
    let left = 5;
    await run('feed-a-cache', engine, {
      cache: Object.assign(cache, { deleteRange }),
      readPosition: () => position,
      writePosition: async (seq: number) => {
        position = seq;
        if (--left === 0) await engine.close();
      },
    });
    expect(Array.from(cache, ([key, value]) => [key, value.length])).toEqual([
      ['page/a', 5],
      ['page/large', 4000],
    ]);
    expect(position).toBeGreaterThan(4);
  });

  test('versioned files', async () => {
    const { engine } = await newStore();
    const createReadStream = async function* (): AsyncGenerator<Uint8Array> {
      yield bytesOf(1, 3000);
    };
    const printed = await run('versioned-files', engine, { createReadStream });
    expect(printed).toEqual([[expect.any(Number), expect.any(Date), 3000, ['current']]]);
    for (let i = 0; i < 9; i++) await engine.space('docs').put('report.pdf', bytesOf(i, 3000));
    const [plan] = await run('retention', engine);
    expect(plan!.slice(0, 2)).toEqual([5, 4]);
    expect(engine.space('docs').policy().retention).toMatchObject({ yearly: 10 });
    expect(engine.space('sessions').policy()).toEqual({ name: 'sessions', ttlMs: 1_800_000 });
    await run('named-states', engine, { docs: engine.space('docs') });
    expect(engine.snapshots.list()).toEqual([]);
  });

  test('find duplicates, and everything with a tag', async () => {
    const { engine } = await newStore();
    const red = { tags: ['red', 'sea'], metadata: { shot: { year: 2024 } } };
    await engine.put('photos/a', bytesOf(1, 2000), red);
    await engine.put('photos/b', bytesOf(1, 2000));
    await run('define-indexes', engine);
    await engine.put('photos/c', bytesOf(1, 2000), { metadata: { shot: { year: 1999 }, mail: 'x' } });
    expect(await run('find-duplicates', engine)).toEqual([
      ['photos/b holds what photos/a holds'],
      ['photos/c holds what photos/b holds'],
    ]);
    const printed = await run('query', engine);
    expect(printed.slice(0, 2)).toEqual([['photos/a'], ['photos/a']]);
    expect(printed.at(-1)).toMatchObject([{ index: expect.any(String) }]);
  });
});
