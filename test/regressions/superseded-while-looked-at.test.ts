/**
 * A key was written again while the purger looked at its versions: it forgot that the key waited to be looked
 * at, and a version beyond `history.versions` stayed until the key was written once more.
 */
import { expect, test } from 'vitest';
import { MemoryFileSystem } from '../../src/fs/memory-file-system.ts';
import { openParts } from '../engine/cleaner-kit.ts';
import { bytesOf, turn } from '../engine/engine-kit.ts';
import { purged, versionsOf } from '../engine/purge-kit.ts';

test('a version that a put lets go while others of its key are looked at is purged', async () => {
  for (let turns = 0; turns < 12; turns++) {
    const { engine, store } = await openParts(new MemoryFileSystem(), {
      bounds: { compaction: 'off' },
      options: { history: { versions: 2 } },
      segmentBytes: 65_536,
    });
    await engine.put('b', bytesOf(0, 4000));
    await engine.put('b', bytesOf(0, 4000));
    await engine.flush();
    await engine.put('a', bytesOf(0, 20));
    await engine.flush();
    await engine.put('b', bytesOf(0, 20));
    for (let i = 0; i < turns; i++) await turn();
    await engine.put('b', bytesOf(0, 20));
    await purged(store);
    const { dead, gone } = await versionsOf(store);
    expect({ turns, gone }).toEqual({ turns, gone: dead });
    expect(dead).toHaveLength(1);
    await engine.close();
  }
});
