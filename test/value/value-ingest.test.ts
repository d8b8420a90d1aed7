import { describe, expect, test } from 'vitest';
import { Prng } from '../../src/base/prng.ts';
import { deferred } from '../../src/base/sync.ts';
import { NodePresence } from '../../src/chunk/node-presence.ts';
import { bytesOf } from '../engine/engine-kit.ts';
import { putValue, stateOf, writeParts } from '../txn/write-kit.ts';

test('the chunks do not depend on how the bytes were split into pieces', async () => {
  const value = bytesOf(1, 100_000);
  const states = new Set<string>();
  for (const piece of [1, 777, 2048, 50_000, 100_000]) {
    const parts = await writeParts();
    await putValue(
      parts,
      'k',
      value.subarray(0, piece === 1 ? 100_000 : undefined),
      piece === 1 ? 13 : piece,
    );
    states.add((await stateOf(parts.forest)).chunks.join('\n'));
  }
  expect(states.size).toBe(1);
});

test('every frame a commit names lies in a file of its frame, or was named before', async () => {
  const parts = await writeParts(8192);
  const prng = new Prng(3);
  for (let i = 0; i < 10; i++) {
    await Promise.all(
      [0, 1, 2].map((n) => putValue(parts, `k${i}${n}`, bytesOf(prng.below(6), 20_000), 5000)),
    );
    // What is acknowledged survives the loss of everything that was not synced.
    const crashed = parts.fs.crash('none');
    const { chunks } = await stateOf(parts.forest);
    for (const line of chunks) {
      const [, segment, off8, length] = /(\d+):(\d+)\+(\d+)/.exec(line)!.map(Number);
      const path = crashed
        .files()
        .find(
          (file) =>
            file.endsWith(`/${segment!.toString(16).padStart(16, '0')}.seg`) ||
            Number.parseInt(file.slice(file.lastIndexOf('/') + 1), 16) === segment,
        );
      expect(path, line).toBeDefined();
      expect(crashed.bytesOf(path!).length).toBeGreaterThanOrEqual(off8! * 8 + length!);
    }
  }
});

test('after finish or abort no window, lane or registration is held', async () => {
  const parts = await writeParts();
  const value = bytesOf(1, 300_000);
  const users = (): number[] => {
    const taken = [0, 1, 2, 3].map(() => parts.lanes.acquireData());
    for (const lane of taken) parts.lanes.releaseData(lane);
    return taken;
  };
  for (const ending of ['finish', 'abort', 'abort twice']) {
    const ingest = parts.ingest();
    await ingest.write(value);
    expect(users()).not.toEqual([0, 1, 2, 3]);
    if (ending === 'finish') (await ingest.finish()).release();
    else ingest.abort();
    if (ending === 'abort twice') ingest.abort();
    expect([users(), parts.presence.size, parts.chunkers.idle]).toEqual([[0, 1, 2, 3], 0, 1]);
  }
});

describe('node presence', () => {
  const id = bytesOf(1, 32);

  test('everybody waits for the one lookup, and a birth during it counts', async () => {
    const presence = new NodePresence();
    const answer = deferred<boolean>();
    let asked = 0;
    const lookUp = (): Promise<boolean> => {
      asked++;
      return answer.promise;
    };
    let entered = 0;
    const both = [0, 1].map(() => presence.enter(id, lookUp).then(() => entered++));
    await Promise.resolve();
    expect([asked, entered, presence.size]).toEqual([1, 0, 1]);
    presence.born(id, 0);
    answer.resolve(false);
    await Promise.all(both);
    expect(presence.isPresent(id, 0)).toBe(true);
    presence.leave(id);
    expect(presence.size).toBe(1);
    presence.leave(id);
    expect([presence.size, presence.isPresent(id, 0)]).toEqual([0, false]);
  });

  test('a lookup that fails registers nobody', async () => {
    const presence = new NodePresence();
    const fail = (): Promise<boolean> => Promise.reject(new Error('disk'));
    await Promise.all([0, 1].map(() => expect(presence.enter(id, fail)).rejects.toThrow('disk')));
    expect(presence.size).toBe(0);
    await presence.enter(id, async () => true);
    expect(presence.isPresent(id, 0)).toBe(true);
  });
});

test('bytes stored as a value that equal a list node do not pass for the node', async () => {
  const parts = await writeParts();
  const value = bytesOf(5, 300_000);
  const first = await writeParts();
  await putValue(first, 'k', value);
  const { chunks } = await stateOf(first.forest);
  const line = chunks.find((one) => one.includes('kind 1') || one.includes('kind 2'))!;
  const [, segment, off8, length] = /(\d+):(\d+)\+(\d+)/.exec(line)!.map(Number);
  const node = (await first.segments.readFrame(segment!, off8!, length!))!;
  // The node's bytes come first, as data under the same id, in one piece.
  const id = new Uint8Array(Buffer.from(line.slice(0, 64), 'hex'));
  const lane = parts.lanes.acquireData();
  await parts.lanes.ready(lane);
  const writer = parts.lanes.current(lane)!;
  const off = writer.append(id, 0, node, 0, node.length, 0, 0, node.length);
  parts.forest.chunks.setLocation(id, 0, writer.no, off, node.length, node.length, 0, 0);
  parts.forest.chunks.note(1);
  await putValue(parts, 'k', value);
  const after = await stateOf(parts.forest);
  for (const one of after.chunks) expect(one.endsWith('refs 0'), one).toBe(false);
});
