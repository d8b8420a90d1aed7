import { describe, expect, test } from 'vitest';
import { Prng } from '../../src/base/prng.ts';
import { readSlots } from '../../src/catalog/super-file.ts';
import { MemoryFileSystem } from '../../src/fs/memory-file-system.ts';
import { strayFiles } from '../crash/audit.ts';
import { bytesOf, codeOf, failure, filesIn, openOn, text, turn } from './engine-kit.ts';

/** A store with rows and chunks, closed in order. */
async function atRest(): Promise<MemoryFileSystem> {
  const disk = new MemoryFileSystem();
  const engine = await openOn(disk);
  await engine.put('a', 'one');
  await engine.put('large', bytesOf(1, 5000));
  await engine.close();
  return disk;
}

/** Every file but those that say who writes. */
function filesOf(disk: MemoryFileSystem): Map<string, string> {
  const files = new Map<string, string>();
  for (const path of disk.files()) {
    if (path === 'SUPER' || path === 'LOCK') continue;
    files.set(path, Buffer.from(disk.bytesOf(path)).toString('base64'));
  }
  return files;
}

async function newest(disk: MemoryFileSystem) {
  return (await readSlots(disk)).slots[0]!;
}

const logs = (disk: MemoryFileSystem): string[] => filesIn(disk, 'wal');

describe('a store that was closed in order', () => {
  test('who only reads changes nothing but the slot, however often', async () => {
    const disk = await atRest();
    const files = filesOf(disk);
    const before = await newest(disk);
    for (let life = 1; life <= 5; life++) {
      const engine = await openOn(disk);
      expect(text(await engine.get('a'))).toBe('one');
      expect(await newest(disk)).toMatchObject({
        cleanShutdown: false,
        writerEpoch: before.writerEpoch + life,
      });
      await engine.close();
      expect(await newest(disk)).toMatchObject({
        cleanShutdown: true,
        writerEpoch: before.writerEpoch + life,
        catalogNo: before.catalogNo,
        previousCatalogNo: before.previousCatalogNo,
      });
    }
    expect(filesOf(disk)).toEqual(files);
  });

  test('what it kept for a reader goes when it is opened again, though nothing is written', async () => {
    const disk = await atRest();
    await disk.mkdir('readers');
    const lease = await disk.open('readers/00.lease', 'create');
    await lease.write(new Uint8Array(64).fill(7), 0);
    await lease.close();
    const options = { changesRetention: { bytes: 0 } };
    const writer = await openOn(disk, options);
    await writer.put('large', bytesOf(2, 5000));
    await writer.compact();
    await writer.close();
    await disk.unlink('readers/00.lease');
    const kept = await strayFiles(disk.fork());
    expect(new Set(kept.map((path) => path.slice(0, 3)))).toEqual(new Set(['cat', 'wal', 'tab', 'seg']));
    await (await openOn(disk, options)).close();
    expect(await strayFiles(disk.fork())).toEqual([]);
  });

  test('its log goes on with the first write, and the close is a whole one', async () => {
    const disk = await atRest();
    const { catalogNo } = await newest(disk);
    const before = logs(disk);
    const engine = await openOn(disk);
    expect(logs(disk)).toEqual(before);
    const { seq } = await engine.put('b', 'two');
    expect(logs(disk).length).toBe(before.length + 1);
    expect(engine.stats().log.used).toBeGreaterThan(0);
    await engine.close();
    expect((await newest(disk)).catalogNo).toBeGreaterThan(catalogNo);
    const again = await openOn(disk);
    expect(again.health()).toMatchObject({ status: 'healthy' });
    expect(again.stats().seq).toBeGreaterThan(seq);
    expect(text(await again.get('b'))).toBe('two');
    await again.close();
  });

  test('a checkpoint of nothing begins a log, and the next life goes on from there', async () => {
    const disk = await atRest();
    const before = logs(disk).length;
    const engine = await openOn(disk);
    await engine.flush();
    expect(logs(disk).length).toBe(before + 2);
    await engine.put('b', 'two');
    await engine.close();
    const again = await openOn(disk);
    expect(again.health()).toMatchObject({ status: 'healthy' });
    expect([text(await again.get('a')), text(await again.get('b'))]).toEqual(['one', 'two']);
    await again.close();
  });

  test('a feed that waits is shown the first write', async () => {
    const disk = await atRest();
    const engine = await openOn(disk);
    const feed = engine.changes({ since: 0 });
    expect((await feed.next()).value).toMatchObject({ key: 'a' });
    expect((await feed.next()).value).toMatchObject({ key: 'large' });
    const third = feed.next();
    for (let i = 0; i < 10; i++) await turn();
    const { seq } = await engine.put('b', 'two');
    expect((await third).value).toMatchObject({ key: 'b', seq });
    await engine.flush();
    await engine.put('c', 'three');
    expect((await feed.next()).value).toMatchObject({ key: 'c' });
    await engine.close();
  });

  test('a value that was not finished leaves a segment, which the close names', async () => {
    const disk = await atRest();
    const { catalogNo } = await newest(disk);
    const engine = await openOn(disk);
    const broken = async function* (): AsyncGenerator<Uint8Array> {
      yield bytesOf(2, 40_000);
      throw new Error('no more');
    };
    await expect(engine.put('broken', broken())).rejects.toThrow('no more');
    expect(filesIn(disk, 'seg').length).toBeGreaterThan(1);
    await engine.close();
    expect((await newest(disk)).catalogNo).toBeGreaterThan(catalogNo);
    const files = filesOf(disk);
    const again = await openOn(disk);
    expect(again.health()).toMatchObject({ status: 'healthy' });
    expect(await again.get('broken')).toBe(undefined);
    await again.close();
    expect(filesOf(disk)).toEqual(files);
  });
});

