import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { VarveError } from '../../src/base/errors.ts';
import { Prng } from '../../src/base/prng.ts';
import { MemoryFileSystem } from '../../src/fs/memory-file-system.ts';
import type { FsFile } from '../../src/fs/port.ts';
import { WriteBehind, writeBuffersMax } from '../../src/segment/write-behind.ts';
import { DirectBuffers } from '../../src/segment/write-buffer.ts';

const bufferBytes = 128;

const block = 16;

/** Memory for direct writes, so small that blocks begin and end everywhere. */
const directBuffers = (): DirectBuffers => new DirectBuffers(8 * block, block, (n) => new Uint8Array(n));

async function open(ahead?: number): Promise<{ fs: MemoryFileSystem; file: FsFile; out: WriteBehind }> {
  const fs = new MemoryFileSystem();
  const file = await fs.open('f', 'create');
  await fs.syncDir('');
  return { fs, file, out: new WriteBehind(file, 0, bufferBytes, ahead, directBuffers()) };
}

function append(out: WriteBehind, bytes: Uint8Array): void {
  const room = out.room(bytes.length);
  room.bytes.set(bytes, room.filled);
  out.added(room, bytes.length);
}

/** Lets each operation of the disk take 0 to 7 turns. */
function slowDown(fs: MemoryFileSystem, prng: Prng): void {
  fs.schedule = async () => {
    for (let turns = prng.below(8); turns > 0; turns--) await Promise.resolve();
  };
}

