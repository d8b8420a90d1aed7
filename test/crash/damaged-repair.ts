/**
 * Repairs of a store with one damage, stopped anywhere and begun again: what they give must be what one that
 * was not stopped gives.
 */
import { toHex } from '../../src/base/bytes.ts';
import { VarveError } from '../../src/base/errors.ts';
import { Prng } from '../../src/base/prng.ts';
import { CatalogStore } from '../../src/catalog/catalog-store.ts';
import type { HealFrom } from '../../src/engine/health/repairing.ts';
import { filePath, superName } from '../../src/format/file-names.ts';
import type { MemoryFileSystem } from '../../src/fs/memory-file-system.ts';
import type { FsFault, FsOp } from '../../src/fs/sim-machine.ts';
import type { FsProfile } from '../../src/fs/sim-names.ts';
import { sha256 } from '../../src/kernels/hash/sha256.ts';
import { auditDisk } from './audit.ts';
import { drawn } from './choices.ts';
import { faultsOf } from './fault-lane.ts';
import { anyCrash, momentsInside } from './inside.ts';
import { envOf, openOn, type StoreShape } from './machine.ts';
import { mend } from './mended.ts';
import { changing } from './recorder.ts';

/** Damages a store; `files` are those of the kind it is about. */
type Damage = (disk: MemoryFileSystem, prng: Prng) => void | Promise<void>;

function pick(disk: MemoryFileSystem, prng: Prng, kind: string): string {
  return prng.pick(disk.files().filter((file) => file.startsWith(kind)));
}

function flip(disk: MemoryFileSystem, file: string, prng: Prng): void {
  disk.flipBit(file, prng.below(disk.bytesOf(file).length * 8));
}

/** One damage each. */
export const damages: Readonly<Record<string, Damage>> = {
  'a flipped bit of a table': (disk, prng) => flip(disk, pick(disk, prng, 'tab/'), prng),
  'a missing table': async (disk, prng) => {
    const file = pick(disk, prng, 'tab/');
    await disk.unlink(file);
    await disk.syncDir(file.slice(0, file.lastIndexOf('/')));
  },
  'every catalog': (disk, prng) => {
    for (const file of disk.files()) if (file.startsWith('cat/')) flip(disk, file, prng);
    for (const file of disk.files())
      if (file.startsWith('cat/')) disk.corrupt(file, (bytes) => bytes.subarray(0, 100));
  },
  'the newest catalog': async (disk) => {
    const { catalog } = await CatalogStore.load(disk.fork());
    disk.corrupt(filePath('cat', catalog.no), (bytes) => bytes.fill(0));
  },
  'every slot of SUPER': (disk) => disk.corrupt(superName, (bytes) => bytes.fill(0)),
  'a flipped bit of a segment': (disk, prng) => flip(disk, pick(disk, prng, 'seg/'), prng),
  'a flipped bit of a log': (disk, prng) => flip(disk, pick(disk, prng, 'wal/'), prng),
};

/** What a store says, in words that two repairs of the same damage have in common. */
async function contentOf(disk: MemoryFileSystem, shape: StoreShape): Promise<string> {
  const engine = await openOn(disk, shape, 5, {}, true);
  const { rows } = await auditDisk(disk.fork());
  const lines = rows.map(
    ({ seq, space, key, record, isLate }) => `${seq} ${space} ${key} ${record} ${isLate}`,
  );
  for (const name of ['', ...engine.spaces.list()]) {
    const space = name === '' ? engine : engine.space(name);
    for await (const { key, seq } of space.scan({ values: false })) {
      const value = await space.get(key!).then(
        (bytes) => toHex(sha256(bytes!)),
        (error: unknown) => codeOf(error),
      );
      lines.push(`${name} ${key} ${seq} ${value}`);
    }
  }
  lines.push(
    JSON.stringify(engine.snapshots.list()),
    JSON.stringify(engine.policy()),
    engine.health().status,
  );
  lines.push(
    engine.indexes
      .list()
      .map(({ name }) => name)
      .join(),
  );
  return lines.join('\n');
}

function codeOf(error: unknown): string {
  if (error instanceof VarveError) return error.code;
  throw error;
}

