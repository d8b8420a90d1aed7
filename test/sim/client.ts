/** A client of a simulation: makes its calls one after another and tells the oracle what came of them. */
import { isVarveError, type VarveError } from '../../src/base/errors.ts';
import type { Engine } from '../../src/engine/engine.ts';
import { openWithEnv } from '../../src/engine/opening/open.ts';
import type { PutOptions } from '../../src/engine/types.ts';
import type { Attempt, Conditions, Outcome } from './attempts.ts';
import {
  aborted,
  describe,
  inFull,
  keyOf,
  operationsOf,
  outcomeOf,
  type RangeOp,
  removeRange,
  StreamBroke,
  spaceOf,
} from './calls.ts';
import { checkList } from './comparison.ts';
import type { Life } from './life.ts';
import type { SimCondition, SimOp, ValueSpec } from './plan.ts';
import { observeRange, observeScan, observeStat } from './reading.ts';
import { bytesOf, givenOf } from './values.ts';

/** The life ended while a call was under way: its client ends with it. */
export class LifeOver extends Error {}

/** What a disk that refuses may make of a call. */
const faultCodes = [
  'VARVE_IO',
  'VARVE_NO_SPACE',
  'VARVE_COMMIT_UNKNOWN',
  'VARVE_POISONED',
  'VARVE_READ_ONLY',
] as const;

type Settled<T> = { value: T } | { error: unknown };

export class Client {
  readonly #life: Life;
  readonly #name: string;

  constructor(life: Life, number: number) {
    this.#life = life;
    this.#name = `client ${number}`;
  }

  /** Makes the calls that `take` gives. */
  async run(take: () => SimOp | undefined): Promise<void> {
    const { world } = this.#life;
    const { scheduler, coverage, plan } = world;
    for (;;) {
      if (plan.options.think === 'some' && world.calls % 7 === 3) await scheduler.sleep(2);
      await scheduler.turn(this.#name);
      if (this.#isDone) return;
      const op = take();
      if (op === undefined) return;
      const number = world.calls++;
      coverage.begin(op.kind);
      try {
        await this.#perform(op, number);
        this.#life.noteSick();
      } catch (error) {
        if (error instanceof LifeOver) return;
        this.#life.fail(`call ${number} ${describe(op)}: ${inFull(error)}`);
        return;
      }
      coverage.end(op.kind);
      scheduler.note(`${this.#name} ${op.kind}`);
    }
  }

  get #isDone(): boolean {
    const { over, closing, mustReopen, world } = this.#life;
    return over || closing || world.failure !== undefined || mustReopen;
  }

  /** The result or the error of a call; throws LifeOver when nobody is left to hear it. */
  async #settle<T>(call: () => Promise<T>): Promise<Settled<T>> {
    let settled: Settled<T>;
    try {
      settled = { value: await call() };
    } catch (error) {
      settled = { error };
    }
    if (this.#life.over) throw new LifeOver();
    return settled;
  }

  /** The result of a call that reads; undefined where the disk, or a close, is to blame for its failure. */
  async read<T>(call: () => Promise<T>): Promise<{ value: T } | undefined> {
    const settled = await this.#settle(call);
    if ('value' in settled) return settled;
    this.#judge(settled.error);
    return undefined;
  }

  /** Throws an error that nothing excuses. */
  #judge(error: unknown, ...expected: VarveError['code'][]): void {
    // A reader may be told that the writer beside it has removed its files.
    if (isVarveError(error, 'VARVE_SNAPSHOT_EXPIRED', ...expected)) return;
    const life = this.#life;
    if (life.closing && isVarveError(error, 'VARVE_CLOSED')) return;
    if (life.faulted && isVarveError(error, ...faultCodes)) return;
    if (life.liedTo && isVarveError(error, 'VARVE_CORRUPT', 'VARVE_FORMAT_VERSION')) return;
    throw error;
  }