describe('write-behind', () => {
  test('file is always a prefix of what was appended, and the rest is in buffers', async () => {
    const step = fc.oneof(
      {
        weight: 6,
        arbitrary: fc.record({ do: fc.constant('append' as const), n: fc.integer({ min: 1, max: 300 }) }),
      },
      {
        weight: 2,
        arbitrary: fc.record({ do: fc.constant('hand' as const), n: fc.integer({ min: 1, max: 128 }) }),
      },
      { weight: 2, arbitrary: fc.record({ do: fc.constant('sync' as const), n: fc.nat(1) }) },
      { weight: 2, arbitrary: fc.record({ do: fc.constant('turns' as const), n: fc.nat(9) }) },
      { weight: 1, arbitrary: fc.record({ do: fc.constant('drain' as const), n: fc.nat(1) }) },
      { weight: 1, arbitrary: fc.record({ do: fc.constant('bulk' as const), n: fc.nat(3) }) },
    );
    const property = fc.asyncProperty(fc.array(step, { maxLength: 60 }), fc.nat(), async (steps, seed) => {
      const prng = new Prng(seed);
      const { fs, out } = await open(prng.chance(0.5) ? 3 * bufferBytes : undefined);
      slowDown(fs, prng);
      const model: number[] = [];
      const syncs: Promise<void>[] = [];
      for (const { do: what, n } of steps) {
        if (what === 'append') {
          const bytes = prng.bytes(n);
          append(out, bytes);
          model.push(...bytes);
        } else if (what === 'hand') {
          const bytes = new Uint8Array(bufferBytes);
          bytes.set(prng.bytes(n));
          model.push(...bytes.subarray(0, n));
          out.hand(bytes, n);
        } else if (what === 'turns') for (let i = 0; i < n; i++) await Promise.resolve();
        else if (what === 'drain') await out.drain();
        else if (what === 'bulk') out.isBulk = n > 0;
        else {
          const end = out.end;
          const synced = out.sync().then((to) => {
            expect(to).toBeGreaterThanOrEqual(end);
            expect(fs.crash('none').bytesOf('f').slice(0, end)).toEqual(Uint8Array.from(model.slice(0, end)));
          });
          if (n === 0) await synced;
          else syncs.push(synced);
        }
        expect(out.end).toBe(model.length);
        expect(out.syncedEnd).toBeLessThanOrEqual(out.writtenEnd);
        const kept = fs.crash('none').bytesOf('f').slice(0, out.syncedEnd);
        expect(kept).toEqual(Uint8Array.from(model.slice(0, out.syncedEnd)));
        const onDisk = fs.bytesOf('f');
        expect(onDisk.length).toBeGreaterThanOrEqual(out.writtenEnd);
        expect(onDisk).toEqual(Uint8Array.from(model.slice(0, onDisk.length)));
        for (let at = out.writtenEnd; at < model.length; ) {
          const held = out.buffered(at)!;
          expect(held).toEqual(Uint8Array.from(model.slice(at, at + held.length)));
          at += held.length;
        }
      }
      await Promise.all(syncs);
      await out.finish(Uint8Array.of(1, 2, 3));
      expect(fs.crash('none').bytesOf('f')).toEqual(Uint8Array.of(...model, 1, 2, 3));
    });
    await fc.assert(property, { numRuns: 60 });
  });

  test('in bulk, whole blocks are written directly, each once, and the rest plainly', async () => {
    const { fs, file, out } = await open();
    const spans: string[] = [];
    const write = file.write.bind(file);
    const noting = (how: string): FsFile['write'] => {
      return (buf, pos) => {
        spans.push(`${how} ${pos}..${pos + buf.length}`);
        return write(buf, pos);
      };
    };
    file.write = noting('plain');
    file.writeDirect = noting('direct');
    append(out, new Uint8Array(10).fill(1));
    out.isBulk = true;
    for (let i = 2; i < 9; i++) append(out, new Uint8Array(50).fill(i));
    await out.drain();
    await out.sync();
    for (let i = 9; i < 12; i++) append(out, new Uint8Array(70).fill(i));
    await out.finish(new Uint8Array(5));
    const direct = spans.filter((span) => span.startsWith('direct'));
    expect(direct.length).toBeGreaterThan(2);
    // What a buffer shares with the next one is written by that one alone.
    expect(spans).toMatchInlineSnapshot(`
      [
        "plain 0..10",
        "direct 10..96",
        "direct 96..208",
        "direct 208..304",
        "direct 304..360",
        "direct 360..416",
        "direct 416..496",
        "direct 496..570",
        "plain 570..575",
      ]
    `);
    expect(fs.bytesOf('f').length).toBe(10 + 7 * 50 + 3 * 70 + 5);
  });

  test('nothing is in a buffer below the written end once its buffer is full', async () => {
    const { out } = await open();
    append(out, new Uint8Array(bufferBytes));
    expect(out.buffered(0)).toBeDefined();
    await out.sync();
    expect(out.buffered(0)).toBeUndefined();
    expect(out.buffered(bufferBytes)).toBeUndefined();
  });

  test('buffered bytes stay bounded when the caller drains', async () => {
    const { fs, out } = await open();
    slowDown(fs, new Prng(4));
    let most = 0;
    for (let i = 0; i < 500; i++) {
      if (out.needsDrain) await out.drain();
      expect(out.needsDrain).toBe(false);
      append(out, new Uint8Array(40));
      most = Math.max(most, out.end - out.writtenEnd);
    }
    expect(most).toBeLessThanOrEqual(writeBuffersMax * bufferBytes + 40);
    expect(most).toBeGreaterThan(bufferBytes);
  });

  test('memory that was lent is given back once the file has it, or the writer has ended', async () => {
    const { fs, out } = await open();
    const told: string[] = [];
    out.hand(new Uint8Array(100).fill(1), 100, () => told.push('first'));
    append(out, new Uint8Array(50).fill(2));
    expect(told).toEqual([]);
    await out.flush();
    expect(told).toEqual(['first']);
    fs.schedule = async ({ kind }) => {
      if (kind === 'write') throw new VarveError('VARVE_IO', 'the disk refused it');
    };
    out.hand(new Uint8Array(100).fill(3), 100, () => told.push('second'));
    await expect(out.flush()).rejects.toThrow('the disk refused it');
    expect(told).toEqual(['first']);
    await out.settle();
    expect(told).toEqual(['first', 'second']);
    expect(() => out.hand(new Uint8Array(1), 1, () => told.push('third'))).toThrow('earlier write');
    await out.settle();
    expect(told).toEqual(['first', 'second']);
  });

  test('concurrent syncs share one, and one asked for later covers what came between', async () => {
    const { fs, out } = await open();
    let release = (): void => undefined;
    const started = new Promise<void>((syncing) => {
      fs.schedule = (op) => {
        if (op.kind !== 'dataSync') return undefined;
        fs.schedule = undefined;
        syncing();
        return new Promise((resolve) => {
          release = resolve;
        });
      };
    });
    append(out, new Uint8Array(10));
    const first = [out.sync(), out.sync()];
    await started;
    append(out, new Uint8Array(10));
    const second = [out.sync(), out.sync()];
    release();
    expect(await Promise.all(first)).toEqual([10, 10]);
    expect(await Promise.all(second)).toEqual([20, 20]);
    expect(fs.trace.filter((op) => op.kind === 'dataSync').length).toBe(2);
    expect(await out.sync()).toBe(20);
    expect(fs.trace.filter((op) => op.kind === 'dataSync').length).toBe(2);
  });

  test('a failed write or sync is final, and the calls waiting for it get its error', async () => {
    for (const kind of ['write', 'dataSync'] as const) {
      const { fs, out } = await open();
      append(out, new Uint8Array(10));
      let failures = 0;
      fs.faults = (op) => (op.kind === kind && failures++ === 0 ? { errno: 'EIO' } : undefined);
      await expect(out.sync()).rejects.toMatchObject({ code: 'VARVE_IO', errno: 'EIO' });
      const poisoned = { code: 'VARVE_POISONED', cause: { errno: 'EIO' } };
      expect(() => append(out, new Uint8Array(1))).toThrow(
        expect.objectContaining({ code: 'VARVE_POISONED' }),
      );
      await expect(out.sync()).rejects.toMatchObject(poisoned);
      await expect(out.drain()).rejects.toMatchObject(poisoned);
      expect(out.syncedEnd).toBe(0);
      expect(out.buffered(0)).toBeDefined();
      await out.settle();
    }
  });

  test('what is written is synced ahead, once so much has come since the last sync', async () => {
    const { fs, out } = await open(2 * bufferBytes);
    const syncs = (): number => fs.trace.filter((op) => op.kind === 'dataSync').length;
    for (let i = 0; i < 9; i++) {
      append(out, new Uint8Array(bufferBytes));
      for (let turns = 0; turns < 20; turns++) await Promise.resolve();
    }
    expect([syncs(), out.syncedEnd]).toEqual([4, 8 * bufferBytes]);
    expect(await out.sync()).toBe(9 * bufferBytes);
    expect(syncs()).toBe(5);
  });

  test('a sync ahead that fails is final', async () => {
    const { fs, out } = await open(bufferBytes);
    let failures = 0;
    fs.faults = (op) => (op.kind === 'dataSync' && failures++ === 0 ? { errno: 'EIO' } : undefined);
    append(out, new Uint8Array(bufferBytes));
    for (let turns = 0; turns < 20; turns++) await Promise.resolve();
    const poisoned = { code: 'VARVE_POISONED', cause: { errno: 'EIO' } };
    await expect(out.sync()).rejects.toMatchObject(poisoned);
    expect([out.syncedEnd, failures]).toEqual([0, 1]);
    await out.settle();
  });

  test('a write that fails with nobody waiting is met by the next call', async () => {
    const { fs, out } = await open();
    fs.faults = (op) => (op.kind === 'write' ? { errno: 'ENOSPC' } : undefined);
    append(out, new Uint8Array(bufferBytes));
    for (let i = 0; i < 10; i++) await Promise.resolve();
    await expect(out.sync()).rejects.toMatchObject({
      code: 'VARVE_POISONED',
      cause: { code: 'VARVE_NO_SPACE' },
    });
  });

  test('a sync after settle is refused while something is not durable', async () => {
    const { out } = await open();
    append(out, new Uint8Array(10));
    await out.settle();
    await expect(out.sync()).rejects.toMatchObject({ code: 'VARVE_CLOSED' });
    await expect(out.flush()).rejects.toMatchObject({ code: 'VARVE_CLOSED' });
  });

  test('flush hands everything to the file and syncs nothing', async () => {
    const { fs, out } = await open();
    append(out, new Uint8Array(10).fill(7));
    await out.flush();
    expect([out.writtenEnd, out.syncedEnd]).toEqual([10, 0]);
    expect(fs.bytesOf('f')).toEqual(new Uint8Array(10).fill(7));
    expect(fs.crash('none').bytesOf('f').length).toBe(0);
    append(out, new Uint8Array(10));
    fs.faults = (op) => (op.kind === 'write' ? { errno: 'EIO' } : undefined);
    await expect(out.flush()).rejects.toMatchObject({ code: 'VARVE_IO' });
    await expect(out.flush()).rejects.toMatchObject({ code: 'VARVE_POISONED' });
  });

  test('settle waits for what is under way and refuses the rest', async () => {
    const { fs, file, out } = await open();
    slowDown(fs, new Prng(8));
    append(out, new Uint8Array(10));
    const synced = out.sync();
    await out.settle();
    expect(out.syncedEnd).toBe(10);
    await file.close();
    expect(await synced).toBe(10);
    expect(await out.sync()).toBe(10);
    await expect(out.drain()).rejects.toMatchObject({ code: 'VARVE_CLOSED' });
    expect(() => out.room(1)).toThrow(expect.objectContaining({ code: 'VARVE_CLOSED' }));
  });
});
