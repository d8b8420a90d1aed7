import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { concatBytes, toHex } from '../../src/base/bytes.ts';
import { isVarveError } from '../../src/base/errors.ts';
import { Prng } from '../../src/base/prng.ts';
import { chunkKinds } from '../../src/format/chunk-ref.ts';
import { encodeListNode, type ListNode, parseListNode } from '../../src/format/list-node.ts';
import type { recordForms, ValueRecord } from '../../src/format/value-record.ts';
import { sha256 } from '../../src/kernels/hash/sha256.ts';
import { type RangeOptions, RangeReader, readRange } from '../../src/value/range-reader.ts';
import { readValue, readValueSync } from '../../src/value/value-reader.ts';
import { inlineBody, type ValueBody } from '../../src/value/value-writer.ts';
import { buildValue, FakeChunks, randomPieces, recordOf, smallLimits } from './fake-chunks.ts';

async function rangeOf(
  record: ValueRecord,
  start: number,
  end: number,
  store: FakeChunks,
  options?: RangeOptions,
): Promise<Uint8Array> {
  const parts: Uint8Array[] = [];
  for await (const part of readRange(record, start, end, store, options)) {
    parts.push(part.slice());
    part.fill(0);
  }
  return concatBytes(parts);
}

const failure = async (act: () => Promise<unknown>): Promise<unknown> =>
  act().then(
    () => undefined,
    (e: unknown) => e,
  );

const codeOf = async (act: () => Promise<unknown>): Promise<string> => {
  const error = await failure(act);
  if (error === undefined) return 'accepted';
  if (isVarveError(error)) return error.code;
  throw error;
};

/** A value of `count` chunks and what it should read as. */
async function sample(count: number, lengthMax = 20, limits = smallLimits) {
  const store = new FakeChunks();
  const pieces = randomPieces(new Prng(count + 1), count, lengthMax);
  const body = await buildValue(store, pieces, limits);
  return { store, pieces, body, record: recordOf(body), whole: concatBytes(pieces) };
}

type TreeBody = Extract<ValueBody, { form: typeof recordForms.tree }>;

