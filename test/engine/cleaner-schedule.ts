/**
 * One generated schedule: writers, a keeper of snapshots, a reader with views and cleaning beside each other
 * on a disk whose operations take as long as the seed says, held against what every commit wrote.
 */
import { Prng } from '../../src/base/prng.ts';
import type { PutGuard } from '../../src/chunk/put-guard.ts';
import type { Engine } from '../../src/engine/engine.ts';
import type { EngineOptions } from '../../src/engine/options.ts';
import { MemoryFileSystem } from '../../src/fs/memory-file-system.ts';
import { auditDisk, strayFiles } from '../crash/audit.ts';
import { openParts } from './cleaner-kit.ts';
import { bytesOf, collect, same, turn } from './engine-kit.ts';

const segmentBytes = 8 * 1024;
const blockBytes = 2500;
const writers = ['a', 'b', 'c'];
const keys = writers.flatMap((name) => [`${name}0`, `${name}1`]);

/** Few blocks, so that puts meet each other's chunks. */
const blocks = Array.from({ length: 6 }, (_, i) => bytesOf(i, blockBytes));

/** A key as it has been since commit `seq`; undefined: absent. */
interface Version {
  readonly seq: number;
  readonly value: Uint8Array | undefined;
}

/** What a read has found; judged in the end, when the number of every commit is known. */
interface Seen {
  readonly where: string;
  readonly seq: number;
  readonly key: string;
  readonly found: Uint8Array | undefined;
}

/** How often the calls of a schedule were made. */
export interface ScheduleCounts {
  commits: number;
  reads: number;
  snapshots: number;
  views: number;
  compacted: number;
}

/** Makes operations of the disk take a number of turns that the seed decides. */
function slowed(disk: MemoryFileSystem, prng: Prng): void {
  for (const name of ['open', 'list', 'stat', 'syncDir'] as const) {
    const real = disk[name].bind(disk) as (...args: unknown[]) => Promise<unknown>;
    Object.assign(disk, {
      [name]: async (...args: unknown[]) => {
        for (let i = prng.below(4); i > 0; i--) await turn();
        return await real(...args);
      },
    });
  }
}

class Schedule {
  readonly counts: ScheduleCounts = { commits: 0, reads: 0, snapshots: 0, views: 0, compacted: 0 };
  readonly #seed: number;
  readonly #prng: Prng;
  readonly #versions = new Map<string, Version[]>(keys.map((key) => [key, []]));
  readonly #seen: Seen[] = [];
  /** Every state is kept and read, not only those that somebody holds. */
  readonly #keepsAll: boolean;
  readonly #guard: PutGuard | undefined;
  #opens = 0;
  #engine!: Engine;

  constructor(seed: number, guard?: PutGuard) {
    this.#guard = guard;
    this.#seed = seed;
    this.#prng = new Prng(seed);
    this.#keepsAll = seed % 4 === 0;
  }

  async run(): Promise<void> {
    const disk = new MemoryFileSystem();
    this.#engine = await this.#open(disk);
    slowed(disk, this.#prng);
    await Promise.all([
      ...writers.map((name) => this.#write(name)),
      this.#snapshot(),
      this.#view(),
      this.#clean(),
    ]);
    await this.#readAll('at the end');
    // As a killed process leaves it.
    const killed = disk.fork();
    await this.#engine.close();
    await this.#audit(disk, 'closed');
    this.#engine = await this.#open(killed);
    await this.#readAll('opened again');
    await this.#engine.compact();
    await this.#readAll('opened again and compacted');
    await this.#engine.close();
    await this.#audit(killed, 'closed again');
    this.#judge();
  }

  async #open(disk: MemoryFileSystem): Promise<Engine> {
    const options: EngineOptions = this.#keepsAll ? { history: { ms: 2 ** 40 } } : {};
    // A store that is opened again draws other bytes.
    const seed = this.#seed + 2 ** 30 * this.#opens++;
    const guard = this.#guard === undefined ? {} : { guard: this.#guard };
    return (await openParts(disk, { segmentBytes, options, seed, ...guard })).engine;
  }

  async #turns(below: number): Promise<void> {
    for (let i = this.#prng.below(below); i > 0; i--) await turn();
  }

  #committed(key: string, seq: number, value: Uint8Array | undefined): void {
    this.counts.commits++;
    this.#versions.get(key)!.push({ seq, value });
  }