describe('over a store that was closed in order', () => {
  /** Opens, writes, closes; what was acknowledged at each operation is in `acked`. */
  async function life(disk: MemoryFileSystem, acked: Map<string, string>): Promise<void> {
    const idle = await openOn(disk);
    await idle.close();
    const engine = await openOn(disk);
    for (const [key, value] of [
      ['b', 'two'],
      ['a', 'three'],
    ] as const) {
      await engine.put(key, value);
      acked.set(key, value);
    }
    await engine.close();
    const last = await openOn(disk);
    await last.close();
  }

  test('a crash at any operation keeps what was acknowledged', async () => {
    const disk = await atRest();
    const acked = new Map([['a', 'one']]);
    const states: { state: MemoryFileSystem; acked: Map<string, string> }[] = [];
    disk.faults = () => {
      states.push({ state: disk.fork(), acked: new Map(acked) });
      return undefined;
    };
    await life(disk, acked);
    disk.faults = undefined;
    expect(states.length).toBeGreaterThan(60);
    const prng = new Prng(7);
    for (const { state, acked: then } of states) {
      for (const how of ['none', prng] as const) {
        const crashed = state.crash(how);
        const engine = await openOn(crashed);
        expect(engine.health().status).not.toBe('degraded');
        const a = text(await engine.get('a'));
        expect([then.get('a'), 'three']).toContain(a);
        if (then.has('b')) expect(text(await engine.get('b'))).toBe('two');
        expect((await engine.get('large'))?.length).toBe(5000);
        await engine.put('c', 'four');
        await engine.close();
        const again = await openOn(crashed);
        expect([text(await again.get('c')), text(await again.get('a'))]).toEqual(['four', a]);
        await again.close();
      }
    }
  }, 60_000);

  test('a first file that cannot be made fails the put and the close, and nothing else', async () => {
    const disk = await atRest();
    const engine = await openOn(disk);
    disk.faults = ({ kind, path }) =>
      kind === 'create' && path.startsWith('wal/') ? { errno: 'EIO' } : undefined;
    expect(await codeOf(engine.put('b', 'two'))).toBe('VARVE_COMMIT_UNKNOWN');
    expect(text(await engine.get('a'))).toBe('one');
    disk.faults = undefined;
    expect((await failure(engine.close())).code).toBe('VARVE_POISONED');
    expect(await newest(disk)).toMatchObject({ cleanShutdown: false });
    const again = await openOn(disk);
    expect(again.health()).toMatchObject({ status: 'healthy' });
    await again.put('b', 'two');
    await again.close();
  });
});

describe('what is not at rest is taken over by a new catalog', () => {
  const isTakenOver = async (disk: MemoryFileSystem): Promise<boolean> => {
    const { catalogNo } = await newest(disk);
    const engine = await openOn(disk);
    const now = await newest(disk);
    await engine.close();
    return now.catalogNo > catalogNo;
  };

  test('a store that was killed, one new, one whose older catalog is damaged', async () => {
    const killed = await atRest();
    expect(await isTakenOver(killed.fork())).toBe(false);
    const engine = await openOn(killed);
    expect(await isTakenOver(killed.crash('all'))).toBe(true);
    await engine.close();

    const damaged = await atRest();
    const { previousCatalogNo } = await newest(damaged);
    const path = damaged.files().find((one) => one.endsWith(`${previousCatalogNo.toString(16)}.cat`))!;
    damaged.corrupt(path, (bytes) => bytes.fill(0));
    expect(await isTakenOver(damaged)).toBe(true);
  });

  test('a log that lost its end is damage, also behind a life that wrote nothing', async () => {
    const disk = await atRest();
    const idle = await openOn(disk);
    await idle.close();
    const [path] = logs(disk).slice(-1);
    disk.corrupt(path!, (bytes) => bytes.subarray(0, bytes.length - 8));
    const engine = await openOn(disk);
    expect(engine.health()).toMatchObject({ status: 'degraded' });
    await engine.close();
  });
});