describe('reading values', () => {
  test.each([0, 1, 2, 3, 16, 17, 100, 400])(
    'a value of %i chunks comes back whole, either way',
    async (count) => {
      for (const limits of [smallLimits, undefined]) {
        if (count === 400 && limits !== undefined) continue;
        const { store, record, whole } = await sample(count, 60, limits);
        expect(toHex(await readValue(record, store))).toBe(toHex(whole));
        expect(toHex(readValueSync(record, store))).toBe(toHex(whole));
        expect(toHex(await rangeOf(record, 0, whole.length, store))).toBe(toHex(whole));
      }
    },
  );

  test('an inline value is copied out of its record', async () => {
    const record = recordOf(inlineBody(Uint8Array.of(1, 2, 3, 4)));
    const store = new FakeChunks();
    for (const bytes of [await readValue(record, store), readValueSync(record, store)]) {
      expect([...bytes]).toEqual([1, 2, 3, 4]);
      bytes.fill(0);
    }
    expect([...(await rangeOf(record, 1, 3, store))]).toEqual([2, 3]);
    expect([...(await rangeOf(record, 0, 99, store))]).toEqual([1, 2, 3, 4]);
    expect(store.reads).toBe(0);
  });

  test('every range equals the slice of the value', async () => {
    const values = await Promise.all([1, 2, 10, 70].map((count) => sample(count)));
    const range = fc.tuple(fc.nat(3), fc.nat(1600), fc.nat(1600), fc.integer({ min: 1, max: 9 }));
    await fc.assert(
      fc.asyncProperty(range, async ([which, a, b, ahead]) => {
        const { store, record, whole } = values[which]!;
        const [start, end] = a <= b ? [a, b] : [b, a];
        const options = { readAheadChunks: ahead, readAheadBytes: ahead * 7 };
        const got = await rangeOf(record, start, end, store, options);
        expect(toHex(got)).toBe(toHex(whole.slice(start, end)));
      }),
      { numRuns: 300 },
    );
  });

  test('a range reads one node per level and the chunks it touches', async () => {
    const { store, record, body, whole } = await sample(100);
    const { height } = body as TreeBody;
    expect(height).toBeGreaterThanOrEqual(3);
    store.reads = 0;
    await rangeOf(record, whole.length - 1, whole.length, store);
    expect(store.reads).toBe(height + 1);
    store.reads = 0;
    expect(await rangeOf(record, 50, 50, store)).toHaveLength(0);
    expect(await rangeOf(record, whole.length, whole.length + 9, store)).toHaveLength(0);
    expect(store.reads).toBe(0);
  });

  test('the place of a chunk is passed on where the record has it', async () => {
    const direct = await sample(2);
    readValueSync(direct.record, direct.store);
    expect(direct.store.hints.map((hint) => hint?.segment)).toEqual([1, 1]);
    const tree = await sample(5);
    readValueSync(tree.record, tree.store);
    expect(tree.store.hints[0]).toMatchObject({ segment: 1 });
    expect(tree.store.hints.slice(1).every((hint) => hint === undefined)).toBe(true);
  });

  test('read-ahead stays within its bounds', async () => {
    const { store, record, whole } = await sample(200, 20, undefined);
    await rangeOf(record, 0, whole.length, store, { readAheadChunks: 5 });
    expect(store.underWayMax).toBe(5);
    store.bytesUnderWayMax = 0;
    await rangeOf(record, 0, whole.length, store, { readAheadBytes: 30 });
    expect(store.bytesUnderWayMax).toBeGreaterThan(0);
    expect(store.bytesUnderWayMax).toBeLessThanOrEqual(30);
    store.underWayMax = 0;
    await rangeOf(record, 0, whole.length, store, { readAheadBytes: 1 });
    expect(store.underWayMax).toBe(1);
  });

  test.each([
    [-1, 5],
    [0.5, 5],
    [0, Number.NaN],
    [6, 5],
    [0, 2 ** 60],
  ])('the range %s to %s is refused', async (start, end) => {
    const { store, record } = await sample(3);
    expect(await codeOf(() => rangeOf(record, start, end, store))).toBe('VARVE_INVALID_ARGUMENT');
    expect(await codeOf(() => rangeOf(record, 0, 5, store, { readAheadChunks: 0 }))).toBe(
      'VARVE_INVALID_ARGUMENT',
    );
  });

  test('an abort ends a range before the next chunk', async () => {
    const { store, record, whole } = await sample(50);
    const abort = new AbortController();
    const reader = new RangeReader(record, 0, whole.length, store, { signal: abort.signal });
    expect(await reader.next()).toBeDefined();
    abort.abort(new Error('enough'));
    const error = await failure(() => reader.next());
    expect(isVarveError(error, 'VARVE_ABORTED') && (error.cause as Error).message).toBe('enough');
  });

  test('a value too long for one array is refused, and damage is found before memory is taken', async () => {
    const { store, record } = await sample(20);
    const long = { ...record, size: 2 ** 32 };
    expect(await codeOf(() => readValue(long, store))).toBe('VARVE_INVALID_ARGUMENT');
    expect(await codeOf(async () => readValueSync(long, store))).toBe('VARVE_INVALID_ARGUMENT');
    const wrong = { ...record, size: 2 ** 32 - 1 };
    expect(await codeOf(() => readValue(wrong, store))).toBe('VARVE_CORRUPT');
    expect(await codeOf(async () => readValueSync(wrong, store))).toBe('VARVE_CORRUPT');
  });

  test('what comes before damage is handed out, then the damage, and nothing is left unhandled', async () => {
    const { store, record, pieces, whole } = await sample(30);
    const broken = toHex(sha256(pieces[20]!));
    store.chunks.delete(broken);
    const got: Uint8Array[] = [];
    const error = await failure(async () => {
      for await (const part of readRange(record, 0, whole.length, store)) got.push(part);
    });
    expect(isVarveError(error, 'VARVE_CORRUPT')).toBe(true);
    expect(toHex(concatBytes(got))).toBe(toHex(concatBytes(pieces.slice(0, 20))));
  });
});

