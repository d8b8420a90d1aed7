/**
 * The plan of a seed. Swarm: each kind of call, of fault and of ending is on or off for the whole run and has
 * a weight of its own, so that runs differ in kind and not only in order.
 */
import { encodeUtf8, toHex } from '../../src/base/bytes.ts';
import { Prng } from '../../src/base/prng.ts';
import { type Aim, aimClients, aimOf } from './aim.ts';
import { drawAimed, drawEnds, drawEveryFault, withRepairs } from './fault-maker.ts';
import { opKinds } from './kinds.ts';
import {
  type BoundsSpec,
  indexNames,
  type OpKind,
  type OpOf,
  type QuerySpec,
  type ScanSpec,
  type SimOp,
  type SimOptions,
  type SimPlan,
  type ValueSpec,
} from './plan.ts';

/** Every value an option can have, for the coverage table too. */
export const optionValues = {
  profile: ['posix', 'ext4', 'wild'],
  durability: ['full', 'os', { groupMs: 3 }, { groupMs: 200 }],
  durability2: ['full', 'os', { groupMs: 20 }],
  algorithm: ['fastcdc', 'sieve'],
  chunkSizes: [
    [256, 1024, 8192],
    [64, 1024, 2048],
    [1024, 4096, 16_384],
  ],
  inlineMax: [0, 40, 1024, 65_536],
  segmentBytes: [4096, 16_384, 65_536, 1_048_576],
  stageBirths: [4, 40, 4096],
  merging: ['off', 'usual', 'eager', 'always'],
  reaping: ['usual', 'small', 'least'],
  threads: ['none', 'steady', 'dying'],
  memtableBytes: [65_536, 131_072, 1_048_576],
  blockCacheBytes: [0, 16_384, 1_048_576],
  trailerCacheBytes: [0, 8192, 1_048_576],
  pendingCommitBytes: [65_536, 1_048_576],
  keyEncoding: ['utf8', 'bytes'],
  spaces: [0, 1, 3],
  keys: [2, 8, 40],
  valueBytes: [200, 1000, 4000, 20_000],
  order: ['fifo', 'random', 'priority'],
  burst: [1, 4, 16],
  clock: ['steady', 'jumps'],
  timers: ['prompt', 'late'],
  think: ['none', 'some'],
} as const satisfies { [K in keyof SimOptions]: readonly SimOptions[K][] };

const heavy: ReadonlySet<OpKind> = new Set(['put', 'putIf', 'stream', 'delete', 'batch']);
const light: ReadonlySet<OpKind> = new Set([
  'clear',
  'drop',
  'flush',
  'compact',
  'view',
  'follow',
  'verify',
  'index',
  'policy',
  'reader',
  'rival',
  'stats',
  'spaces',
]);

const conditions = ['current', 'current', 'absent', 'stale'] as const;

const specialKeys = ['', 'a', 'a\u0000', 'a\u0000b', 'ab', 'a/', 'a/b', 'a/b/c', 'b', 'é', '\u{10000}'];
/** Only values that expire are put to these. */
const briefKeys = ['74', '7474', '742f74'];
/** Nobody puts to these but counters. */
const counterKeys = ['6e', '6e6e'];
const longKeys = ['k'.repeat(300), 'k'.repeat(301)];

/** The plan of `seed`; `calls` bounds its size. */
export function planOf(
  seed: number,
  calls: { least: number; most: number } = { least: 200, most: 220 },
): SimPlan {
  const prng = new Prng(seed);
  const aim = aimOf(seed);
  const options = { ...drawOptions(prng), ...aim?.options };
  const maker = new OpMaker(prng, options, aim);
  const clientCount = aim === undefined ? prng.pick([1, 2, 3, 6]) : aimClients;
  const total = calls.least + prng.below(calls.most - calls.least + 1);
  const clients: SimOp[][] = Array.from({ length: clientCount }, () => []);
  for (let i = 0; i < total; i++) clients[i % clientCount]!.push(maker.next(i % clientCount));
  const faults = aim === undefined ? drawEveryFault(prng, total) : drawAimed(prng, total, aim);
  return { seed, options, clients, faults, ends: withRepairs(seed, drawEnds(prng, total)) };
}

