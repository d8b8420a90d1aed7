import { expect, test } from 'vitest';
import { concatBytes, toHex } from '../../src/base/bytes.ts';
import { Prng } from '../../src/base/prng.ts';
import { WholeIngest } from '../../src/value/whole-ingest.ts';
import { bytesOf } from '../engine/engine-kit.ts';
import { stateOf, type WriteParts, writeParts } from '../txn/write-kit.ts';

/** Values that repeat each other and themselves. */
function repeatingValue(prng: Prng, bytesMax: number): Uint8Array {
  const block = bytesOf(prng.below(4), 64 + prng.below(300));
  const repeated = Array.from({ length: 1 + prng.below(3) }, () => block);
  return concatBytes(repeated).subarray(0, bytesMax);
}

async function lanesReady({ lanes }: WriteParts): Promise<void> {
  const lane = lanes.acquireData();
  await lanes.ready(lane);
  lanes.releaseData(lane);
}

test('a whole value is stored like the same value as a stream', async () => {
  const whole = await writeParts(1 << 20);
  const streamed = await writeParts(1 << 20);
  await lanesReady(whole);
  await lanesReady(streamed);
  const ingest = new WholeIngest(whole.store, whole.chunkers);
  const prng = new Prng(5);
  for (let i = 0; i < 60; i++) {
    const value = repeatingValue(prng, ingest.bytesMax);
    const taken = ingest.take(value)!;
    const stream = streamed.ingest();
    await stream.write(value);
    const ended = await stream.finish();
    expect(taken.body).toEqual(ended.body);
    expect([taken.newChunks, taken.newBytes]).toEqual([ended.newChunks, ended.newBytes]);
    expect(taken.named.births.count).toBe(ended.named.births.count);
    expect(taken.named.files.size).toBe(ended.named.files.size);
    for (const [parts, { body, named }] of [
      [whole, taken],
      [streamed, ended],
    ] as const) {
      const prefix = Uint8Array.of(0, 0, 0, 0, 65 + i, 0, 1);
      await parts.txn.commit([{ kind: 'put', prefix, body, metadata: undefined }], [named], [])!.done;
    }
    ended.release();
  }
  expect((await stateOf(whole.forest)).chunks).toEqual((await stateOf(streamed.forest)).chunks);
});

test('nothing is stored when a lane has no segment to append to', async () => {
  const parts = await writeParts(1 << 20);
  const ingest = new WholeIngest(parts.store, parts.chunkers);
  const value = bytesOf(1, 500);
  expect(ingest.take(value)).toBeUndefined();
  expect(parts.store.counters.stored).toBe(0);
  await lanesReady(parts);
  const { body } = ingest.take(value)!;
  expect([body.chunks, body.size, toHex(body.digest).length]).toEqual([parts.store.counters.stored, 500, 64]);
});

test('a value that is there needs no lane', async () => {
  const parts = await writeParts(1 << 20);
  const value = bytesOf(1, 500);
  await lanesReady(parts);
  const ingest = new WholeIngest(parts.store, parts.chunkers);
  const { body, named } = ingest.take(value)!;
  const prefix = Uint8Array.of(0, 0, 0, 0, 65, 0, 1);
  await parts.txn.commit([{ kind: 'put', prefix, body, metadata: undefined }], [named], [])!.done;
  await parts.lanes.sealAll();
  const again = ingest.take(value)!;
  expect([again.newChunks, again.named.births.count, again.named.files.size]).toEqual([0, 0, 0]);
  expect(again.body).toEqual(body);
  expect(ingest.take(bytesOf(2, 500))).toBeUndefined();
});

test('a whole value that waits claims what it relies on', async () => {
  const parts = await writeParts(1 << 20);
  await lanesReady(parts);
  const { guard } = parts.store;
  const ingest = new WholeIngest(parts.store, parts.chunkers);
  const value = bytesOf(1, 500);
  const first = guard.begin();
  const taken = ingest.take(value, first)!;
  const segment = parts.lanes.open()[0]!.no;
  expect(guard.isPinned(segment)).toBe(true);
  // The second one finds the frames of the first: no entry names them yet.
  const second = guard.begin();
  const again = ingest.take(value, second)!;
  expect(again.newChunks).toBe(0);
  const prefix = Uint8Array.of(0, 0, 0, 0, 65, 0, 1);
  await parts.txn.commit([{ kind: 'put', prefix, body: taken.body, metadata: undefined }], [taken.named], [])!
    .done;
  first.release();
  expect(guard.isPinned(segment)).toBe(true);
  second.release();
  expect(guard.isPinned(segment)).toBe(false);
  // What is in the tree by now is claimed by its id.
  const third = guard.begin();
  ingest.take(value, third);
  const id = taken.body.digest;
  expect([guard.isPinned(segment), guard.isHeld(id, 0)]).toEqual([false, taken.body.chunks === 1]);
  const short = bytesOf(1, 40);
  const { body } = ingest.take(short, third)!;
  expect([guard.isPinned(segment), guard.isHeld(body.digest, 0)]).toEqual([true, false]);
  third.release();
  expect(guard.isPinned(segment)).toBe(false);
});
