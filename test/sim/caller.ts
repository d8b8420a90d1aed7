/** What every call of a client has in common: it hears what came of it, judges errors, tells the oracle. */
import { isVarveError, type VarveError } from '../../src/base/errors.ts';
import type { Attempt, Conditions, Outcome, Settled } from './attempts.ts';
import { aborted, keyOf, outcomeOf, StreamBroke, spaceOf } from './calls.ts';
import type { Life } from './life.ts';
import type { Observation } from './observations.ts';
import type { SimCondition, ValueSpec } from './plan.ts';

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

export class Caller {
  readonly life: Life;

  constructor(life: Life) {
    this.life = life;
  }

  /** The result or the error of a call; throws LifeOver when nobody is left to hear it. */
  async settle<T>(call: () => Promise<T>): Promise<Settled<T>> {
    let settled: Settled<T>;
    try {
      settled = { value: await call() };
    } catch (error) {
      settled = { error };
    }
    if (this.life.over) throw new LifeOver();
    return settled;
  }

  /** The result of a call; undefined where the disk, a close or what is expected made it fail. */
  async read<T>(
    call: () => Promise<T>,
    ...expected: VarveError['code'][]
  ): Promise<{ value: T } | undefined> {
    const settled = await this.settle(call);
    if ('value' in settled) return settled;
    this.judge(settled.error, ...expected);
    return undefined;
  }

  /** Makes a call that reads, and tells the oracle what it saw and what the clock said meanwhile. */
  async observe<T>(
    call: () => Promise<T>,
    tell: (value: T) => Observation | readonly Observation[],
    ...expected: VarveError['code'][]
  ): Promise<void> {
    const { scheduler, oracle } = this.life.world;
    const window = scheduler.window();
    const found = await this.read(call, ...expected);
    const clock = window.end();
    if (found === undefined) return;
    for (const one of [tell(found.value)].flat()) oracle.observe({ ...one, clock });
  }

  /** Throws an error that nothing excuses. */
  judge(error: unknown, ...expected: VarveError['code'][]): void {
    // A reader may be told that the writer beside it has removed its files.
    if (isVarveError(error, 'VARVE_SNAPSHOT_EXPIRED', ...expected)) return;
    const { life } = this;
    if (life.closing && isVarveError(error, 'VARVE_CLOSED')) return;
    if (life.faulted && isVarveError(error, ...faultCodes)) return;
    if (isVarveError(error, 'VARVE_CORRUPT') && life.mayHaveLost(error.file)) return;
    if (life.liedTo && isVarveError(error, 'VARVE_CORRUPT', 'VARVE_FORMAT_VERSION')) return;
    throw error;
  }

  /** What readers see once a call has ended, for its commits; none of them is higher. */
  get viewAfter(): number {
    return this.life.closing ? Number.MAX_SAFE_INTEGER : this.life.view;
  }

  /** Makes a call that writes and tells the oracle of it. */
  async write<T>(
    kind: string,
    space: string,
    changes: ReadonlyMap<string, ValueSpec | null>,
    call: (attempt: Attempt) => Promise<T>,
    read: (value: T, attempt: Attempt) => { outcome: Outcome; seq?: number },
    conditions: Conditions,
    ...expected: VarveError['code'][]
  ): Promise<void> {
    const { life } = this;
    const { oracle } = life.world;
    // Where nothing was refused a call that fails is a failure by itself: see `judge`.
    const wasSick = life.faulted && life.isSick;
    const attempt = oracle.begin(kind, space, changes, life.view, conditions);
    const settled = await this.settle(() => call(attempt));
    if ('value' in settled) {
      const { outcome, seq } = read(settled.value, attempt);
      if (wasSick) throw new Error('a write was acknowledged after one had failed');
      oracle.end(attempt, outcome, this.viewAfter, seq);
      return;
    }
    const { error } = settled;
    const outcome = outcomeOf(error);
    // A conflict is told once the commit it was decided on can be read.
    oracle.end(attempt, outcome, outcome === 'conflict' ? this.viewAfter : Number.MAX_SAFE_INTEGER);
    if (error instanceof StreamBroke) return;
    const { marks } = oracle;
    if (space === '' && marks.mayHave('policy quotaBytes') && isVarveError(error, 'VARVE_QUOTA')) return;
    // A write is refused when its space is dropped under it.
    if (oracle.isDropping(space, attempt.begin)) this.judge(error, 'VARVE_CONFLICT', ...expected);
    else this.judge(error, ...expected);
  }

  /** The number a condition asks for; undefined where the key cannot be looked up any more. */
  async ifSeq(
    { space, condition }: { space: string; condition: SimCondition },
    key: string,
    number: number,
  ): Promise<number | undefined> {
    if (condition === 'absent') return 0;
    const found = await this.read(() => spaceOf(this.life.engine, space).stat(keyOf(key, number)));
    if (found === undefined || this.life.closing) return undefined;
    const seq = found.value?.seq ?? 0;
    return condition === 'current' ? seq : seq + 1;
  }

  /** A call whose signal is aborted at a moment that its number decides. */
  aborted<T>(number: number, call: (signal: AbortSignal) => Promise<T>): Promise<T> {
    return aborted(this.life.world.scheduler, number, call);
  }
}
