import { describe, expect, test } from 'vitest';
import { concatBytes, toHex } from '../../src/base/bytes.ts';
import { isVarveError } from '../../src/base/errors.ts';
import { directChunksMax, listNodeEntriesMax, listNodeEntriesMin } from '../../src/base/limits.ts';
import { Prng } from '../../src/base/prng.ts';
import type { ChunkRef } from '../../src/format/chunk-ref.ts';
import { encodeListNode, parseListNode } from '../../src/format/list-node.ts';
import { recordForms } from '../../src/format/value-record.ts';
import { sha256 } from '../../src/kernels/hash/sha256.ts';
import { inlineBody, recordDigest, ValueBuilder } from '../../src/value/value-writer.ts';
import { buildValue, FakeChunks, randomPieces, recordOf, smallLimits } from './fake-chunks.ts';

const place = { file: 'node' };

/** Adds `count` one-byte chunks whose ids come from `idOf`. */
async function synthetic(store: FakeChunks, count: number, idOf: (i: number) => Uint8Array) {
  const builder = new ValueBuilder(store);
  for (let i = 0; i < count; i++) {
    const more = builder.addChunk(idOf(i), 0, 1, i, 1, 1);
    if (more !== undefined) await more;
  }
  return builder.finish();
}

const plainId = (i: number): Uint8Array => {
  const id = sha256(Uint8Array.of(i, i >> 8, i >> 16));
  id[28]! |= 1;
  return id;
};
const markedId = (i: number): Uint8Array => {
  const id = sha256(Uint8Array.of(i, i >> 8, i >> 16));
  id.fill(0, 28);
  return id;
};

