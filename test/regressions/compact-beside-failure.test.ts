import { expect, test } from 'vitest';
import { MemoryFileSystem } from '../../src/fs/memory-file-system.ts';
import { bytesOf, codeOf, openOn, TestClock, turn } from '../engine/engine-kit.ts';

/** Every look at it is late, so that scans give way whenever they look. */
class SlowClock extends TestClock {
  onTurn: (() => Promise<void>) | undefined;

  override monotonic(): number {
    this.ms += 5;
    return this.ms;
  }

  override async turn(): Promise<void> {
    await this.onTurn?.();
    await turn();
  }
}

/**
 * A scan of compact (of a dry run here, which begins with one) ends early when a write has failed meanwhile.
 * The caller was told VARVE_ABORTED although nothing had been aborted, and went on writing to a store that
 * takes no more.
 */
test('compact says that writing has ended', async () => {
  const disk = new MemoryFileSystem();
  const clock = new SlowClock();
  const engine = await openOn(disk, { durability: 'full', cleaning: { enabled: false } }, 16 * 1024, clock);
  await engine.put('many', bytesOf(1, 400_000));
  await engine.flush();
  clock.onTurn = async () => {
    clock.onTurn = undefined;
    disk.faults = ({ kind }) => (kind === 'dataSync' ? { errno: 'EIO' } : undefined);
    expect(await codeOf(engine.put('last', 'x'))).toBe('VARVE_COMMIT_UNKNOWN');
    disk.faults = undefined;
  };
  expect(await codeOf(engine.compact({ dryRun: true }))).toBe('VARVE_POISONED');
  expect(clock.onTurn).toBeUndefined();
  await engine.close().catch(() => undefined);
});
