/** Random histories of a store that is backed up and archived, with the state behind every step. */
import { expect } from 'vitest';
import { MemoryBlobs } from '../../src/backup/memory-blobs.ts';
import type { Vault } from '../../src/backup/vault.ts';
import { isVarveError } from '../../src/base/errors.ts';
import { Prng } from '../../src/base/prng.ts';
import type { Engine } from '../../src/engine/engine.ts';
import { MemoryFileSystem } from '../../src/fs/memory-file-system.ts';
import { sha256Hex } from '../../src/kernels/hash/sha256.ts';
import { bytesOf, openOn, TestClock } from '../engine/engine-kit.ts';
import { everything, restored, rootFromScratch, rootOf, vaultOn } from './backup-kit.ts';

/** The state from a moment on. */
export interface Moment {
  readonly ms: number;
  readonly state: ReadonlyMap<string, string>;
}

export interface History {
  readonly vault: Vault;
  readonly engine: Engine;
  readonly clock: TestClock;
  readonly moments: readonly Moment[];
  /** When the first backup was made, and up to when the archive goes. */
  readonly from: number;
  readonly until: number;
}

/** Runs `steps` random steps, with a backup after a quarter of them, and an archive behind each later one. */
export async function runHistory(seed: number, steps: number, checksRoots = false): Promise<History> {
  const prng = new Prng(seed);
  const pick = (n: number): number => new DataView(prng.bytes(4).buffer).getUint32(0) % n;
  const clock = new TestClock();
  const disk = new MemoryFileSystem();
  let engine = await openOn(disk, {}, undefined, clock);
  const vault = await vaultOn(new MemoryBlobs(), clock);
  const key = (): string => `${'ab'[pick(2)]}${pick(12)}`;
  const target = (): Engine => (pick(4) === 0 ? engine.space(`s${pick(2)}`) : engine);
  const size = (): number => [10, 200, 5000, 70_000][pick(4)]!;
  const actions: (() => Promise<unknown>)[] = [
    () => target().put(key(), bytesOf(pick(1000), size())),
    () => target().put(key(), bytesOf(pick(1000), size()), { metadata: { n: pick(9) }, tags: ['t'] }),
    () => target().delete(key()),
    () => target().deleteRange({ prefix: `a${pick(2)}` }),
    () =>
      target().batch([
        { type: 'put', key: key(), value: bytesOf(pick(1000), 3000) },
        { type: 'delete', key: key() },
      ]),
    () => engine.spaces.drop(`s${pick(2)}`),
    () => engine.flush(),
    () => engine.compact(),
    async () => {
      await engine.close();
      engine = await openOn(disk, {}, undefined, clock);
    },
    () => engine.archive(vault).catch(beforeBackup),
    async () => {
      await engine.backup(vault, { mode: pick(4) === 0 ? 'differential' : 'incremental' });
      if (checksRoots) expect(await rootOf(vault)).toBe(await rootFromScratch(engine));
    },
  ];
  const moments: Moment[] = [];
  let from = 0;
  for (let i = 0; i < steps; i++) {
    await clock.advance(1 + pick(5));
    const which =
      i === Math.floor(steps / 4) ? actions.length - 1 : pick(3) > 0 ? pick(5) : pick(actions.length);
    await actions[which]!();
    moments.push({ ms: clock.now(), state: await everything(engine) });
    if (which === actions.length - 1 && from === 0) from = (await vault.list())[0]!.time.getTime();
    // What is overwritten between two archives may be gone: here nothing is to be.
    if (from > 0) await engine.archive(vault);
  }
  await clock.advance(1 + pick(5));
  const { until } = await engine.archive(vault);
  return { vault, engine, clock, moments, from, until: until!.getTime() };
}

/** Lines that are equal for equal states, short enough to be compared and shown. */
function digestOf(state: ReadonlyMap<string, string>): string {
  return [...state]
    .map(([key, line]) => `${key} ${sha256Hex(Buffer.from(line))}`)
    .sort()
    .join('\n');
}

function beforeBackup(error: unknown): void {
  if (!isVarveError(error, 'VARVE_NOT_FOUND')) throw error;
}

/** The state at a moment. */
export function stateAt(moments: readonly Moment[], ms: number): ReadonlyMap<string, string> {
  return moments.findLast((one) => one.ms <= ms)?.state ?? new Map();
}

/** Of so many moments one is opened for writing and checked as a whole; the others are read. */
const checkEvery = 5;

/** Restores `count` random moments and compares each with the model. */
export async function checkMoments(history: History, seed: number, count: number): Promise<void> {
  const { vault, moments, from, until } = history;
  const prng = new Prng(seed);
  for (let i = 0; i < count; i++) {
    const ms = from + (new DataView(prng.bytes(4).buffer).getUint32(0) % (until - from + 1));
    const { disk, report } = await restored(vault, { at: new Date(ms) });
    expect(report, `moment ${ms}`).toMatchObject({ ok: true, proved: true });
    const isChecked = i % checkEvery === 0;
    const engine = await openOn(disk, { readOnly: !isChecked });
    try {
      const found = await everything(engine);
      expect(digestOf(found), `moment ${ms}`).toEqual(digestOf(stateAt(moments, ms)));
      if (isChecked) expect((await engine.verify()).ok).toBe(true);
    } finally {
      await engine.close();
    }
  }
}