/** Encodes a node again with some fields changed. */
function changed(
  node: ListNode,
  change: { level?: number; leaves?: number; shift?: number; drop?: boolean },
): Uint8Array {
  const count = node.count - (change.drop === true ? 1 : 0);
  const ids = new Uint8Array(count * 32);
  const ends = new Float64Array(count);
  for (let i = 0; i < count; i++) {
    ids.set(node.bytes.subarray(node.childIdAt(i), node.childIdAt(i) + 32), i * 32);
    ends[i] = node.childEnd(i) + (change.shift ?? 0);
  }
  return encodeListNode(change.level ?? node.level, ids, ends, count, change.leaves ?? node.totalLeaves);
}

describe('damage in values', () => {
  test('a node that does not fit its parent is damage', async () => {
    const changes: Parameters<typeof changed>[1][] = [
      { leaves: -1 },
      { leaves: 1 },
      { shift: 1 },
      { drop: true },
      { level: 1 },
      { level: -1 },
    ];
    const { store, record, whole } = await sample(100);
    let tried = 0;
    for (const id of store.nodes) {
      const intact = store.chunks.get(id)!;
      const node = parseListNode(intact, { file: 'node' });
      for (const change of changes) {
        const level = node.level + (change.level ?? 0);
        const leaves = node.totalLeaves + (change.leaves ?? 0);
        if (level < 0 || level > 4 || (change.drop === true && node.count === 1)) continue;
        const length =
          change.drop === true ? { leaves: node.totalLeaves - (node.level === 0 ? 1 : 0) } : { leaves };
        store.chunks.set(id, changed(node, { ...change, level, ...length }));
        for (const read of [
          () => readValue(record, store),
          async () => readValueSync(record, store),
          () => rangeOf(record, 0, whole.length, store),
        ])
          expect([change, await codeOf(read)]).toEqual([change, 'VARVE_CORRUPT']);
        tried++;
      }
      store.chunks.set(id, intact);
    }
    expect(tried).toBeGreaterThan(100);
    expect(toHex(await readValue(record, store))).toBe(toHex(whole));
  });

  test('a chunk of another length is damage, at every place', async () => {
    for (const count of [1, 2, 12]) {
      const { store, record } = await sample(count);
      for (const [id, intact] of store.chunks) {
        if (store.kinds.get(id) !== chunkKinds.data) continue;
        for (const bytes of [intact.slice(1), concatBytes([intact, Uint8Array.of(0)])]) {
          store.chunks.set(id, bytes);
          expect(await codeOf(() => readValue(record, store))).toBe('VARVE_CORRUPT');
          expect(await codeOf(async () => readValueSync(record, store))).toBe('VARVE_CORRUPT');
        }
        store.chunks.set(id, intact);
      }
    }
  });

  test('the message says where the chunk lies when the source knows', async () => {
    const { store, record, pieces } = await sample(1);
    const id = [...store.chunks.keys()][0]!;
    store.chunks.set(id, new Uint8Array(pieces[0]!.length + 1));
    const error = await failure(() => readValue(record, store));
    expect(isVarveError(error) && error.file).toBe(`chunk ${id}`);
    const placed = Object.assign(store, { placeOf: () => ({ file: 'seg/x', offset: 64 }) });
    const again = await failure(() => readValue(record, placed));
    expect(isVarveError(again) && [again.file, again.offset]).toEqual(['seg/x', 64]);
  });
});
