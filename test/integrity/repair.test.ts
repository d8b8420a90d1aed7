import { describe, expect, test } from 'vitest';
import { Prng } from '../../src/base/prng.ts';
import { repairWithEnv } from '../../src/engine/health/repairing.ts';
import { alteredPort } from '../../src/fs/altered-port.ts';
import { MemoryFileSystem } from '../../src/fs/memory-file-system.ts';
import type { RepairReport } from '../../src/integrity/repair-types.ts';
import { envOf, openOn } from '../crash/machine.ts';
import { type BuiltStore, buildStore, type KnownKey, shapeNames } from '../damage/stores.ts';
import { same, turn } from '../engine/engine-kit.ts';

function repairOn(disk: MemoryFileSystem, store: BuiltStore, dryRun = false): Promise<RepairReport> {
  const { algorithm, inlineMax } = store.shape;
  const chunking = store.more.chunking ?? { algorithm, min: 64, avg: 1024, max: 2048 };
  return repairWithEnv(envOf(disk, 99), { dryRun, chunking, inlineMax });
}

const nameOf = ({ space, key }: KnownKey): string => (space === '' ? key : `${space}\n${key}`);

/** A key may have lost something, as the report says. */
function isListed(report: RepairReport, known: KnownKey): boolean {
  const { keys, keyRanges, sequences, other } = report.lost;
  if (keys.includes(nameOf(known))) return true;
  // Lost system rows may be names of spaces.
  if (other.some((what) => known.space !== '' || !what.includes('system rows'))) return true;
  const inRange = keyRanges.some(({ from, to }) => {
    // Keys of a named space are told with its name first, as the names of keys are.
    const [fromSpace, toSpace] = [from, to].map((name) => (name.includes('\n') ? name.split('\n')[0] : ''));
    if (fromSpace !== toSpace) return true;
    const bare = (name: string): string => name.slice(name.indexOf('\n') + 1);
    return fromSpace === known.space && known.key >= bare(from) && known.key <= bare(to);
  });
  const bySeq = sequences.some(({ from, to = Number.POSITIVE_INFINITY }) =>
    known.versions.some(({ seq }) => seq >= from && seq <= to),
  );
  return inRange || bySeq;
}

/** Opens a repaired store and compares everything with what was written; returns what is wrong. */
async function faultsAfter(
  store: BuiltStore,
  disk: MemoryFileSystem,
  report: RepairReport,
  mayBeTorn: boolean,
): Promise<string[]> {
  const faults: string[] = [];
  const engine = await openOn(disk, store.shape, 7, store.more);
  try {
    const health = engine.health();
    if (!health.ok) faults.push(`health: ${JSON.stringify(health)}`);
    for (const known of store.keys) {
      const space = known.space === '' ? engine : engine.space(known.space);
      const expected = known.versions.at(-1)!.value;
      let got: Uint8Array | undefined | string;
      try {
        got = await space.get(known.key);
      } catch (error) {
        got = (error as { code: string }).code;
      }
      if (got === 'VARVE_CORRUPT') {
        if (!report.lost.keys.includes(nameOf(known))) faults.push(`${nameOf(known)} is damaged, unlisted`);
      } else if (typeof got === 'string') faults.push(`${nameOf(known)}: ${got}`);
      else if (!same(got, expected) && !isListed(report, known) && !mayBeTorn)
        faults.push(`${nameOf(known)} differs, unlisted`);
      else if (got !== undefined && !known.versions.some(({ value }) => same(value, got as Uint8Array)))
        faults.push(`${nameOf(known)} has bytes that were never written`);
    }
    await engine.put('after', new Uint8Array(3000).fill(7));
    await engine.flush();
    const after = await engine.verify({ level: 'full' });
    const unlisted = after.damage.filter(({ keys = [] }) =>
      keys.some((key) => !report.lost.keys.includes(key)),
    );
    if (unlisted.length > 0) faults.push(`verify: ${JSON.stringify(unlisted)}`);
    if (!after.ok && report.lost.chunks === 0)
      faults.push(`verify: ${JSON.stringify(after.damage.slice(0, 3))}`);
  } finally {
    await engine.close();
  }
  return faults;
}