function drawOptions(prng: Prng): SimOptions {
  const drawn = Object.entries(optionValues).map(([name, values]) => [
    name,
    prng.pick(values as readonly unknown[]),
  ]);
  const options = Object.fromEntries(drawn) as SimOptions;
  // Half of the runs keep one durability all through, most of them the default.
  if (prng.chance(0.4)) return { ...options, durability2: options.durability };
  return prng.chance(0.4) ? { ...options, durability: 'full', durability2: 'full' } : options;
}

class OpMaker {
  readonly #prng: Prng;
  readonly #options: SimOptions;
  readonly #keys: readonly string[];
  readonly #kinds: OpKind[] = [];
  readonly #aim: Aim | undefined;
  readonly #made: ValueSpec[] = [];
  readonly #duplicates: number;
  /** How often a value is put twice at the same time; it is then long enough for list nodes. */
  readonly #twins: number;
  #twin: SimOp | undefined;

  constructor(prng: Prng, options: SimOptions, aim: Aim | undefined) {
    this.#prng = prng;
    this.#options = options;
    this.#aim = aim;
    this.#keys = keyPool(prng, options);
    this.#duplicates = prng.pick([0, 0.3, 0.7]);
    this.#twins = prng.pick([0, 0, 0.1, 0.3]);
    for (const kind of opKinds) {
      if (prng.chance(heavy.has(kind) ? 0.15 : 0.35)) continue;
      const weight = light.has(kind) ? 1 : heavy.has(kind) ? prng.pick([2, 5, 9]) : prng.pick([1, 2, 4]);
      for (let n = 0; n < weight; n++) this.#kinds.push(kind);
    }
    this.#kinds.push('put');
    for (const kind of aim?.beside ?? []) this.#kinds.push(kind, kind);
  }

