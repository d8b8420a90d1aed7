import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { Prng } from '../../src/base/prng.ts';
import { frameTypes, lastSeqOf } from '../../src/format/log-frame.ts';
import { MemoryFileSystem } from '../../src/fs/memory-file-system.ts';
import { CrashNow } from '../../src/fs/sim-machine.ts';
import { checkFrames, LogSession, readChainOf } from './log-session.ts';

async function emptyDisk(): Promise<MemoryFileSystem> {
  const fs = new MemoryFileSystem();
  await fs.mkdir('wal');
  await fs.syncDir('');
  return fs;
}

/** Numbers of BATCH frames that were acknowledged; OPEN frames have numbers too. */
class Acks {
  readonly seqs = new Set<number>();
  #unsynced: number[] = [];

  appended(seq: number): void {
    this.#unsynced.push(seq);
  }

  synced(): void {
    for (const seq of this.#unsynced) this.seqs.add(seq);
    this.#unsynced = [];
  }

  lost(): void {
    this.#unsynced = [];
  }
}

/** A session: three rounds of frames with a rotation between. */
async function script(fs: MemoryFileSystem, acks: Acks): Promise<void> {
  const session = await LogSession.open(fs);
  // What recovery read is acknowledged from here on: it was served.
  acks.synced();
  for (let round = 0; round < 3; round++) {
    acks.appended(await session.append(2));
    acks.appended(await session.append(1, round === 1 ? 700 : undefined));
    await session.sync();
    acks.synced();
    if (round === 0) {
      await session.rotate();
    }
  }
  acks.appended(await session.append());
  acks.lost();
}

async function until(step: Promise<unknown>): Promise<boolean> {
  try {
    await step;
    return true;
  } catch (error) {
    if (error instanceof CrashNow) return false;
    throw error;
  }
}

async function expectAcked(fs: MemoryFileSystem, acks: Acks): Promise<Set<number>> {
  const chain = await readChainOf(fs);
  expect(chain.damage).toEqual([]);
  expect(chain.problems).toEqual([]);
  const seen = await checkFrames(chain);
  for (const seq of acks.seqs) expect(seen, `number ${seq}`).toContain(seq);
  await chain.close();
  return seen;
}

describe('log under crashes', () => {
  test('a crash at any operation, then at any of recovery, loses no acknowledged frame', async () => {
    const whole = await emptyDisk();
    await script(whole, new Acks());
    const firstOp = (await emptyDisk()).opCount;
    for (let at = firstOp; at < whole.opCount; at++) {
      for (const choose of ['none', 'all', new Prng(at)] as const) {
        const fs = await emptyDisk();
        fs.failAt(at, 'crash');
        const acks = new Acks();
        expect(await until(script(fs, acks))).toBe(false);
        const rebooted = fs.crash(choose);
        await expectAcked(rebooted, acks);
        await crashInRecovery(rebooted, acks, at);
      }
    }
  });

  async function crashInRecovery(disk: MemoryFileSystem, acks: Acks, seed: number): Promise<void> {
    for (let op = 0; ; op++) {
      const fs = disk.fork();
      fs.failAt(op, 'crash');
      if (await until(LogSession.open(fs))) return;
      const rebooted = fs.crash(new Prng(seed * 100 + op));
      await expectAcked(rebooted, acks);
      const session = await LogSession.open(rebooted);
      await session.append();
      await session.sync();
      await expectAcked(rebooted, acks);
    }
  }

  test('random commits, rotations, crashes and failed syncs keep every acknowledged frame', async () => {
    const step = fc.oneof(
      { weight: 6, arbitrary: fc.constant('append' as const) },
      { weight: 4, arbitrary: fc.constant('sync' as const) },
      { weight: 1, arbitrary: fc.constant('rotate' as const) },
      { weight: 1, arbitrary: fc.constant('fail' as const) },
      { weight: 2, arbitrary: fc.nat(9).map((ops) => ({ crashIn: ops })) },
    );
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 30 }), fc.nat(), async (steps, seed) => {
        const prng = new Prng(seed);
        let fs = await emptyDisk();
        const acks = new Acks();
        let session: LogSession | undefined;
        let pending: number[] = [];
        const reopen = async (): Promise<void> => {
          pending = [];
          for (;;) {
            if (
              await until(
                LogSession.open(fs).then((opened) => {
                  session = opened;
                }),
              )
            )
              break;
            fs = fs.crash(prng);
          }
          // What was served after an open must stay.
          for (const seq of await expectAcked(fs, acks)) acks.seqs.add(seq);
        };
        await reopen();
        for (const each of steps) {
          if (typeof each === 'object') {
            fs.failAt(fs.opCount + each.crashIn, 'crash');
            continue;
          }
          if (each === 'fail') {
            const failing = fs.opCount + prng.below(7);
            fs.failAt(failing, { errno: 'EIO' });
            continue;
          }
          const current = session!;
          try {
            if (each === 'append')
              pending.push(
                await current.append(1 + prng.below(3), prng.chance(0.1) ? 70_000 : prng.below(900)),
              );
            else {
              await (each === 'sync' ? current.sync() : current.rotate());
              for (const seq of pending) acks.seqs.add(seq);
              pending = [];
            }
          } catch (error) {
            if (error instanceof CrashNow) fs = fs.crash(prng);
            else expect(error).toMatchObject({ code: expect.stringMatching(/^VARVE_(IO|POISONED)$/) });
            await reopenWithRetry();
          }
        }
        async function reopenWithRetry(): Promise<void> {
          for (let tries = 0; tries < 4; tries++) {
            try {
              return await reopen();
            } catch (error) {
              if (!(error as { errno?: string }).errno) throw error;
            }
          }
        }
        fs.failAt(fs.opCount, 'crash');
        await until(session!.append().then(() => session!.sync()));
        await expectAcked(fs.crash(prng), acks);
      }),
      { numRuns: 40 },
    );
  });

  test('a failed write or sync anywhere, a reopen in the same boot and a crash lose nothing', async () => {
    const whole = await emptyDisk();
    await script(whole, new Acks());
    for (let at = (await emptyDisk()).opCount; at < whole.opCount; at++) {
      const fs = await emptyDisk();
      fs.failAt(at, { errno: 'EIO' });
      const acks = new Acks();
      await script(fs, acks).catch((error) => expect(error).toMatchObject({ code: 'VARVE_IO' }));
      for (let reopens = 0; reopens < 2; reopens++) {
        const session = await LogSession.open(fs);
        for (const seq of await expectAcked(fs, acks)) acks.seqs.add(seq);
        const seq = await session.append();
        await session.sync();
        acks.seqs.add(seq);
        for (const choose of ['none', 'all', new Prng(at)] as const)
          await expectAcked(fs.crash(choose), acks);
      }
    }
  });

  test('a cut tail never comes back', async () => {
    const fs = await emptyDisk();
    const first = await LogSession.open(fs);
    await first.append();
    await first.sync();
    const kept = first.acked;
    const cut = await first.append();
    await first.append();
    const path = first.log.path;
    const damaged = fs.crash('all');
    const chain = await readChainOf(damaged);
    const victim = [...chain.frames].find((frame) => frame.seqFirst === cut)!;
    await chain.close();
    damaged.flipBit(path, (victim.offset + 50) * 8);
    const second = await LogSession.open(damaged);
    await second.append();
    await second.sync();
    damaged.flipBit(path, (victim.offset + 50) * 8);
    const after = await readChainOf(damaged);
    expect(after.damage).toEqual([]);
    const batches = [...after.frames].filter((frame) => frame.type === frameTypes.batch);
    expect(batches.map(({ fileNo }) => fileNo)).toEqual([1, 2]);
    expect(lastSeqOf(batches[0]!)).toBe(kept);
    await after.close();
  });
});
