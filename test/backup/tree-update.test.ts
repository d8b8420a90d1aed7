import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { KeyTreeBuilder } from '../../src/backup/key-tree-builder.ts';
import type { ChangedRow } from '../../src/backup/logged-changes.ts';
import { MemoryBlobs } from '../../src/backup/memory-blobs.ts';
import { updateTree } from '../../src/backup/tree-update.ts';
import { compareBytes, toHex } from '../../src/base/bytes.ts';
import { Prng } from '../../src/base/prng.ts';
import type { Engine } from '../../src/engine/engine.ts';
import { encodeRowPrefix } from '../../src/format/internal-key.ts';
import { keyTreeTags } from '../../src/format/key-tree-node.ts';
import { bytesOf, newStore, openOn } from '../engine/engine-kit.ts';
import { restored, rootFromScratch, rootOf, vaultOn } from './backup-kit.ts';

const record = (size: number): Uint8Array => {
  const head = size < 128 ? [size] : [(size & 127) | 128, size >> 7];
  return Uint8Array.from([1, 0, 5, 0, 0, 0, 0, 0, ...head, ...new Uint8Array(size)]);
};

type Rows = ReadonlyMap<string, { readonly seq: number; readonly size: number }>;
const prefixOf = (key: string): Uint8Array => encodeRowPrefix(0, new TextEncoder().encode(key));
const nodes = new Map<string, Uint8Array>();
const newBuilder = (): KeyTreeBuilder =>
  new KeyTreeBuilder((id, node) => {
    nodes.set(toHex(id), node);
  });

async function addSystem(builder: KeyTreeBuilder): Promise<void> {
  const key = Uint8Array.of(keyTreeTags.system, 5, 0, 1);
  await builder.add(key, 0, key.length, 1, Uint8Array.of(9), 0, 1, 0);
}

async function add(
  builder: KeyTreeBuilder,
  prefix: Uint8Array,
  seq: number,
  value: Uint8Array,
  size: number,
) {
  const key = Uint8Array.from([keyTreeTags.keys, ...prefix]);
  await builder.add(key, 0, key.length, seq, value, 0, value.length, size);
}

async function build(rows: Rows) {
  const builder = newBuilder();
  await addSystem(builder);
  const sorted = [...rows].map(([key, row]) => ({ prefix: prefixOf(key), ...row }));
  sorted.sort((a, b) => compareBytes(a.prefix, b.prefix));
  for (const { prefix, seq, size } of sorted) await add(builder, prefix, seq, record(size), size);
  return await builder.finish();
}

/** Updates the tree of `rows`; how many nodes were read. */
async function update(
  rows: Rows,
  changed: ReadonlyMap<string, { seq: number; size: number } | undefined>,
  range: { from: string; to: string; seq: number } | undefined,
) {
  const base = await build(rows);
  const builder = newBuilder();
  await addSystem(builder);
  const keys: ChangedRow[] = [...changed].map(([key, row]) => {
    return {
      prefix: prefixOf(key),
      seq: row?.seq ?? 100,
      value: row === undefined ? undefined : record(row.size),
    };
  });
  keys.sort((a, b) => compareBytes(a.prefix, b.prefix));
  const within = range && { from: prefixOf(range.from), to: prefixOf(range.to) };
  let read = 0;
  await updateTree(
    { rootNodeId: base.rootId, treeHeight: base.height },
    {
      keys: () => keys,
      hides: (prefix, seq) =>
        within !== undefined &&
        range!.seq > seq &&
        compareBytes(prefix, within.from) >= 0 &&
        compareBytes(prefix, within.to) < 0,
      deletesWithin: (after, last) =>
        within !== undefined && compareBytes(within.from, last) <= 0 && compareBytes(after, within.to) < 0,
    },
    builder,
    {
      read: async (id) => {
        read++;
        return nodes.get(toHex(id))!;
      },
      put: async (prefix, seq, value) => {
        await add(builder, prefix, seq, value, value.length - (value.length > 137 ? 10 : 9));
      },
      step: () => undefined,
    },
  );
  return { tree: await builder.finish(), read };
}

const random = (prng: Prng, n: number, seq: number): Map<string, { seq: number; size: number }> =>
  new Map(
    Array.from({ length: n }, () => [
      `key ${prng.below(5000)}`,
      { seq: seq + prng.below(9), size: prng.below(300) },
    ]),
  );