describe('value bodies', () => {
  test('a value without chunks is empty and inline', async () => {
    const body = await buildValue(new FakeChunks(), []);
    expect(body).toMatchObject({ form: recordForms.inline, size: 0, chunks: 0 });
    expect(toHex(body.digest)).toBe('e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855');
    expect(toHex(recordDigest(recordOf(body)))).toBe(toHex(body.digest));
  });

  test('the digest of an inline value and of a single chunk is the SHA-256 of the bytes', async () => {
    const bytes = Uint8Array.of(1, 2, 3);
    const one = await buildValue(new FakeChunks(), [bytes]);
    expect(one).toMatchObject({ form: recordForms.list, size: 3, chunks: 1 });
    expect(toHex(one.digest)).toBe(toHex(sha256(bytes)));
    expect(toHex(inlineBody(bytes).digest)).toBe(toHex(one.digest));
    expect(toHex(recordDigest(recordOf(one)))).toBe(toHex(one.digest));
    expect(toHex(recordDigest(recordOf(inlineBody(bytes))))).toBe(toHex(one.digest));
  });

  test('sixteen chunks are listed, seventeen make a tree, the digest is a list node id', async () => {
    for (const count of [2, directChunksMax, directChunksMax + 1]) {
      const store = new FakeChunks();
      const pieces = randomPieces(new Prng(count), count, 50);
      const body = await buildValue(store, pieces);
      const ids = concatBytes(pieces.map((piece) => sha256(piece)));
      let end = 0;
      const ends = Float64Array.from(pieces, (piece) => (end += piece.length));
      const node = encodeListNode(0, ids, ends, count, count);
      expect(toHex(body.digest)).toBe(toHex(sha256(node)));
      expect(body).toMatchObject({ size: end, chunks: count });
      expect(toHex(recordDigest(recordOf(body)))).toBe(toHex(body.digest));
      if (count <= directChunksMax) {
        expect(body.form).toBe(recordForms.list);
        expect(store.nodes).toEqual([]);
      } else {
        expect(body).toMatchObject({ form: recordForms.tree, height: 1, leafCount: count });
        expect(store.nodes).toEqual([toHex(body.digest)]);
      }
    }
  });

  test('nodes end at the fewest entries where every id is marked and at the most where none is', async () => {
    for (const [idOf, size] of [
      [markedId, listNodeEntriesMin],
      [plainId, listNodeEntriesMax],
    ] as const) {
      const exact = new FakeChunks();
      expect(await synthetic(exact, size, idOf)).toMatchObject({ height: 1, leafCount: size });
      expect(exact.nodes).toHaveLength(1);
      const more = new FakeChunks();
      const body = await synthetic(more, 2 * size + 1, idOf);
      expect(body).toMatchObject({ height: 2, leafCount: 2 * size + 1, size: 2 * size + 1 });
      const counts = more.nodes.map((id) => parseListNode(more.chunks.get(id)!, place).count);
      expect(counts).toEqual([size, size, 1, 3]);
    }
  });

  test('a tree has the height its nodes need and no more', async () => {
    for (let count = 3; count < 80; count++) {
      const store = new FakeChunks();
      const body = await buildValue(store, randomPieces(new Prng(count), count, 9), smallLimits);
      if (body.form !== recordForms.tree) throw new Error('not a tree');
      const nodes = store.nodes.map((id) => parseListNode(store.chunks.get(id)!, place));
      const perLevel = Array.from({ length: body.height }, (_, level) =>
        nodes.filter((node) => node.level === level),
      );
      expect(perLevel.at(-1)).toHaveLength(1);
      for (const [level, members] of perLevel.entries()) {
        if (level < body.height - 1) expect(members.length).toBeGreaterThan(1);
        const children = members.reduce((sum, node) => sum + node.count, 0);
        expect(children).toBe(level === 0 ? count : perLevel[level - 1]!.length);
        for (const node of members) expect(node.count).toBeLessThanOrEqual(smallLimits.max);
      }
      const root = parseListNode(store.chunks.get(toHex(body.root.id))!, place);
      expect(root).toMatchObject({ totalLeaves: count, totalBytes: body.size, level: body.height - 1 });
    }
  });

  test('a sink that answers later gives the same tree', async () => {
    const pieces = randomPieces(new Prng(5), 60, 20);
    const now = new FakeChunks();
    const later = new FakeChunks();
    const storeNode = later.storeNode.bind(later);
    const slow = later as { storeNode(bytes: Uint8Array): ChunkRef | Promise<ChunkRef> };
    slow.storeNode = async (bytes) => {
      await Promise.resolve();
      return storeNode(bytes);
    };
    const a = await buildValue(now, pieces, smallLimits);
    const b = await buildValue(later, pieces, smallLimits);
    expect(toHex(b.digest)).toBe(toHex(a.digest));
    expect(later.nodes).toEqual(now.nodes);
  });

  test('inserting chunks into a long list changes a bounded number of nodes per level', async () => {
    const count = 60_000;
    const build = async (ids: Uint8Array[]): Promise<FakeChunks> => {
      const store = new FakeChunks();
      await synthetic(store, ids.length, (i) => ids[i]!);
      return store;
    };
    const prng = new Prng(11);
    const ids = Array.from({ length: count }, () => prng.bytes(32));
    const before = await build(ids);
    ids.splice(count / 2, 1, prng.bytes(32), prng.bytes(32), prng.bytes(32));
    const after = await build(ids);
    const old = new Set(before.nodes);
    const fresh = after.nodes.filter((id) => !old.has(id));
    expect(before.nodes.length).toBeGreaterThan(60);
    const perLevel = [0, 0, 0, 0, 0];
    for (const id of fresh) perLevel[parseListNode(after.chunks.get(id)!, place).level]!++;
    for (const changed of perLevel) expect(changed).toBeLessThanOrEqual(4);
  });

  test('ids are copied, so the caller may reuse the buffer at once', async () => {
    const store = new FakeChunks();
    const builder = new ValueBuilder(store, smallLimits);
    const scratch = new Uint8Array(40);
    const pieces = randomPieces(new Prng(3), 30, 10);
    for (const piece of pieces) {
      scratch.set(sha256(piece), 5);
      const more = builder.addChunk(scratch, 5, 1, 1, piece.length, piece.length);
      scratch.fill(0);
      if (more !== undefined) await more;
    }
    const reference = await buildValue(new FakeChunks(), pieces, smallLimits);
    expect(toHex((await builder.finish()).digest)).toBe(toHex(reference.digest));
  });

  test('a value that outgrows five levels is refused', async () => {
    const tiny = { direct: 1, min: 2, max: 2, modulus: 1 };
    const build = (count: number) => buildValue(new FakeChunks(), randomPieces(new Prng(1), count, 9), tiny);
    expect(await build(32)).toMatchObject({ height: 5 });
    const error = await build(33).catch((e: unknown) => e);
    expect(isVarveError(error, 'VARVE_INVALID_ARGUMENT')).toBe(true);
  });

  test('a failing sink fails the call that stored the node', async () => {
    const builder = new ValueBuilder({ storeNode: () => Promise.reject(new Error('disk')) });
    const add = async (): Promise<void> => {
      for (let i = 0; i < 300; i++) await builder.addChunk(markedId(i), 0, 1, i, 1, 1);
    };
    await expect(add()).rejects.toThrow('disk');
  });
});
