/**
 * Stores written by format 1.0 stay readable: test/fixtures/formats/v1 is opened as it was committed. Made
 * once by bench/tools/make-format-fixture.ts; never made anew.
 */
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { cp, mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, onTestFinished, test } from 'vitest';
import { type Engine, openEngine } from '../../src/index.ts';

const fixture = fileURLToPath(new URL('../fixtures/formats/v1/', import.meta.url));

/** One key as bench/tools/make-format-fixture.ts records it. */
interface ExpectedKey {
  space: string;
  keyHex: string;
  seq: number;
  size: number;
  chunks: number;
  digest: string;
  sha256: string;
  hasSha256: boolean;
  contentType?: string;
  tags?: string[];
  metadata?: unknown;
}

const expected: Record<string, ExpectedKey[]> = JSON.parse(
  readFileSync(join(fixture, 'expected.json'), 'utf8'),
);

/** A copy to work on, removed when the test ends. */
async function copyOf(name: string): Promise<string> {
  const base = await mkdtemp(join(tmpdir(), 'varve-format-'));
  onTestFinished(() => rm(base, { recursive: true, force: true }));
  const dir = join(base, 'store');
  await cp(join(fixture, name), dir, { recursive: true });
  // Git keeps no empty directories, and a store has some: opening makes them.
  return dir;
}

/** Everything the store holds, in the form and order of expected.json. */
async function contentsOf(engine: Engine): Promise<ExpectedKey[]> {
  const found: [string, ExpectedKey][] = [];
  for (const space of ['', ...engine.spaces.list()]) {
    const keys = space === '' ? engine : engine.space(space);
    for await (const entry of keys.scan<Uint8Array>({ stats: true })) {
      if (entry.key === undefined) throw new Error('a scan without delimiter folds nothing');
      const { stat } = entry;
      const keyHex = Buffer.from(entry.key).toString('hex');
      const sha256 = createHash('sha256').update(entry.value!).digest('hex');
      const { seq, size, chunks, digest, contentType, tags, metadata } = stat!;
      if (stat!.sha256 !== undefined) expect(stat!.sha256).toBe(sha256);
      found.push([
        `${space}/${keyHex}`,
        {
          space,
          keyHex,
          seq,
          size,
          chunks,
          digest,
          sha256,
          hasSha256: stat!.sha256 !== undefined,
          ...(contentType === undefined ? {} : { contentType }),
          ...(tags === undefined ? {} : { tags }),
          ...(metadata === undefined ? {} : { metadata: plain(metadata) }),
        },
      ]);
    }
  }
  return found.sort(([a], [b]) => (a < b ? -1 : 1)).map(([, entry]) => entry);
}

function plain(value: unknown): unknown {
  if (value instanceof Date) return { date: value.toISOString() };
  if (value instanceof Uint8Array) return { base64: Buffer.from(value).toString('base64') };
  if (Array.isArray(value)) return value.map(plain);
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([name, field]) => [name, plain(field)]));
}

async function withEngine(
  dir: string,
  readOnly: boolean,
  use: (engine: Engine) => Promise<void>,
): Promise<void> {
  const engine = await openEngine(dir, { keyEncoding: 'bytes', createIfMissing: false, readOnly });
  try {
    await use(engine);
    expect(engine.health()).toMatchObject({ ok: true, status: 'healthy', damage: [], missing: [] });
  } finally {
    await engine.close();
  }
}

describe.each(['closed', 'killed'])('a store of format 1.0, %s', (name) => {
  test('is read without being changed, and holds every key as it was written', async () => {
    const dir = await copyOf(name);
    await withEngine(dir, true, async (engine) => {
      expect(await contentsOf(engine)).toEqual(expected[name]);
    });
    const superblock = await readFile(join(dir, 'SUPER'));
    expect(superblock.equals(await readFile(join(fixture, name, 'SUPER')))).toBe(true);
  });

  test('is opened for writing, written to, closed and opened again with every key in place', async () => {
    const dir = await copyOf(name);
    await withEngine(dir, false, async (engine) => {
      expect(await contentsOf(engine)).toEqual(expected[name]);
      await engine.put('written by this version', 'and read back');
    });
    await withEngine(dir, false, async (engine) => {
      expect(Buffer.from((await engine.get('written by this version'))!).toString()).toBe('and read back');
      await engine.delete('written by this version');
      expect(await contentsOf(engine)).toEqual(expected[name]);
    });
  });

  test('is cut into the same chunks for ever: its values put again store nothing', async () => {
    const dir = await copyOf(name);
    await withEngine(dir, false, async (engine) => {
      for (const { space, keyHex, digest } of expected[name]!) {
        const keys = space === '' ? engine : engine.space(space);
        const value = await keys.get(Buffer.from(keyHex, 'hex'));
        const again = await engine.put('again', value!);
        expect({ digest: again.digest, newBytes: again.newBytes }).toEqual({ digest, newBytes: 0 });
      }
    });
  });
});

test('the stores cover inline values, lists, trees, spaces and metadata', () => {
  for (const keys of Object.values(expected)) {
    expect(new Set(keys.map(({ space }) => space))).toEqual(
      new Set(['', 'mail', 'mail/archive', 'log only']),
    );
    expect(keys.some(({ size }) => size === 0)).toBe(true);
    expect(keys.some(({ keyHex }) => keyHex === '')).toBe(true);
    expect(keys.some(({ chunks }) => chunks > 0 && chunks <= 16)).toBe(true);
    expect(keys.some(({ chunks }) => chunks > 128)).toBe(true);
    expect(keys.some(({ metadata }) => metadata !== undefined)).toBe(true);
  }
});
