import { expect, test } from 'vitest';
import { Moves } from '../../src/chunk/moves.ts';
import { logMoves } from '../../src/engine/cleaning/log-moves.ts';
import { chunkKinds } from '../../src/format/chunk-ref.ts';
import { MemoryFileSystem } from '../../src/fs/memory-file-system.ts';
import { ChunkHit } from '../../src/tree/chunk-table-reader.ts';
import { OK } from '../../src/tree/cursor.ts';
import { openParts } from './cleaner-kit.ts';
import { bytesOf } from './engine-kit.ts';

const away = 900;

/** Moves every chunk of a store while some change; what became of each: where it lies, or nothing. */
async function movedWhile(isFlushed: boolean): Promise<{ before: number[]; places: (string | undefined)[] }> {
  const { engine, store } = await openParts(new MemoryFileSystem());
  // Enough for list nodes.
  await engine.put('k', bytesOf(1, 40_000));
  await engine.flush();
  const { chunks } = store.forest;
  const since = chunks.active;
  const moves = new Moves();
  const kinds: number[] = [];
  await chunks.scanAll(({ idBytes, idAt, columns }) => {
    const { segment, off8, storedLen, rawLen, kind } = columns;
    moves.add(idBytes, idAt, segment, off8, away, moves.count, storedLen, rawLen, kind);
    kinds.push(kind);
  });
  // One is stored anew, and a list node dies.
  const data = kinds.indexOf(chunkKinds.data);
  const list = kinds.indexOf(chunkKinds.list);
  chunks.setLocation(moves.ids, 32 * data, 800, 8, moves.storedLen(data), moves.rawLen(data), 0, 0);
  chunks.drop(moves.ids, 32 * list);
  if (isFlushed) await engine.flush();
  expect(chunks.hasChangesSince(since)).toBe(!isFlushed);
  const { txn, log, pacer, checkpointer } = store.writable();
  await logMoves(
    { forest: store.forest, txn, log, pacer, checkpointer, courtesy: { isWanted: false } },
    moves,
    since,
  );
  const hit = new ChunkHit();
  const places = kinds.map((kind, i) => {
    if (chunks.findSync(moves.ids, 32 * i, hit) !== OK) return undefined;
    expect([hit.kind, hit.storedLen, hit.rawLen]).toEqual([kind, moves.storedLen(i), moves.rawLen(i)]);
    return `${hit.segment} ${hit.off8}`;
  });
  await engine.close();
  return { before: [data, list], places };
}

for (const isFlushed of [false, true]) {
  const where = isFlushed ? 'tables' : 'memory';
  test(`what changed since the scan is left as it is, changes in ${where}`, async () => {
    const { before, places } = await movedWhile(isFlushed);
    const [data, list] = before;
    const wanted = places.map((_, i) => (i === data ? '800 8' : i === list ? undefined : `${away} ${i}`));
    expect(places).toEqual(wanted);
    expect(places.length).toBeGreaterThan(20);
  });
}
