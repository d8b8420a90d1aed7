import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { ChunkTable, RowSet } from '../../src/backup/chunk-table.ts';
import { type KeyTree, KeyTreeBuilder } from '../../src/backup/key-tree-builder.ts';
import { compareBytes, toHex } from '../../src/base/bytes.ts';
import { Prng } from '../../src/base/prng.ts';
import { encodeRowPrefix } from '../../src/format/internal-key.ts';
import { KeyTreeNode, keyTreeNodeBytesMax } from '../../src/format/key-tree-node.ts';

const record = (size: number): Uint8Array => {
  const out = new Uint8Array(10 + size);
  out.set([1, 0, 5, 0, 0, 0, 0, 0, (size & 127) | 128, size >> 7]);
  return size < 128 ? Uint8Array.from([1, 0, 5, 0, 0, 0, 0, 0, size, ...new Uint8Array(size)]) : out;
};

interface Built extends KeyTree {
  readonly nodes: Map<string, Uint8Array>;
  readonly order: string[];
}

async function build(rows: ReadonlyMap<string, number>): Promise<Built> {
  const nodes = new Map<string, Uint8Array>();
  const order: string[] = [];
  const builder = new KeyTreeBuilder((id, node) => {
    nodes.set(toHex(id), node);
    order.push(toHex(id));
  });
  const keys = [...rows.keys()].map(
    (key) => [encodeRowPrefix(0, new TextEncoder().encode(key)), key] as const,
  );
  keys.sort(([a], [b]) => compareBytes(a, b));
  for (const [prefix, key] of keys) {
    const bytes = Uint8Array.from([1, ...prefix]);
    const value = record(rows.get(key)!);
    await builder.add(bytes, 0, bytes.length, 7, value, 0, value.length, rows.get(key)!);
  }
  return { ...(await builder.finish()), nodes, order };
}

const random = (seed: number, n: number): Map<string, number> => {
  const prng = new Prng(seed);
  return new Map(Array.from({ length: n }, (_, i) => [`key ${i} ${prng.below(1e6)}`, prng.below(300)]));
};

describe('key tree', () => {
  test('a tree does not depend on the way its rows came to be', async () => {
    await fc.assert(
      fc.asyncProperty(fc.integer({ min: 0, max: 600 }), fc.integer(), async (n, seed) => {
        const rows = random(seed, n);
        const turned = new Map([...rows].reverse());
        const [a, b] = [await build(rows), await build(turned)];
        expect(toHex(a.rootId)).toBe(toHex(b.rootId));
        expect(a.keys).toBe(rows.size);
        expect(a.height === 0).toBe(rows.size === 0);
      }),
      { numRuns: 25 },
    );
  });

  test('a change of one row changes a few nodes on each level', async () => {
    const rows = random(1, 6000);
    const before = await build(rows);
    expect(before.nodes.size).toBeGreaterThan(30);
    const prng = new Prng(2);
    for (let i = 0; i < 10; i++) {
      const changed = new Map(rows);
      const keys = [...rows.keys()];
      const key = prng.pick(keys);
      if (prng.chance(0.3)) changed.delete(key);
      else if (prng.chance(0.5)) changed.set(`${key}x`, 50);
      else changed.set(key, rows.get(key)! ^ 1);
      const after = await build(changed);
      const fresh = [...after.nodes.keys()].filter((id) => !before.nodes.has(id));
      expect(fresh.length).toBeLessThanOrEqual(3 * after.height + 6);
    }
  });

  test('children come before their parents, nodes keep their bounds, and totals add up', async () => {
    const { nodes, order, rootId, bytes } = await build(random(3, 4000));
    expect(order.at(-1)).toBe(toHex(rootId));
    const seen = new Set<string>();
    for (const id of order) {
      const node = new KeyTreeNode(nodes.get(id)!, { file: 'node' });
      expect(nodes.get(id)!.length).toBeLessThanOrEqual(keyTreeNodeBytesMax);
      while (node.next())
        if (node.level > 0) expect(seen.has(toHex(node.buf.subarray(node.idAt, node.idAt + 32)))).toBe(true);
      seen.add(id);
    }
    const root = new KeyTreeNode(nodes.get(toHex(rootId))!, { file: 'root' });
    expect([root.rows, root.bytes]).toEqual([4000, bytes]);
  });

  test('the longest keys and records make trees that end', async () => {
    const rows = new Map(Array.from({ length: 40 }, (_, i) => [`${i}`.padStart(65_000, 'x'), 10] as const));
    const { height, nodes } = await build(rows);
    expect(height).toBeGreaterThan(3);
    expect(height).toBeLessThan(12);
    expect(nodes.size).toBeGreaterThan(40);
  });
});

describe('chunks of a vault in memory', () => {
  test('the table equals a map', () => {
    fc.assert(
      fc.property(fc.integer(), fc.integer({ min: 0, max: 900 }), (seed, n) => {
        const prng = new Prng(seed);
        const table = new ChunkTable();
        const model = new Map<string, number>();
        for (let i = 0; i < n; i++) {
          const id = prng.bytes(32);
          // Many share the bytes that are hashed first.
          if (prng.chance(0.1)) id.fill(1, 0, 31);
          const row = table.add(id, 0, i, i, i, i, 0, 0);
          expect(row >= 0).toBe(!model.has(toHex(id)));
          if (row >= 0) model.set(toHex(id), i);
        }
        expect(table.count).toBe(model.size);
        for (let row = 0; row < table.count; row++) {
          expect(table.pack[row]).toBe(model.get(toHex(table.idOf(row))));
          expect(table.find(table.idOf(row))).toBe(row);
        }
        expect(table.has(new Uint8Array(32))).toBe(false);
        const rows = table.sort(Uint32Array.from({ length: table.count }, (_, i) => i));
        for (let i = 1; i < rows.length; i++) expect(table.compare(rows[i - 1]!, rows[i]!)).toBeLessThan(0);
      }),
      { numRuns: 20 },
    );
  });

  test('a set of rows equals a set', () => {
    const set = new RowSet(10);
    const model = new Set<number>();
    const prng = new Prng(1);
    for (let i = 0; i < 3000; i++) {
      const row = prng.below(5000);
      expect(set.add(row)).toBe(!model.has(row));
      model.add(row);
    }
    expect(set.count).toBe(model.size);
    for (let row = 0; row < 5000; row++) expect(set.has(row)).toBe(model.has(row));
  });
});
