import fc from 'fast-check';
import { expect, test } from 'vitest';
import { chunkKinds } from '../../src/format/chunk-ref.ts';
import { parseListNode } from '../../src/format/list-node.ts';
import { silentOps } from '../../src/format/log-ops.ts';
import { bytesOf } from '../engine/engine-kit.ts';
import { prefixOf, putValue, replayed, stateOf, visit, type WriteParts, writeParts } from './write-kit.ts';

/** References as they must be: counted from the rows' records and from every list node in the chunk tree. */
async function countedRefs(parts: WriteParts): Promise<Map<string, number>> {
  const refs = new Map<string, number>();
  const add = (id: Uint8Array): void => {
    const name = Buffer.from(id).toString('hex');
    refs.set(name, (refs.get(name) ?? 0) + 1);
  };
  const { visitRecordRefs } = await import('../../src/format/value-record.ts');
  for (const frame of parts.sink.frames) {
    visit(frame, {
      ...silentOps,
      put: (_tree, _seq, buf, _kf, _kt, from, to) =>
        visitRecordRefs(buf, from, to, (at) => add(buf.subarray(at, at + 32))),
    });
  }
  const nodes: { id: Uint8Array; segment: number; off8: number; storedLen: number }[] = [];
  await parts.forest.chunks.scanAll(({ idBytes, idAt, columns }) => {
    if (columns.kind !== chunkKinds.list) return;
    const { segment, off8, storedLen } = columns;
    nodes.push({ id: idBytes.slice(idAt, idAt + 32), segment, off8, storedLen });
  });
  for (const { id, segment, off8, storedLen } of nodes) {
    const bytes = await parts.segments.readFrame(segment, off8, storedLen, id);
    const node = parseListNode(bytes!, { file: 'node' });
    for (let i = 0; i < node.count; i++) add(bytes!.subarray(node.childIdAt(i), node.childIdAt(i) + 32));
  }
  return refs;
}

async function expectExactRefs(parts: WriteParts): Promise<void> {
  const counted = await countedRefs(parts);
  const { chunks } = await stateOf(parts.forest);
  for (const line of chunks) {
    const id = line.slice(0, 64);
    expect(`${id} ${line.slice(line.lastIndexOf('refs '))}`).toBe(`${id} refs ${counted.get(id) ?? 0}`);
  }
  expect(chunks.length).toBeGreaterThanOrEqual(counted.size);
}

test('replaying the frames gives the same rows and the same references', async () => {
  const call = fc.record({
    key: fc.constantFrom('a', 'b', 'c'),
    seed: fc.nat(3),
    length: fc.constantFrom(0, 10, 100, 5000, 60_000, 150_000),
    remove: fc.boolean(),
  });
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.array(call, { minLength: 1, maxLength: 3 }), { maxLength: 6 }),
      async (rounds) => {
        const parts = await writeParts();
        for (const round of rounds) {
          await Promise.all(
            round.map(async ({ key, seed, length, remove }) => {
              if (!remove) return await putValue(parts, key, bytesOf(seed, length), 9999);
              await parts.txn.commit([{ kind: 'delete', prefix: prefixOf(key) }], [], [])?.done;
            }),
          );
        }
        await parts.log.drained();
        expect(parts.failures).toEqual([]);
        expect(await stateOf(await replayed(parts))).toEqual(await stateOf(parts.forest));
        await expectExactRefs(parts);
      },
    ),
    { numRuns: 12 },
  );
});

test('two long puts of the same bytes at once count every child once, staged frames and all', async () => {
  const parts = await writeParts(1024 * 1024);
  const value = bytesOf(7, 10 * 1024 * 1024);
  const [one, two] = await Promise.all([
    putValue(parts, 'one', value, 64 * 1024),
    putValue(parts, 'two', value, 100_000),
  ]);
  expect(parts.failures).toEqual([]);
  expect(Buffer.compare(one.digest, two.digest)).toBe(0);
  expect(parts.sink.frames.length).toBeGreaterThan(3);
  expect(one.newChunks + two.newChunks).toBe((await stateOf(parts.forest)).chunks.length);
  expect(await stateOf(await replayed(parts))).toEqual(await stateOf(parts.forest));
  await expectExactRefs(parts);
  expect(parts.presence.size).toBe(0);
});
