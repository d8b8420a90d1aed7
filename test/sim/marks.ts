/** Things with a name that calls make and take away: snapshots, indexes, policies. */
import { isVarveError, type VarveError } from '../../src/base/errors.ts';
import type { Settled } from './attempts.ts';

/** One call that makes something, or takes it away. */
export interface Mark {
  readonly name: string;
  readonly makes: boolean;
  /** What it made, in words; undefined where nobody was told. */
  value: string | undefined;
  /** 'done': acknowledged. 'nothing': it changed nothing. 'unknown': failed, or cut off. */
  outcome: 'done' | 'nothing' | 'unknown';
  /** Number that readers saw when it ended: its commit is not higher. */
  high: number;
  readonly begin: number;
  end: number;
}

export class MarkBook {
  /** What the store had when it was opened, by name. */
  #known: ReadonlyMap<string, string> = new Map();
  #calls: Mark[] = [];
  #ticks = 0;

  /** A call begins; `value` where it is known before the call ends. */
  begin(name: string, makes: boolean, value?: string): Mark {
    const never = Number.MAX_SAFE_INTEGER;
    const begin = this.#ticks++;
    const mark: Mark = { name, makes, value, outcome: 'unknown', high: never, begin, end: never };
    this.#calls.push(mark);
    return mark;
  }

  /**
   * It ended: with what it made, with false where there was nothing to take away, or with an error; one of
   * `refusals` says that nothing was changed.
   */
  end(mark: Mark, settled: Settled<string | boolean>, high: number, ...refusals: VarveError['code'][]): void {
    mark.end = this.#ticks++;
    if ('error' in settled) {
      if (refusals.length > 0 && isVarveError(settled.error, ...refusals)) mark.outcome = 'nothing';
      return;
    }
    mark.outcome = settled.value === false ? 'nothing' : 'done';
    mark.high = high;
    if (typeof settled.value === 'string') mark.value = settled.value;
  }

  /** True when a call for the name, other than `but`, was under way at any time since `tick`. */
  isTouched(name: string, tick: number, but?: Mark): boolean {
    return this.#calls.some((one) => one !== but && one.name === name && one.end > tick);
  }

  /** False where there was none at the last open, and no call has begun to make one since. */
  mayHave(name: string): boolean {
    return this.#known.has(name) || this.#calls.some((one) => one.name === name && one.makes);
  }

  /** A moment among the beginnings and ends of calls. */
  get tick(): number {
    return this.#ticks++;
  }

  /**
   * Takes what a store just opened has, with its commits up to `last`. Throws where no call can have been the
   * last one for a name: one that was promised came after it.
   */
  settle(found: ReadonlyMap<string, string>, last: number): void {
    const names = new Set([...this.#known.keys(), ...found.keys(), ...this.#calls.map(({ name }) => name)]);
    for (const name of names) {
      const value = found.get(name);
      const calls = this.#calls.filter((one) => one.name === name && one.outcome !== 'nothing');
      const promised = calls.filter(({ outcome, high }) => outcome === 'done' && high <= last);
      const isLast = (end: number): boolean => promised.every((one) => one.begin < end);
      const fits = (one: Mark): boolean =>
        one.makes ? value !== undefined && (one.value ?? value) === value : value === undefined;
      const isExplained =
        (this.#known.get(name) === value && promised.length === 0) ||
        calls.some((one) => fits(one) && isLast(one.end));
      if (!isExplained) {
        const said = calls.map((one) => `${one.makes ? `made ${one.value}` : 'deleted'} ${one.outcome}`);
        throw new Error(`${name} is ${value ?? 'absent'}, was ${this.#known.get(name)}; calls: ${said}`);
      }
    }
    this.#known = new Map(found);
    this.#calls = [];
  }
}
