import { describe, expect, test } from 'vitest';
import { bytesOf, codeOf, collect, failure, inPieces, newStore, openOn, same, text } from './engine-kit.ts';

describe('close', () => {
  test('waits for the calls under way and refuses new ones', async () => {
    const { engine, disk } = await newStore();
    const value = bytesOf(1, 200_000);
    const puts = [engine.put('a', value), engine.put('b', 'x'), engine.put('c', inPieces(value, 5000))];
    const close = engine.close();
    for (const call of [
      () => engine.put('d', 'x'),
      () => engine.get('a'),
      () => engine.getSync('a'),
      () => engine.getMany(['a']),
      () => engine.has('a'),
      () => engine.stat('a'),
      () => engine.stream('a'),
      () => engine.delete('a'),
      () => engine.batch([]),
      () => engine.scan(),
      () => engine.flush(),
      () => engine.stats(),
      () => engine.health(),
      () => engine.space('s'),
      () => engine.spaces.list(),
    ]) {
      expect(await codeOf(call)).toBe('VARVE_CLOSED');
    }
    await Promise.all(puts);
    await close;
    const again = await openOn(disk);
    expect(same(await again.get('a'), value)).toBe(true);
    expect(same(await again.get('c'), value)).toBe(true);
    await again.close();
  });

  test('is idempotent, and so is disposing', async () => {
    const { engine } = await newStore();
    expect(engine.close()).toBe(engine.close());
    await engine.close();
    await engine[Symbol.asyncDispose]();
    (await engine.space) === undefined;
  });

  test('a stream that was begun is VARVE_CLOSED afterwards and holds nothing', async () => {
    const { engine, disk } = await newStore();
    await engine.put('k', bytesOf(1, 300_000));
    const reader = engine.stream('k').getReader();
    await reader.read();
    await engine.close();
    expect(
      await codeOf(async () => {
        for (let i = 0; i < 1000; i++) if ((await reader.read()).done) return;
      }),
    ).toBe('VARVE_CLOSED');
    const again = await openOn(disk);
    expect((await collect(again.stream('k'))).length).toBe(300_000);
    await again.close();
  });

  test('a clean close leaves nothing to replay and nothing unsealed', async () => {
    const { engine, disk } = await newStore();
    await engine.put('k', bytesOf(1, 5000));
    await engine.close();
    const reader = await openOn(disk, { readOnly: true });
    const stats = reader.stats();
    expect([stats.segments.open, stats.checkpointSeq]).toEqual([0, stats.seq]);
    expect(stats.seq).toBeGreaterThan(0);
    await reader.close();
  });

  test('a crash at every step of a close loses nothing', async () => {
    const { engine, disk } = await newStore();
    const value = bytesOf(1, 20_000);
    await engine.put('k', value);
    await engine.put('i', 'inline');
    const from = disk.opCount;
    const copies: (typeof disk)[] = [];
    disk.faults = (op) => {
      if (op.index === from + copies.length) copies.push(disk.fork());
      return undefined;
    };
    await engine.close();
    expect(copies.length).toBeGreaterThan(10);
    for (const copy of copies) {
      for (const crashed of [copy.crash('none'), copy.crash('all')]) {
        const again = await openOn(crashed);
        expect(again.health().ok).toBe(true);
        expect(same(await again.get('k'), value)).toBe(true);
        expect(text(await again.get('i'))).toBe('inline');
        await again.close();
      }
    }
  });
});

describe('after a failed write', () => {
  test.each(['write', 'dataSync'] as const)(
    '%s of the log: reads go on, writes are refused, reopening mends',
    async (kind) => {
      const { engine, disk } = await newStore();
      await engine.put('before', 'x');
      disk.faults = (op) => (op.kind === kind && op.path.startsWith('wal/') ? { errno: 'EIO' } : undefined);
      const put = await failure(engine.put('k', 'v'));
      expect([put.code, (put.cause as { errno?: string }).errno]).toEqual(['VARVE_COMMIT_UNKNOWN', 'EIO']);
      disk.faults = undefined;
      expect(await codeOf(engine.put('later', 'x'))).toBe('VARVE_POISONED');
      expect(await codeOf(engine.flush())).toBe('VARVE_POISONED');
      expect(text(await engine.get('before'))).toBe('x');
      expect(await engine.has('k')).toBe(false);
      const health = engine.health();
      expect(health).toMatchObject({ ok: false, status: 'degraded', readOnly: true });
      expect(health.reason).toContain('write failed');
      expect(await codeOf(engine.close())).toBe('VARVE_POISONED');
      const again = await openOn(disk);
      expect(text(await again.get('before'))).toBe('x');
      await again.put('later', 'x');
      await again.close();
    },
  );

  test('a full disk is VARVE_NO_SPACE and the store opens again with what was acknowledged', async () => {
    const { engine, disk } = await newStore();
    await engine.put('before', bytesOf(1, 5000));
    disk.capacity = 60_000;
    const acknowledged: number[] = [];
    let failed: string | undefined;
    for (let i = 0; i < 50 && failed === undefined; i++) {
      try {
        await engine.put(`k${i}`, bytesOf(i, 5000));
        acknowledged.push(i);
      } catch (error) {
        failed = (error as { code: string }).code;
      }
    }
    expect(failed).toBe('VARVE_NO_SPACE');
    expect(same(await engine.get('before'), bytesOf(1, 5000))).toBe(true);
    await engine.close().catch(() => undefined);
    disk.capacity = Number.POSITIVE_INFINITY;
    const again = await openOn(disk);
    for (const i of acknowledged) expect(same(await again.get(`k${i}`), bytesOf(i, 5000))).toBe(true);
    await again.put('after', 'x');
    await again.close();
  });
});