  /** Each writer has keys of its own, so that the order of their commits is that of its calls. */
  async #write(name: string): Promise<void> {
    const engine = this.#engine;
    const prng = this.#prng;
    for (let i = 0; i < 5; i++) {
      const key = `${name}${prng.below(2)}`;
      const dice = prng.below(20);
      if (dice < 5) {
        const { seq } = await engine.batch([{ type: 'delete', key }]);
        this.#committed(key, seq, undefined);
      } else if (dice === 5) {
        const { seq } = await engine.deleteRange({ prefix: name });
        for (const each of [0, 1]) this.#committed(`${name}${each}`, seq, undefined);
      } else if (dice === 6) {
        // Its chunks are those of others, and it is gone at once.
        await engine.put(`${name}-brief`, this.#value(), { ttlMs: 1 });
      } else if (dice < 9) {
        const broken = this.#slowly(this.#value(), true);
        await engine.put(key, broken).catch((error: unknown) => {
          if (!(error instanceof Error) || error.message !== 'source') throw error;
        });
      } else {
        const value = this.#value();
        const { seq } = await engine.put(key, dice < 14 ? value : this.#slowly(value, false));
        this.#committed(key, seq, value);
      }
      await this.#turns(10);
    }
  }

  #value(): Uint8Array {
    const parts = Array.from({ length: 1 + this.#prng.below(4) }, () => blocks[this.#prng.below(6)]!);
    return new Uint8Array(Buffer.concat(parts));
  }

  async *#slowly(value: Uint8Array, breaks: boolean): AsyncGenerator<Uint8Array> {
    for (let at = 0; at < value.length; at += blockBytes) {
      yield value.subarray(at, at + blockBytes);
      await this.#turns(25);
    }
    if (breaks) throw new Error('source');
  }

  async #snapshot(): Promise<void> {
    const { snapshots } = this.#engine;
    for (let i = 0; i < 3; i++) {
      await this.#turns(40);
      const { name } = await snapshots.create(`s${i}`);
      this.counts.snapshots++;
      await this.#turns(40);
      await this.#readSnapshot(name, 'snapshot');
      const [oldest] = snapshots.list();
      if (this.#prng.chance(0.5)) await snapshots.delete(oldest!.name);
    }
  }

  /** Views of the newest state or of a snapshot, which may be deleted meanwhile. */
  async #view(): Promise<void> {
    const engine = this.#engine;
    for (let i = 0; i < 4; i++) {
      await this.#turns(30);
      const [oldest] = engine.snapshots.list();
      using view = engine.view(oldest !== undefined && i % 2 === 1 ? { snapshot: oldest.name } : {});
      this.counts.views++;
      const key = keys[this.#prng.below(keys.length)]!;
      this.#saw('view', view.seq, key, await view.get(key));
      await this.#turns(60);
      for (const each of keys) this.#saw('view, held', view.seq, each, await view.get(each));
      const streamed = await collect(view.stream(key)).catch((error: { code?: string }) => {
        if (error.code !== 'VARVE_NOT_FOUND') throw error;
        return undefined;
      });
      this.#saw('view, streamed', view.seq, key, streamed);
    }
  }

  async #clean(): Promise<void> {
    for (let i = 0; i < 4; i++) {
      if (this.#prng.chance(0.3)) await this.#engine.flush();
      await this.#engine.compact();
      this.counts.compacted++;
      await this.#turns(30);
    }
  }

  /** All states that must be there while nothing else goes on. */
  async #readAll(where: string): Promise<void> {
    const engine = this.#engine;
    for (const key of keys) this.#saw(where, Number.MAX_SAFE_INTEGER, key, await engine.get(key));
    for (const name of writers) {
      if ((await engine.get(`${name}-brief`)) !== undefined) throw this.#wrong(where, `${name}-brief lives`);
    }
    for (const { name } of engine.snapshots.list()) await this.#readSnapshot(name, where);
    if (!this.#keepsAll) return;
    for (const [key, versions] of this.#versions) {
      for (const { seq } of versions) this.#saw(where, seq, key, await engine.get(key, { at: seq }));
    }
  }

  async #readSnapshot(name: string, where: string): Promise<void> {
    const { seq } = this.#engine.snapshots.get(name);
    for (const key of keys) {
      this.#saw(`${where}, ${name}`, seq, key, await this.#engine.get(key, { at: { snapshot: name } }));
    }
  }

  #saw(where: string, seq: number, key: string, found: Uint8Array | undefined): void {
    this.counts.reads++;
    this.#seen.push({ where, seq, key, found });
  }

  #judge(): void {
    for (const { where, seq, key, found } of this.#seen) {
      const version = this.#versions.get(key)!.findLast((one) => one.seq <= seq);
      if (!same(found, version?.value)) throw this.#wrong(where, `${key} at ${seq} differs`);
    }
  }

  async #audit(disk: MemoryFileSystem, where: string): Promise<void> {
    const problems = [...(await auditDisk(disk)).problems, ...(await strayFiles(disk))];
    if (problems.length > 0) throw this.#wrong(where, problems.join('; '));
  }

  #wrong(where: string, what: string): Error {
    return new Error(`seed ${this.#seed}, ${where}: ${what}`);
  }
}

/** Runs the schedule of a seed, also with another guard of puts; rejects with what was wrong. */
export async function runSchedule(seed: number, guard?: PutGuard): Promise<ScheduleCounts> {
  const schedule = new Schedule(seed, guard);
  await schedule.run();
  return schedule.counts;
}
