import { describe, expect, test } from 'vitest';
import { Prng } from '../../src/base/prng.ts';
import { PutGuard } from '../../src/chunk/put-guard.ts';
import type { Engine } from '../../src/engine/engine.ts';
import { openWithEnv } from '../../src/engine/opening/open.ts';
import { MemoryFileSystem } from '../../src/fs/memory-file-system.ts';
import { auditDisk, strayFiles } from '../crash/audit.ts';
import { envOf } from '../crash/machine.ts';
import { bytesOf, same, smallOptions } from './engine-kit.ts';
import { type Bounds, type Explored, explore, Scheduler } from './interleavings.ts';
import { CondemnedHits, NoHeldIds, NoPins } from './weak-guards.ts';

const segmentBytes = 8 * 1024;
/** Sleeps are over so many times as fast: a drain gives up after two of them. */
const faster = 25;
const options = { ...smallOptions, cleaning: { enabled: false }, changesRetention: { bytes: 0 } };

const isShort = process.env.VARVE_COUNT === undefined;
/** Few in an ordinary run; `VARVE_COUNT` for each scope, with up to two switches, else. */
const most = Number(process.env.VARVE_COUNT ?? 4);

const head = bytesOf(1, 7000);
const tail = bytesOf(2, 3000);
const whole = new Uint8Array(Buffer.concat([head, tail]));
const fresh = bytesOf(3, 12_000);

/** What the actors of one run work with, and what is known of each key: all values it may have. */
interface World {
  readonly engine: Engine;
  readonly point: () => Promise<void>;
  /** Undefined: absent. More than one while a call is under way. */
  readonly may: Map<string, (Uint8Array | undefined)[]>;
}

type Actor = (world: World) => Promise<void>;

interface Scope {
  /** Fills the store, which is then closed; returns the value of `first`. */
  readonly before: (engine: Engine) => Promise<Uint8Array | undefined>;
  readonly actors: readonly Actor[];
}

async function write(
  { may }: World,
  key: string,
  value: Uint8Array | undefined,
  call: () => Promise<unknown>,
) {
  may.set(key, [...(may.get(key) ?? [undefined]), value]);
  await call();
  may.set(key, [value]);
}

/** A put whose bytes come in two pieces. */
function put(key: string, first: Uint8Array, second: Uint8Array): Actor {
  return async (world) => {
    const { engine, point } = world;
    async function* pieces(): AsyncGenerator<Uint8Array> {
      yield first;
      await point();
      yield second;
    }
    const value = new Uint8Array(Buffer.concat([first, second]));
    await write(world, key, value, () => engine.put(key, pieces()));
  };
}

const putAtOnce = (key: string, value: Uint8Array): Actor => {
  return (world) => write(world, key, value, () => world.engine.put(key, value));
};

const remove = (key: string): Actor => {
  return (world) => write(world, key, undefined, () => world.engine.delete(key));
};

const inTurn = (...actors: Actor[]): Actor => {
  return async (world) => {
    for (const actor of actors) await actor(world);
  };
};

const compact: Actor = async ({ engine }) => {
  await engine.compact();
};

async function deadFirst(engine: Engine): Promise<undefined> {
  await engine.put('first', whole);
  await engine.delete('first');
}

async function liveFirst(engine: Engine): Promise<Uint8Array> {
  await engine.put('first', whole);
  return whole;
}

/** Two or three callers and a store, each so that a rule of the protocol is needed. */
const scopes: Readonly<Record<string, Scope>> = {
  'a put finds chunks that are cleaned away': { before: deadFirst, actors: [put('k', head, tail), compact] },
  'a put at once finds chunks that are cleaned away': {
    before: deadFirst,
    actors: [compact, putAtOnce('k', whole)],
  },
  'a put stores what nothing names yet': {
    before: async () => undefined,
    actors: [put('k', fresh, tail), compact],
  },
  'the last reference goes while another put takes one': {
    before: liveFirst,
    actors: [remove('first'), put('k', head, tail), compact],
  },
  'chunks die again while a put holds them': {
    before: deadFirst,
    actors: [put('k', head, tail), inTurn(putAtOnce('second', whole), remove('second')), compact],
  },
};

async function openOn(disk: MemoryFileSystem, scheduler: Scheduler, guard?: PutGuard): Promise<Engine> {
  const env = envOf(disk, 1);
  const bounds = { segmentBytes, ...(guard === undefined ? {} : { guard }) };
  return await openWithEnv({ ...env, clock: scheduler.clock(env.clock, faster) }, options, bounds);
}

