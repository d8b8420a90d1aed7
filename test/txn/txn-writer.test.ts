import { expect, test } from 'vitest';
import { concatBytes, emptyBytes, toHex } from '../../src/base/bytes.ts';
import { spaceKey } from '../../src/format/system-rows.ts';
import { OK } from '../../src/tree/cursor.ts';
import { RowRef } from '../../src/tree/row-ref.ts';
import { inlineBody } from '../../src/value/value-writer.ts';
import { bytesOf, codeOf, failure } from '../engine/engine-kit.ts';
import { prefixOf, replayed, stateOf, type WriteParts, writeParts } from './write-kit.ts';

const put = (key: string, value: Uint8Array = emptyBytes, ifSeq?: number) =>
  ({ kind: 'put', prefix: prefixOf(key), body: inlineBody(value), metadata: undefined, ifSeq }) as const;
const del = (key: string, ifSeq?: number) => ({ kind: 'delete', prefix: prefixOf(key), ifSeq }) as const;

async function newestSeq({ forest }: WriteParts, key: string): Promise<number | undefined> {
  const row = new RowRef();
  const prefix = prefixOf(key);
  const step = await forest.keys.findAsync(prefix, 0, prefix.length, Number.MAX_SAFE_INTEGER, row);
  return step === OK ? row.seq : undefined;
}

test('a condition is decided on the newest sequenced row, not on what readers see', async () => {
  const parts = await writeParts();
  const first = parts.txn.commit([put('k', emptyBytes, 0)], [], [])!;
  expect(parts.log.visibleSeq).toBe(0);
  const error = await failure(() => parts.txn.commit([put('k', emptyBytes, 0)], [], []));
  expect([error.code, error.expected, error.actual]).toEqual(['VARVE_CONFLICT', 0, first.seq]);
  const second = parts.txn.commit([put('k', emptyBytes, first.seq)], [], [])!;
  const third = parts.txn.commit([del('k', second.seq)], [], [])!;
  expect(third.deleted).toBe(1);
  expect(await codeOf(() => parts.txn.commit([put('k', emptyBytes, third.seq)], [], []))).toBe(
    'VARVE_CONFLICT',
  );
  const fourth = parts.txn.commit([put('k', emptyBytes, 0)], [], [])!;
  await fourth.done;
  expect(parts.log.visibleSeq).toBe(fourth.seq);
});

test('what was found for a batch serves its next commit, and no other', async () => {
  const parts = await writeParts();
  const ops = [put('a', emptyBytes, 0), put('b', emptyBytes, 0)];
  expect(parts.txn.areWarm(ops)).toBe(true);
  expect(parts.txn.commit(ops, [], [])!.seq).toBe(1);
  expect(await codeOf(() => parts.txn.commit(ops, [], []))).toBe('VARVE_CONFLICT');
  const more = [put('a', bytesOf(1, 9), 1), del('b', 1)];
  expect(parts.txn.areWarm(more)).toBe(true);
  expect(parts.txn.commit([put('a', emptyBytes, 1)], [], [])!.seq).toBe(2);
  expect(await codeOf(() => parts.txn.commit(more, [], []))).toBe('VARVE_CONFLICT');
  expect(parts.txn.areWarm([del('b', 1)])).toBe(true);
  const last = parts.txn.commit([del('b', 1)], [], [])!;
  expect([last.seq, last.deleted]).toEqual([3, 1]);
  await last.done;
  expect(await stateOf(await replayed(parts))).toEqual(await stateOf(parts.forest));
});

test('a transaction that is refused leaves no byte and takes no number', async () => {
  const parts = await writeParts();
  parts.txn.commit([put('before', bytesOf(1, 20))], [], []);
  const pending = parts.log.pendingBytes;
  expect(await codeOf(() => parts.txn.commit([put('a'), put('b', emptyBytes, 99)], [], []))).toBe(
    'VARVE_CONFLICT',
  );
  const huge = inlineBody(new Uint8Array(33 * 1024 * 1024));
  expect(await codeOf(() => parts.txn.commit([put('a'), { ...put('c'), body: huge }], [], []))).toBe(
    'VARVE_INVALID_ARGUMENT',
  );
  expect([parts.log.lastSeq, await newestSeq(parts, 'a')]).toEqual([1, undefined]);
  const after = parts.txn.commit([put('after')], [], [])!;
  expect(after.seq).toBe(2);
  await after.done;
  expect(parts.log.pendingBytes).toBeLessThanOrEqual(pending);
  expect(await stateOf(await replayed(parts))).toEqual(await stateOf(parts.forest));
});

test('deletes of absent keys are nothing to do, unless something else goes with them', async () => {
  const parts = await writeParts();
  expect(parts.txn.commit([del('a'), del('b')], [], [])).toBeUndefined();
  expect(parts.log.lastSeq).toBe(0);
  const both = parts.txn.commit([del('a'), put('b')], [], [])!;
  expect([both.seq, both.deleted]).toEqual([1, 0]);
  const sys = parts.txn.commit([del('a')], [], [{ key: spaceKey('x'), value: Uint8Array.of(1) }])!;
  await sys.done;
  expect(await newestSeq(parts, 'a')).toBeUndefined();
  expect(await stateOf(await replayed(parts))).toEqual(await stateOf(parts.forest));
});

test('memory that could not take what the log has stops the log', async () => {
  const parts = await writeParts();
  parts.forest.keys.insert = () => {
    throw new Error('no memory');
  };
  expect(() => parts.txn.commit([put('a')], [], [])).toThrow('no memory');
  expect(parts.failures).toHaveLength(1);
  expect(await codeOf(() => parts.txn.commit([put('b')], [], []))).toBe('VARVE_POISONED');
});

test('the short way of an inline put writes what the long one writes', async () => {
  const short = await writeParts();
  const long = await writeParts();
  const waiter = { done: () => undefined, failed: () => undefined };
  for (let i = 0; i < 60; i++) {
    const key = `k${(i * 7) % 20}`;
    const value = bytesOf(i, (i * 37) % 300);
    const prefix = prefixOf(key);
    expect(short.txn.putInline(prefix, prefix.length, value, waiter)).toBe(
      long.txn.commit([put(key, value)], [], [])!.seq,
    );
    for (const { txn, clock, log } of [short, long]) {
      if (i % 9 === 0) await txn.commit([del(key)], [], [])!.done;
      await log.drained();
      clock.ms += i % 3 === 0 ? 500 : 0;
    }
  }
  const bytesOfFrames = ({ sink }: WriteParts) =>
    toHex(concatBytes(sink.frames.map((frame) => frame.payload)));
  expect(bytesOfFrames(short)).toEqual(bytesOfFrames(long));
  expect(await stateOf(short.forest)).toEqual(await stateOf(long.forest));
  expect(await stateOf(await replayed(short))).toEqual(await stateOf(short.forest));
});