describe('a tree updated', () => {
  test('is the tree of its rows', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.integer({ min: 0, max: 3000 }),
        fc.integer({ min: 0, max: 60 }),
        fc.integer({ min: 1, max: 1e9 }),
        fc.boolean(),
        async (n, m, seed, withRange) => {
          const prng = new Prng(seed);
          const rows = random(prng, n, 1);
          const changed = new Map<string, { seq: number; size: number } | undefined>(random(prng, m, 50));
          for (const key of [...rows.keys()].slice(0, m >> 1)) changed.set(key, undefined);
          if (m > 40) changed.set('zzz', { seq: 60, size: 5 });
          const range = withRange ? { from: `key ${prng.below(5000)}`, to: 'key 4', seq: 55 } : undefined;
          const after = new Map(rows);
          for (const [key, row] of changed) {
            if (row === undefined) after.delete(key);
            else after.set(key, row);
          }
          if (range !== undefined)
            for (const [key, { seq }] of after)
              if (seq < range.seq && key >= range.from && key < range.to) after.delete(key);
          const { tree } = await update(rows, changed, range);
          const expected = await build(after);
          expect({ ...tree, rootId: toHex(tree.rootId) }).toEqual({
            ...expected,
            rootId: toHex(expected.rootId),
          });
        },
      ),
      { numRuns: 20 },
    );
  }, 30_000);

  test('few changes read few nodes', async () => {
    const prng = new Prng(5);
    const rows = new Map(
      Array.from({ length: 20_000 }, (_, i) => [`key ${i}`, { seq: 1, size: prng.below(200) }]),
    );
    const before = nodes.size;
    await build(rows);
    const all = nodes.size - before;
    expect(all).toBeGreaterThan(100);
    expect((await update(rows, new Map(), undefined)).read).toBeLessThan(6);
    const one = await update(rows, new Map([['key 77', { seq: 9, size: 3 }]]), undefined);
    expect(one.read).toBeLessThan(12);
  });
});

describe('an incremental backup', () => {
  test.each([1, 2])('has the root from scratch, whatever was changed (%i)', async (seed) => {
    const prng = new Prng(seed);
    const { disk, engine: first, clock } = await newStore();
    let engine: Engine = first;
    const vault = await vaultOn(new MemoryBlobs(), clock);
    for (let i = 0; i < 500; i++) await engine.put(`k${i}`, bytesOf(i, prng.below(60)));
    await engine.space('s').put('x', 'y');
    for (let round = 0; round < 6; round++) {
      for (let i = 0; i < prng.below(30); i++) {
        const key = `k${prng.below(550)}`;
        const target = prng.below(5) === 0 ? engine.space(`s${prng.below(2)}`) : engine;
        const which = prng.below(8);
        if (which < 4) await target.put(key, bytesOf(prng.below(1e6), [5, 50, 4000, 80_000][prng.below(4)]!));
        else if (which < 6) await target.delete(key);
        else if (which === 6) await target.deleteRange({ prefix: `k1${prng.below(9)}` });
        else await engine.put(key, 'short', { ttlMs: 1 + prng.below(20) });
      }
      if (prng.below(4) === 0) await engine.spaces.drop('s1');
      await clock.advance(10);
      if (prng.below(3) === 0) await engine.flush();
      if (prng.below(4) === 0) await engine.compact();
      if (prng.below(4) === 0) {
        await engine.close();
        engine = await openOn(disk, {}, undefined, clock);
      }
      const report = await engine.backup(vault, {
        mode: prng.below(4) === 0 ? 'differential' : 'incremental',
      });
      expect(report.ok).toBe(true);
      expect(await rootOf(vault), `round ${round}`).toBe(await rootFromScratch(engine));
    }
    expect((await restored(vault)).report).toMatchObject({ ok: true, proved: true });
    expect((await vault.verify()).ok).toBe(true);
    await engine.close();
  });

  test('reads all rows where the backup it was to build on is damaged', async () => {
    const { engine } = await newStore();
    const store = new MemoryBlobs();
    const vault = await vaultOn(store);
    for (let i = 0; i < 50; i++) await engine.put(`k${i}`, bytesOf(i, 30));
    await engine.backup(vault);
    const pack = store.names().find((name) => name.startsWith('packs/'))!;
    const bytes = await store.get(pack, 1 << 30);
    bytes[200]! ^= 1;
    await store.put(pack, bytes);
    await engine.put('new', 'x');
    const report = await engine.backup(vault);
    expect(report.damage[0]).toMatchObject({ kind: 'VARVE_CORRUPT', file: pack });
    // What was damaged was sent again.
    expect((await restored(vault)).report).toMatchObject({ ok: true, proved: true });
    expect(await rootOf(vault)).toBe(await rootFromScratch(engine));
    await engine.close();
  });

  test('where the log is not kept reads all rows, with the same root', async () => {
    const { engine } = await newStore({ changesRetention: { bytes: 0 } });
    const vault = await vaultOn();
    for (let i = 0; i < 50; i++) await engine.put(`k${i}`, bytesOf(i, 3000));
    await engine.backup(vault);
    for (let i = 0; i < 3; i++) {
      await engine.put(`k${i}`, bytesOf(100 + i, 3000));
      await engine.flush();
    }
    await engine.backup(vault);
    expect(await rootOf(vault)).toBe(await rootFromScratch(engine));
    await engine.close();
  });
});