/** Every key has a value it may have, now and for good, and the files are sound. */
async function judge(
  disk: MemoryFileSystem,
  engine: Engine,
  may: World['may'],
  where: string,
): Promise<void> {
  for (const [key, values] of may) {
    const found = await engine.get(key).catch((error: unknown) => error as Error);
    const isOne = !(found instanceof Error) && values.some((value) => same(found, value));
    if (!isOne) throw new Error(`${where}: ${key} ${found instanceof Error ? found.message : 'differs'}`);
  }
  await engine.close();
  const problems = [...(await auditDisk(disk)).problems, ...(await strayFiles(disk))];
  if (problems.length > 0) throw new Error(`${where}: ${problems.join('; ')}`);
}

/** All schedules of a scope, each with a crash at another of its steps. */
async function explored({ before, actors }: Scope, guard: () => PutGuard, bounds: Bounds): Promise<Explored> {
  const base = new MemoryFileSystem();
  const filled = await openOn(base, new Scheduler());
  const first = await before(filled);
  await filled.close();
  let steps = 1;
  return await explore(bounds, async (switches, number) => {
    const disk = base.fork();
    const scheduler = new Scheduler();
    const engine = await openOn(disk, scheduler, guard());
    const may: World['may'] = new Map([['first', [first]]]);
    const crashAt = (number * 7) % steps;
    let crashed: { readonly disk: MemoryFileSystem; readonly may: World['may'] } | undefined;
    steps = 0;
    scheduler.onStep = (step) => {
      steps++;
      if (step !== crashAt) return;
      const how = number % 3;
      const after =
        how === 0 ? disk.crash('none') : how === 1 ? disk.crash('all') : disk.crash(new Prng(step));
      crashed = { disk: after, may: new Map(may) };
    };
    scheduler.watch(disk);
    const world = { engine, point: () => scheduler.point(), may };
    const others = await scheduler.run(
      actors.map((actor) => () => actor(world)),
      switches,
    );
    disk.schedule = undefined;
    await engine.compact();
    await judge(disk, engine, may, 'at the end');
    if (crashed !== undefined) {
      const again = await openOn(crashed.disk, new Scheduler());
      await again.compact();
      await judge(crashed.disk, again, crashed.may, `after a crash before step ${crashAt}`);
    }
    return others;
  });
}

describe('interleavings of puts, deletes and cleaning', () => {
  for (const [name, scope] of Object.entries(scopes)) {
    test(`${name}: nothing is lost in any of them`, async () => {
      const bounds = isShort ? { switchesMax: 1, most, stride: 7 } : { switchesMax: 2, most };
      const { schedules, wrong } = await explored(scope, () => new PutGuard(), bounds);
      expect(wrong === undefined ? '' : `${JSON.stringify(wrong.switches)} ${wrong.error.stack}`).toBe('');
      expect(schedules).toBeGreaterThan(2);
      if (!isShort) console.log(`${name}: ${schedules} schedules`);
    }, 3_600_000);
  }

  /** A rule left out, the scope that needs it, and what is tried of that. */
  const weakened: readonly [string, string, () => PutGuard, Partial<Bounds>][] = [
    [
      'without held ids',
      'a put finds chunks that are cleaned away',
      () => new NoHeldIds(),
      { hint: [{ at: 2, actor: 1 }] },
    ],
    [
      'without pins',
      'a put stores what nothing names yet',
      () => new NoPins(),
      { hint: [{ at: 9, actor: 1 }] },
    ],
    [
      'with hits of condemned segments',
      'a put at once finds chunks that are cleaned away',
      () => new CondemnedHits(),
      { stride: 9 },
    ],
  ];
  // The last one takes long, and test/engine/cleaner-schedules.test.ts has a schedule for it.
  for (const [name, scope, guard, bounds] of isShort ? weakened.slice(0, 2) : weakened) {
    test(`a schedule shows what is lost ${name}`, async () => {
      const { schedules, wrong } = await explored(scopes[scope]!, guard, {
        switchesMax: 1,
        most: 400,
        ...bounds,
      });
      if (!isShort) console.log(`${name}: ${schedules} schedules, ${JSON.stringify(wrong?.switches)}`);
      expect(wrong?.error.message).toMatch(/at the end|crash/);
    }, 600_000);
  }
});