/** REPAIR_SEED=n: every file of the stores of that seed instead of three of each. */
const everyFile = process.env.REPAIR_SEED !== undefined;
const seed = Number(process.env.REPAIR_SEED ?? 5);

type Damage = (disk: MemoryFileSystem, file: string, prng: Prng) => Promise<void> | void;

const damages: Record<string, Damage> = {
  deleted: async (disk, file) => void (await disk.unlink(file)),
  halved: (disk, file) => disk.corrupt(file, (bytes) => bytes.slice(0, Math.floor(bytes.length / 2))),
  emptied: (disk, file) => disk.corrupt(file, () => new Uint8Array(0)),
  flipped: (disk, file, prng) => disk.flipBit(file, prng.below(disk.bytesOf(file).length * 8)),
  zeroed: (disk, file, prng) =>
    disk.corrupt(file, (bytes) => {
      const from = prng.below(bytes.length);
      bytes.fill(0, from, from + 512);
      return bytes;
    }),
};

describe('repair', () => {
  test('segments that the check found sound are read once, and one that is damaged twice', async () => {
    const store = await buildStore('chunked', 3);
    const disk = store.disk.fork();
    const segments = disk.files().filter((file) => file.startsWith('seg/'));
    const sizes = new Map(segments.map((file) => [file, disk.bytesOf(file).length]));
    const [damaged] = segments;
    disk.flipBit(damaged!, 8 * 400);
    const read = new Map<string, number>();
    const counting = alteredPort(disk, {
      open: async (path, mode) => {
        const file = await disk.open(path, mode);
        const real = file.read.bind(file);
        file.read = async (buf, pos) => {
          const got = await real(buf, pos);
          // Frames, not trailers and list nodes.
          if (got > 4096) read.set(path, (read.get(path) ?? 0) + got);
          return got;
        };
        return file;
      },
    });
    const { algorithm, inlineMax } = store.shape;
    const chunking = store.more.chunking ?? { algorithm, min: 64, avg: 1024, max: 2048 };
    const env = { ...envOf(disk, 99), fs: counting };
    const report = await repairWithEnv(env, { chunking, inlineMax });
    expect(report.actions.length).toBeGreaterThan(0);
    const times = segments.map((file) => (read.get(file) ?? 0) / sizes.get(file)!);
    expect(times[0]).toBeGreaterThan(1.5);
    for (const each of times.slice(1)) expect(each).toBeLessThan(1.5);
    expect(await faultsAfter(store, disk, report, false)).toEqual([]);
  });

  test('a sound store is left as it is', async () => {
    for (const name of shapeNames) {
      const store = await buildStore(name, 3);
      const disk = store.disk.fork();
      const before = disk.digest();
      const report = await repairOn(disk, store);
      expect(report).toMatchObject({ ok: true, actions: [], quarantined: [], damage: [] });
      expect(report.kept.keys).toBe(store.keys.filter(({ versions }) => versions.at(-1)!.value).length);
      expect(disk.digest()).toBe(before);
    }
  });

  for (const [what, damage] of Object.entries(damages)) {
    test(`what one damage did not hit is as it was: a file ${what}`, async () => {
      const prng = new Prng(seed);
      for (const name of shapeNames) {
        const store = await buildStore(name, seed);
        const files = store.disk.files().filter((file) => file !== 'LOCK');
        for (const file of everyFile ? files : [prng.pick(files), prng.pick(files)]) {
          const disk = store.disk.fork();
          await damage(disk, file, prng);
          const report = await repairOn(disk, store);
          // The newest log of a killed store ends in what may be a torn tail.
          const mayBeTorn = name === 'killed' && file.startsWith('wal/') && what !== 'deleted';
          const faults = await faultsAfter(store, disk, report, mayBeTorn);
          expect([name, file, faults]).toEqual([name, file, []]);
        }
      }
    }, 120_000);
  }

  /** A store with one damaged chunk, and what a repair of it says. */
  async function oneDamaged(): Promise<{ store: BuiltStore; disk: MemoryFileSystem }> {
    const store = await buildStore('chunked', 8);
    const disk = store.disk.fork();
    const file = disk.files().find((name) => name.startsWith('seg/'))!;
    disk.flipBit(file, 8 * 200);
    return { store, disk };
  }

  test('a repair says what it rewrites where nothing is lost', async () => {
    const disk = new MemoryFileSystem();
    const shape = { durability: 'full', algorithm: 'sieve', inlineMax: 40, segmentBytes: 2 ** 20 } as const;
    const engine = await openOn(disk, shape, 3);
    const values = new Map(Array.from({ length: 20 }, (_, i) => [`k${i}`, new Prng(i).bytes(1500)]));
    async function* breaking(): AsyncGenerator<Uint8Array> {
      yield new Prng(99).bytes(15_000);
      throw new Error('source');
    }
    await expect(engine.put('given up', breaking())).rejects.toThrow('source');
    for (const [key, value] of values) await engine.put(key, value);
    await engine.close();
    const [file] = disk.files().filter((name) => name.startsWith('seg/'));
    const size = disk.bytesOf(file!).length;
    const nothing = 'every chunk that a row needs is whole: what was damaged in segments nothing needs';
    // Within the first chunk, which belongs to no value; and behind all chunks.
    for (const [at, left] of [
      [300, /: its \d+ whole chunks are written to a new segment, \d+ damaged bytes are left behind$/],
      [size - 100, /: its \d+ whole chunks are written to a new segment, no chunk is damaged$/],
    ] as const) {
      const hit = disk.fork();
      hit.corrupt(file!, (bytes) => {
        bytes.set([1, 2, 3], at);
        return bytes;
      });
      const report = await repairWithEnv(envOf(hit, 99), {});
      expect(report.lost).toMatchObject({ keys: [], versions: 0, chunks: 0, keyRanges: [], sequences: [] });
      expect(report.actions).toEqual([
        expect.stringMatching(left),
        expect.stringContaining('index is made'),
        nothing,
      ]);
      expect(report.quarantined).toContain(file);
      const again = await openOn(hit, shape, 5);
      for (const [key, value] of values) expect(same(await again.get(key), value)).toBe(true);
      await again.close();
    }
  });

  test('a dry run writes nothing and says what the repair then does', async () => {
    const { store, disk } = await oneDamaged();
    const before = disk.digest();
    const dry = await repairOn(disk, store, true);
    expect(disk.digest()).toBe(before);
    expect(dry.dryRun).toBe(true);
    expect(dry.actions.length).toBeGreaterThan(0);
    const real = await repairOn(disk, store);
    expect(real.lost).toEqual(dry.lost);
    expect(real.kept).toEqual(dry.kept);
    expect(real.quarantined).toEqual(dry.quarantined);
    expect(real.damage).toEqual(dry.damage);
    expect(real.lost.keys.length).toBeGreaterThan(0);
    expect(real.ok).toBe(false);
  });

  test('every byte of a replaced file is kept', async () => {
    const { store, disk } = await oneDamaged();
    const before = new Map(disk.files().map((file) => [file, disk.bytesOf(file)]));
    const { quarantined } = await repairOn(disk, store);
    expect(quarantined.length).toBeGreaterThan(2);
    for (const [file, bytes] of before) {
      if (file === 'SUPER' || file === 'LOCK') continue;
      const kept = disk.files().includes(file) ? file : `quarantine/${file.slice(file.lastIndexOf('/') + 1)}`;
      expect([file, same(disk.bytesOf(kept), bytes)]).toEqual([file, true]);
    }
    const copy = disk.files().find((file) => file.startsWith('quarantine/SUPER'))!;
    expect(same(disk.bytesOf(copy), before.get('SUPER'))).toBe(true);
  });

  test('a chunk that is lost is healed from a duplicate frame, and from elsewhere', async () => {
    const { store, disk } = await oneDamaged();
    const whole = await openOn(store.disk.fork(), store.shape, 3, store.more);
    const other = new Map<string, Uint8Array>();
    for (const { space, key, versions } of store.keys) {
      if (versions.at(-1)!.value === undefined) continue;
      const stat = await (space === '' ? whole : whole.space(space)).stat(key);
      if (stat!.chunks === 1) other.set(stat!.digest, versions.at(-1)!.value!);
    }
    await whole.close();
    const twin = disk.fork();
    const lost = (await repairOn(twin, store)).lost.keys;
    const asked: string[] = [];
    const report = await repairWithEnv(envOf(disk, 99), {}, async (id) => {
      const hex = Buffer.from(id).toString('hex');
      asked.push(hex);
      return other.get(hex) ?? new Uint8Array(5);
    });
    expect(asked.length).toBeGreaterThan(0);
    const healable = asked.some((id) => other.has(id));
    if (healable) expect(report.lost.keys.length).toBeLessThan(lost.length);
    expect(await faultsAfter(store, disk, report, false)).toEqual([]);
  });

  test('a repair that is stopped at any step leaves a store that a second one repairs', async () => {
    const { store, disk } = await oneDamaged();
    const full = disk.fork();
    await repairOn(full, store);
    const steps = full.opCount;
    const prng = new Prng(4);
    for (let at = 0; at < steps; at += 1 + prng.below(Math.ceil(steps / 14))) {
      const running = disk.fork();
      running.failAt(at, 'crash');
      const first = await repairOn(running, store).then(
        (report) => report,
        () => undefined,
      );
      const crashed = running.crash(prng);
      const report = await repairOn(crashed, store);
      const said = report.actions.length > 0 ? report : (first ?? report);
      const listed = { ...said, lost: { ...said.lost, keys: [...said.lost.keys] } };
      const faults = await faultsAfter(store, crashed, listed, false);
      expect([at, faults]).toEqual([at, []]);
    }
  }, 60_000);

  test('indexes, snapshots and history are right after a repair that lost rows', async () => {
    const disk = new MemoryFileSystem();
    const shape = { durability: 'full', algorithm: 'sieve', inlineMax: 40, segmentBytes: 8192 } as const;
    const engine = await openOn(disk, shape, 3);
    await engine.indexes.define({ name: 'by-tag', kind: 'range', on: 'tags' });
    for (let i = 0; i < 400; i++)
      await engine.put(`key/${i}`, new Prng(i).bytes(30 + (i % 5) * 100), { tags: [`tag-${i % 7}`] });
    await engine.snapshots.create('before');
    for (let i = 0; i < 400; i += 3) await engine.put(`key/${i}`, 'second', { tags: ['second'] });
    await engine.close();
    const tables = disk.files().filter((file) => file.startsWith('tab/'));
    for (const file of everyFile ? tables : tables.slice(0, 2)) {
      const hit = disk.fork();
      hit.flipBit(file, 8 * 4200);
      const said = await repairWithEnv(envOf(hit, 99), {
        chunking: { algorithm: 'sieve', min: 64, avg: 1024, max: 2048 },
      });
      const again = await openOn(hit, shape, 5);
      const byScan = new Map<string, string>();
      for await (const { key, stat } of again.scan({ stats: true, values: false }))
        byScan.set(key!, stat!.tags![0]!);
      for (const tag of ['tag-3', 'second']) {
        const found: string[] = [];
        for (let turns = 0; (await again.indexes.list())[0]?.state !== 'ready' && turns < 200; turns++)
          await turn();
        for await (const { key } of again.query({ index: 'by-tag', eq: tag })) found.push(key as string);
        const expected = Array.from(byScan).filter(([, each]) => each === tag);
        expect([file, tag, found.sort()]).toEqual([file, tag, expected.map(([key]) => key).sort()]);
      }
      if (said.lost.other.length === 0)
        expect(again.snapshots.list().map(({ name }) => name)).toEqual(['before']);
      const { damage, unchecked } = await again.verify({ level: 'full' });
      expect([file, damage, unchecked]).toEqual([file, [], []]);
      await again.close();
    }
  }, 60_000);
});