  async #perform(op: SimOp, number: number): Promise<void> {
    const { engine, world } = this.#life;
    switch (op.kind) {
      case 'put': {
        const { value, sha256 = false, big = 0 } = op;
        const labels = { contentType: 'x'.repeat(200), tags: ['b', 'a'] };
        const more = { ...(sha256 ? { sha256 } : {}), ...(big > 0 ? labels : {}) };
        return await this.#put(op, value, (options) =>
          spaceOf(engine, op.space).put(keyOf(op.key, number), givenOf(value), { ...options, ...more }),
        );
      }
      case 'putAborts':
        return await this.#put(
          op,
          op.value,
          (options) => {
            const put = (signal: AbortSignal) =>
              spaceOf(engine, op.space).put(keyOf(op.key, number), givenOf(op.value), { ...options, signal });
            return this.#aborted(number, put);
          },
          undefined,
          'VARVE_ABORTED',
        );
      case 'putIf':
        return await this.#putIf(op, number);
      case 'stream':
      case 'streamThrows':
      case 'streamAborts':
        return await this.#stream(op, number);
      case 'delete':
      case 'deleteAborts':
      case 'deleteIf':
        return await this.#delete(op, number);
      case 'batch':
      case 'batchIf':
        return await this.#batch(op, number);
      case 'deleteRange':
      case 'clear':
      case 'drop':
        return await this.#removeRange(op, number);
      case 'flush': {
        const settled = await this.#settle(() => engine.flush());
        if ('error' in settled) this.#judge(settled.error);
        return;
      }
      case 'stats':
        engine.health();
        world.scheduler.note(JSON.stringify(engine.stats().commits));
        return;
      case 'spaces':
        return checkList(engine, world.oracle);
      case 'rival':
        return await this.#rival();
      case 'reader':
        return await this.#reader(op, number);
      default:
        return await this.#read(op, engine, number, this.#life.view);
    }
  }

  async #put(
    op: { kind: string; space: string; key: string },
    value: ValueSpec,
    call: (options: PutOptions) => Promise<{ seq: number; size: number }>,
    ifSeq?: number,
    ...expected: VarveError['code'][]
  ): Promise<void> {
    const changes = new Map([[op.key, value]]);
    await this.#write(
      op.kind,
      op.space,
      changes,
      ({ id }) => call({ metadata: { id }, ...(ifSeq === undefined ? {} : { ifSeq }) }),
      ({ seq, size }) => {
        if (size !== bytesOf(value).length) throw new Error(`put says it has ${size} bytes`);
        return { outcome: 'done', seq };
      },
      { ifSeq },
      ...expected,
    );
  }

  /** Makes a call that writes and tells the oracle of it. */
  async #write<T>(
    kind: string,
    space: string,
    changes: ReadonlyMap<string, ValueSpec | null>,
    call: (attempt: Attempt) => Promise<T>,
    read: (value: T) => { outcome: Outcome; seq?: number },
    conditions: Conditions,
    ...expected: VarveError['code'][]
  ): Promise<void> {
    const life = this.#life;
    const { oracle } = life.world;
    const wasSick = life.isSick;
    const attempt = oracle.begin(kind, space, changes, life.view, conditions);
    const settled = await this.#settle(() => call(attempt));
    const high = life.closing ? Number.MAX_SAFE_INTEGER : life.view;
    if ('value' in settled) {
      const { outcome, seq } = read(settled.value);
      if (wasSick) throw new Error('a write was acknowledged after one had failed');
      oracle.end(attempt, outcome, high, seq);
      return;
    }
    const { error } = settled;
    oracle.end(attempt, outcomeOf(error), Number.MAX_SAFE_INTEGER);
    if (error instanceof StreamBroke) return;
    // A write is refused when its space is dropped under it.
    if (oracle.isDropping(space, attempt.begin)) this.#judge(error, 'VARVE_CONFLICT', ...expected);
    else this.#judge(error, ...expected);
  }

  async #putIf(op: Extract<SimOp, { kind: 'putIf' }>, number: number): Promise<void> {
    const space = spaceOf(this.#life.engine, op.space);
    const ifSeq = await this.#ifSeq(op, op.key, number);
    if (ifSeq === undefined) return;
    const call = (options: PutOptions) => space.put(keyOf(op.key, number), givenOf(op.value), options);
    await this.#put(op, op.value, call, ifSeq, 'VARVE_CONFLICT');
  }

  /** The number a condition asks for; undefined where the key cannot be looked up any more. */
  async #ifSeq(
    { space, condition }: { space: string; condition: SimCondition },
    key: string,
    number: number,
  ): Promise<number | undefined> {
    if (condition === 'absent') return 0;
    const found = await this.read(() => spaceOf(this.#life.engine, space).stat(keyOf(key, number)));
    if (found === undefined || this.#life.closing) return undefined;
    const seq = found.value?.seq ?? 0;
    return condition === 'current' ? seq : seq + 1;
  }

  #aborted<T>(number: number, call: (signal: AbortSignal) => Promise<T>): Promise<T> {
    return aborted(this.#life.world.scheduler, number, call);
  }

  async #stream(
    op: Extract<SimOp, { kind: 'stream' | 'streamThrows' | 'streamAborts' }>,
    number: number,
  ): Promise<void> {
    const { engine, world } = this.#life;
    const bytes = bytesOf(op.value);
    const aborter = new AbortController();
    const breakAt = op.kind === 'stream' ? Number.MAX_SAFE_INTEGER : number % (op.pieces + 1);
    async function* pieces(): AsyncGenerator<Uint8Array> {
      for (let i = 0; i <= op.pieces; i++) {
        await world.scheduler.turn('stream');
        if (i === breakAt && op.kind === 'streamThrows') throw new StreamBroke();
        if (i === breakAt) aborter.abort();
        const from = Math.floor((i * bytes.length) / op.pieces);
        if (i < op.pieces) yield bytes.slice(from, Math.floor(((i + 1) * bytes.length) / op.pieces));
      }
    }
    const signal = op.kind === 'streamAborts' ? { signal: aborter.signal } : {};
    const source = () => (number % 3 === 0 ? ReadableStream.from(pieces()) : pieces());
    await this.#put(
      op,
      op.value,
      (options) => spaceOf(engine, op.space).put(keyOf(op.key, number), source(), { ...options, ...signal }),
      undefined,
      'VARVE_ABORTED',
    );
  }

  async #delete(
    op: Extract<SimOp, { kind: 'delete' | 'deleteAborts' | 'deleteIf' }>,
    number: number,
  ): Promise<void> {
    const space = spaceOf(this.#life.engine, op.space);
    const ifSeq = op.kind === 'deleteIf' ? await this.#ifSeq(op, op.key, number) : undefined;
    if (op.kind === 'deleteIf' && ifSeq === undefined) return;
    const remove = (options: object) => space.delete(keyOf(op.key, number), options);
    await this.#write(
      'delete',
      op.space,
      new Map([[op.key, null]]),
      () => {
        if (op.kind === 'deleteAborts') return this.#aborted(number, (signal) => remove({ signal }));
        return remove(ifSeq === undefined ? {} : { ifSeq });
      },
      (removed) => ({ outcome: removed ? 'done' : 'nothing' }),
      { ifSeq },
      ...(op.kind === 'deleteAborts' ? (['VARVE_ABORTED'] as const) : []),
      ...(op.kind === 'deleteIf' ? (['VARVE_CONFLICT'] as const) : []),
    );
  }

  /** With a condition it is that of the first operation, which must be a put. */
  async #batch(op: Extract<SimOp, { kind: 'batch' | 'batchIf' }>, number: number): Promise<void> {
    const space = spaceOf(this.#life.engine, op.space);
    const ifSeq = op.kind === 'batchIf' ? await this.#ifSeq(op, op.changes[0]!.key, number) : undefined;
    if (op.kind === 'batchIf' && ifSeq === undefined) return;
    const changes = new Map(op.changes.map(({ key, value }) => [key, value]));
    const puts = op.changes.some(({ value }) => value !== null);
    await this.#write(
      'batch',
      op.space,
      changes,
      ({ id }) => space.batch(operationsOf(op.changes, number, id, ifSeq)),
      // Removals of what is absent make no commit, and the call does not tell.
      ({ seq }) => (puts ? { outcome: 'done', seq } : { outcome: 'unknown' }),
      { ifSeq },
      ...(op.kind === 'batchIf' ? (['VARVE_CONFLICT'] as const) : []),
    );
  }

  async #removeRange(op: RangeOp, number: number): Promise<void> {
    const { engine } = this.#life;
    const aborts = op.kind === 'deleteRange' && op.aborts === true;
    const call = () => {
      if (!aborts) return removeRange(engine, op);
      return this.#aborted(number, (signal) => removeRange(engine, op, { signal }));
    };
    const bounds = op.kind === 'deleteRange' ? op.bounds : {};
    const expected = aborts ? (['VARVE_ABORTED'] as const) : [];
    await this.#write(op.kind, op.space, new Map(), call, (end) => end, { bounds }, ...expected);
  }

  async #rival(): Promise<void> {
    const settled = await this.#settle(() => this.#life.tryRival());
    if ('error' in settled) this.#judge(settled.error, 'VARVE_LOCKED');
  }

  async #reader(op: Extract<SimOp, { kind: 'reader' }>, number: number): Promise<void> {
    const life = this.#life;
    const checkView = life.beforeReader();
    const readOnly = { ...life.options, readOnly: true };
    const opened = await this.read(() => openWithEnv(life.env, readOnly, life.bounds));
    if (opened === undefined) return;
    const reader = opened.value;
    const health = reader.health();
    if (health.status === 'degraded' && !life.faulted)
      throw new Error(`a reader found damage: ${JSON.stringify(health)}`);
    if (health.status !== 'degraded') {
      const { seq: view } = reader.stats();
      checkView(view);
      const { space, keys } = op;
      const options = { scan: {}, entries: Number.MAX_SAFE_INTEGER };
      await this.#read({ kind: 'getMany', space, keys }, reader, number, view);
      await this.#read({ kind: 'scan', space, ...options }, reader, number, view);
    }
    await this.read(() => reader.close());
  }

  /** Reads; `view` is the number up to which `engine` shows commits now. */
  async #read(op: SimOp, engine: Engine, number: number, view: number): Promise<void> {
    if (!('space' in op)) return;
    const [{ oracle }, space] = [this.#life.world, spaceOf(engine, op.space)];
    const dropping = engine === this.#life.engine && oracle.isDropping(op.space);
    const about = { view, space: op.space, ...(dropping ? { mayBeDropped: true } : {}) };
    if (op.kind === 'scan' || op.kind === 'scanStops' || op.kind === 'scanAborts') {
      const seen = await this.#settle(() => observeScan(space, op, about));
      if ('value' in seen) return oracle.observe(seen.value);
      return this.#judge(seen.error, ...(op.kind === 'scanAborts' ? (['VARVE_ABORTED'] as const) : []));
    }
    if (op.kind === 'getMany') {
      const keys = op.keys.map((key, i) => keyOf(key, number + i));
      const found = await this.read(() => space.getMany(keys));
      found?.value.forEach((bytes, i) => {
        oracle.observe({ kind: 'value', ...about, key: op.keys[i]!, bytes });
      });
      return;
    }
    if (op.kind === 'read' || op.kind === 'readCancels') {
      const seen = await this.read(() => observeRange(space, op, keyOf(op.key, number), about));
      if (seen !== undefined) oracle.observe(seen.value);
      return;
    }
    if (!('key' in op)) return;
    const key = keyOf(op.key, number);
    const ofKey = { ...about, key: op.key };
    if (op.kind === 'has') {
      const found = await this.read(() => space.has(key));
      if (found !== undefined) oracle.observe({ kind: 'has', ...ofKey, found: found.value });
    } else if (op.kind === 'stat') {
      const found = await this.read(() => space.stat(key));
      if (found !== undefined) oracle.observe({ kind: 'stat', ...ofKey, stat: observeStat(found.value) });
    } else if (op.kind === 'getAborts') {
      const got = await this.#settle(() => this.#aborted(number, (signal) => space.get(key, { signal })));
      if ('value' in got) oracle.observe({ kind: 'value', ...ofKey, bytes: got.value });
      else this.#judge(got.error, 'VARVE_ABORTED');
    } else {
      const isSync = op.kind === 'getSync';
      const found = await this.read(async () => (isSync ? space.getSync(key) : await space.get(key)));
      if (found !== undefined) oracle.observe({ kind: 'value', ...ofKey, bytes: found.value });
    }
  }
}