/** Every file that was there has its bytes still, at its place or in `quarantine/`. */
function checkKept(before: MemoryFileSystem, after: MemoryFileSystem): void {
  const there = new Map(after.files().map((file) => [file, after.digestOf(file)]));
  for (const file of before.files()) {
    if (file === superName || file === 'LOCK') continue;
    const other = `quarantine/${file.slice(file.lastIndexOf('/') + 1)}`;
    const digest = before.digestOf(file);
    if (there.get(file) !== digest && there.get(other) !== digest) throw new Error(`${file} is gone`);
  }
}

/** One store with one damage, and how much of it is looked at. */
export interface DamagedRepair {
  readonly disk: MemoryFileSystem;
  readonly shape: StoreShape;
  readonly profile: FsProfile;
  readonly damage: string;
  readonly seed: number;
  /** Power cuts, as many operations that fail, and as many looks. */
  readonly points: number;
  readonly healFrom?: HealFrom;
}

/** Throws where a repair that was stopped and begun again gives another store. How many were stopped. */
export async function checkDamagedRepair(run: DamagedRepair): Promise<number> {
  const { shape, profile, damage, seed, points, healFrom } = run;
  const prng = new Prng(seed);
  const disk = run.disk.fork();
  await damages[damage]!(disk, prng);
  const ops: FsOp[] = [];
  const looks: Look[] = [];
  const whole = disk.fork();
  whole.faults = (op) => {
    const { kind, path } = op;
    if (changing.has(kind)) ops.push(op);
    else if (kind !== 'close' && kind !== 'free')
      looks.push({ kind, path, nth: looks.filter((one) => one.kind === kind && one.path === path).length });
    return undefined;
  };
  await mend(envOf(whole, seed), shape, healFrom);
  whole.faults = undefined;
  checkKept(disk, whole);
  const expected = await contentOf(whole.fork(), shape);
  const again = async (stopped: MemoryFileSystem, where: string): Promise<void> => {
    try {
      // Only what it finds is to be told, not thrown over.
      await openOn(stopped.fork(), shape, seed, {}, true).catch(codeOf);
      await mend(envOf(stopped, seed + 1), shape, healFrom);
      checkKept(disk, stopped);
      const content = await contentOf(stopped, shape);
      if (content !== expected) throw new Error(`the store has\n${content}\ninstead of\n${expected}`);
    } catch (error) {
      throw new Error(`${damage} (${seed}, ${profile}), ${where}: ${(error as Error).message}`, {
        cause: error,
      });
    }
  };
  const repair = async (at: MemoryFileSystem): Promise<MemoryFileSystem> => {
    await mend(envOf(at, seed), shape, healFrom);
    return at.fork();
  };
  for (const { disk: at, where } of await momentsInside(disk.fork(), repair, points, prng)) {
    const { disk: stopped, choice } = anyCrash(at, prng, profile);
    await again(stopped, `crashed ${where}, '${choice}'`);
  }
  for (const op of drawn(prng, ops, points)) {
    const fault: FsFault = prng.pick(faultsOf(op));
    const failing = disk.fork();
    failing.faults = ({ kind, index }) => (index === op.index && changing.has(kind) ? fault : undefined);
    await mend(envOf(failing, seed), shape, healFrom).catch(codeOf);
    failing.faults = undefined;
    await again(failing, `operation ${op.index} (${op.kind} ${op.path}) fails ${JSON.stringify(fault)}`);
  }
  for (const op of drawn(prng, looks, points)) await checkUnread(run, disk, op, again);
  return 3 * points;
}

/**
 * Something cannot be read at a moment of the repair. It ends with an error, and the store is as it was; or
 * what could not be read counts as damaged, and is kept, also by the next open.
 */
async function checkUnread(
  { shape, seed, healFrom }: DamagedRepair,
  disk: MemoryFileSystem,
  { kind, path, nth }: Look,
  again: (stopped: MemoryFileSystem, where: string) => Promise<void>,
): Promise<void> {
  const failing = disk.fork();
  let seen = 0;
  failing.faults = (op) =>
    op.kind === kind && op.path === path && seen++ === nth ? { errno: 'EIO' } : undefined;
  const code = await mend(envOf(failing, seed), shape, healFrom).then(() => undefined, codeOf);
  failing.faults = undefined;
  if (code !== undefined) {
    await again(failing, `${kind} ${path} fails, the ${nth}th time`);
    return;
  }
  await openOn(failing, shape, seed, {}, true);
  checkKept(disk, failing);
}

/** A look at something: the how manieth of its kind at this path, from 0. */
interface Look {
  readonly kind: FsOp['kind'];
  readonly path: string;
  readonly nth: number;
}