  /** The next call, which is that of `client`; the ones after each other are those of different clients. */
  next(client: number): SimOp {
    const twin = this.#twin;
    this.#twin = undefined;
    if (twin !== undefined) return twin;
    const op = this.#next(client);
    const isPut = op.kind === 'put' || op.kind === 'stream' || op.kind === 'putIf';
    if (!isPut || this.#twins === 0 || !this.#prng.chance(this.#twins)) return op;
    const length = this.#prng.chance(0.1) ? 200_000 : 18_000 + this.#prng.below(14_000);
    const value = { seed: this.#prng.u32(), length };
    this.#made.push(value);
    this.#twin = { kind: 'stream', space: this.#space(), key: this.#prng.pick(this.#keys), value, pieces: 2 };
    return { ...op, value };
  }

  #next(client: number): SimOp {
    const prng = this.#prng;
    const aimed = this.#aim?.calls[client];
    const kind = aimed !== undefined && prng.chance(0.5) ? aimed : prng.pick(this.#kinds);
    const space = this.#space();
    const key = prng.pick(this.#keys);
    switch (kind) {
      case 'put': {
        const more = {
          ...(prng.chance(0.1) ? { sha256: true } : {}),
          ...(prng.chance(0.05) ? { big: 900 } : {}),
        };
        return { kind, space, key, value: this.#value(), ...more };
      }
      case 'putBrief': {
        const ttlMs = prng.pick([5, 500, 60_000, 86_400_000, 10 ** 12]);
        return { kind, space, key: prng.pick(briefKeys), value: this.#value(), ttlMs };
      }
      case 'putAborts':
        return { kind, space, key, value: this.#value() };
      case 'putIf':
        return { kind, space, key, value: this.#value(), condition: prng.pick(conditions) };
      case 'deleteIf':
        return { kind, space, key, condition: prng.pick(conditions) };
      case 'batchIf': {
        const first = { key, value: this.#value() };
        const others = this.#changes().filter((change) => change.key !== key);
        return { kind, space, changes: [first, ...others], condition: prng.pick(conditions) };
      }
      case 'stream':
      case 'streamThrows':
      case 'streamAborts':
        return { kind, space, key, value: this.#value(), pieces: 1 + prng.below(6) };
      case 'batch':
        return { kind, space, changes: this.#changes() };
      case 'update': {
        const value = prng.chance(0.2) ? null : this.#value();
        return { kind, space, key, value, waits: prng.chance(0.3) };
      }
      case 'increment':
        return { kind, key: prng.pick(counterKeys) };
      case 'transaction': {
        const reads = Array.from({ length: prng.below(4) }, () => prng.pick(this.#keys));
        const isolation = prng.pick(['snapshot', 'serializable'] as const);
        const more = { scans: prng.chance(0.2), isolation, retries: prng.pick([0, 0, 20]) };
        return { kind, space, reads, changes: this.#changes(), ...more };
      }
      case 'deleteRange':
        return { kind, space, bounds: this.#bounds(), ...(prng.chance(0.2) ? { aborts: true } : {}) };
      case 'drop':
        return { kind, space: space === '' ? 'space 1' : space };
      case 'getMany':
      case 'reader':
        return { kind, space, keys: this.#someKeys() };
      case 'follow':
        return { kind, space, keys: this.#someKeys(), compacts: prng.chance(0.5) };
      case 'scan':
      case 'scanStops':
      case 'scanAborts':
        return { kind, space, scan: this.#scan(), entries: prng.below(4) };
      case 'read':
      case 'readCancels': {
        const start = prng.chance(0.5) ? 0 : prng.below(this.#options.valueBytes);
        return { kind, space, key, start, length: prng.below(2 * this.#options.valueBytes) };
      }
      case 'index':
        return { kind, name: prng.pick(indexNames), wait: prng.chance(0.6) };
      case 'indexDrop':
        return { kind, name: prng.pick(indexNames) };
      case 'query':
        return { kind, query: this.#query() };
      case 'policy':
        return { kind, policy: this.#policy() };
      case 'verify':
        return { kind, level: prng.pick(['index', 'chunks', 'full'] as const) };
      case 'snapshot':
      case 'snapshotDrop':
        return { kind, name: prng.pick(['p', 'q']) };
      case 'past':
        return { kind, space, key, ...(prng.chance(0.5) ? { share: prng.u32() / 2 ** 32 } : {}) };
      case 'view':
        return { kind, space, key, compacts: prng.chance(0.5) };
      case 'flush':
      case 'compact':
      case 'stats':
      case 'spaces':
      case 'rival':
        return { kind };
      default: {
        const reads = kind === 'get' || kind === 'getSync' || kind === 'has' || kind === 'stat';
        return { kind, space, key: reads && prng.chance(0.15) ? prng.pick(briefKeys) : key };
      }
    }
  }

  #someKeys(): string[] {
    return Array.from({ length: 1 + this.#prng.below(4) }, () => this.#prng.pick(this.#keys));
  }

  #query(): QuerySpec {
    const prng = this.#prng;
    const index = prng.pick(indexNames);
    // Calls are numbered as they begin.
    const most = index === 'sizes' ? this.#options.valueBytes : 150;
    const from = prng.below(most);
    const range = prng.chance(0.5) ? {} : { gte: from, ...(prng.chance(0.5) ? { lt: from + most / 4 } : {}) };
    return {
      index,
      bounds: index === 'hashed' ? { eq: from } : range,
      ...(prng.chance(0.3) ? { reverse: true } : {}),
      ...(prng.chance(0.3) ? { limit: 1 + prng.below(5) } : {}),
      ...(prng.chance(0.4) ? { values: false } : {}),
    };
  }

  #policy(): OpOf<'policy'>['policy'] {
    const prng = this.#prng;
    const form = prng.below(6);
    if (form < 2) return { history: { versions: prng.pick([1, 3]) } };
    if (form === 2) return { retention: prng.chance(0.5) ? null : { last: 1 + prng.below(2) } };
    if (form === 3) return { quotaBytes: this.#options.valueBytes * prng.pick([2, 20]) };
    return form === 4 ? { quotaBytes: null } : { history: null };
  }

  #space(): string {
    const { spaces } = this.#options;
    const n = this.#prng.below(spaces + 2);
    return n === 0 || n > spaces ? '' : `space ${n}`;
  }

  #changes(): { key: string; value: ValueSpec | null }[] {
    const prng = this.#prng;
    const changes = new Map<string, { key: string; value: ValueSpec | null }>();
    for (let n = prng.below(5); n >= 0; n--) {
      const key = prng.pick(this.#keys);
      changes.set(key, { key, value: prng.chance(0.3) ? null : this.#value() });
    }
    return Array.from(changes.values());
  }

  #value(): ValueSpec {
    const prng = this.#prng;
    if (this.#made.length > 0 && prng.chance(this.#duplicates)) {
      const old = prng.pick(this.#made);
      if (prng.chance(0.5)) return old;
      return { ...old, edit: { at: prng.below(old.length + 1), cut: prng.below(20), add: prng.below(20) } };
    }
    const text = prng.chance(0.1) ? { text: true } : {};
    const value = { seed: prng.u32(), length: this.#length(), ...text };
    this.#made.push(value);
    return value;
  }

  #length(): number {
    const prng = this.#prng;
    const { inlineMax, valueBytes } = this.#options;
    const form = prng.below(10);
    if (form === 0) return prng.pick([0, 1, Math.min(inlineMax, 2000), Math.min(inlineMax, 2000) + 1]);
    if (form < 4) return prng.below(Math.min(inlineMax, 600) + 1);
    if (form < 9) return prng.below(valueBytes);
    return Math.min(60_000, prng.below(4 * valueBytes));
  }

  /** At least one bound; half of the time around one key. */
  #bounds(): BoundsSpec {
    const prng = this.#prng;
    const key = (): string => prng.pick(this.#keys) + prng.pick(['', '', '00', 'ff']);
    const form = prng.below(8);
    if (form < 2) return { prefix: toHex(encodeUtf8(prng.pick(['a', 'a/', 'key/', 'key/1', 'b']))) };
    if (form < 4) return { prefix: prng.pick(this.#keys) };
    if (form === 4) return { [prng.pick(['gt', 'gte', 'lt', 'lte'] as const)]: key() };
    const [from, to] = [key(), key()].sort() as [string, string];
    // One in ten is the wrong way round, and removes nothing.
    const isTurned = prng.chance(0.1);
    return {
      [prng.pick(['gt', 'gte'] as const)]: isTurned ? to : from,
      [prng.pick(['lt', 'lte'] as const)]: isTurned ? from : to,
      ...(prng.chance(0.1) ? { prefix: '61' } : {}),
    };
  }

  #scan(): ScanSpec {
    const prng = this.#prng;
    const scan: { -readonly [K in keyof ScanSpec]: ScanSpec[K] } = {};
    if (prng.chance(0.4)) scan.prefix = toHex(encodeUtf8(prng.pick(['', 'a', 'a/', 'key/', 'key/1', 'q'])));
    for (const bound of ['gt', 'gte', 'lt', 'lte', 'after'] as const) {
      if (prng.chance(0.15)) scan[bound] = prng.pick(this.#keys) + prng.pick(['', '', '00', 'ff']);
    }
    if (prng.chance(0.3)) scan.reverse = true;
    if (prng.chance(0.3)) scan.limit = prng.below(8);
    if (prng.chance(0.2)) scan.delimiter = prng.pick(['/', '1', 'b']);
    if (prng.chance(0.3)) scan.values = false;
    if (prng.chance(0.3)) scan.stats = true;
    return scan;
  }
}

function keyPool(prng: Prng, options: SimOptions): string[] {
  const names = [...specialKeys, ...longKeys, ...Array.from({ length: 40 }, (_, i) => `key/${i % 7}/${i}`)];
  const keys = names.map((name) => toHex(encodeUtf8(name)));
  if (options.keyEncoding === 'bytes') keys.push('ff', 'ff00', '00', '61ff', 'fe', 'c3');
  return Array.from({ length: options.keys }, () => prng.pick(keys));
}
