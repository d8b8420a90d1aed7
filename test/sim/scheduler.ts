/**
 * Lets one waiting promise after another go on, in an order that a seed decides, on a clock it alone moves.
 *
 * Invariants (test/sim/sim.test.ts)
 * - nothing goes on but by a choice made here, so equal seeds give equal runs;
 * - time jumps to the next timer only when nothing else can go on, so a wait costs no time;
 * - when nothing waits and nothing is done, the run is stalled: that is an error, not a hang.
 */
import type { Clock } from '../../src/base/clock.ts';
import { VarveError } from '../../src/base/errors.ts';
import type { Prng } from '../../src/base/prng.ts';
import type { SimOptions } from './plan.ts';

type SchedulerOptions = Pick<SimOptions, 'order' | 'burst' | 'clock' | 'timers'>;

interface Waiting {
  readonly label: string;
  readonly go: () => void;
}

interface Timer extends Waiting {
  readonly at: number;
  readonly order: number;
}

/** Steps after which a run is taken to go round in circles. */
const stepsMax = 400_000;
/** Virtual ms after which nothing that could go on is still waited for. */
const patienceMs = 1_200_000;
const yearMs = 365 * 86_400_000;

/** So often the event loop has its turn too. */
const macroEvery = 64;

const macroTurn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));
/** Resolves when no microtask is left; much cheaper than a turn of the event loop. */
const microtasks = (): Promise<void> => new Promise((resolve) => process.nextTick(resolve));

export class Scheduler {
  readonly #prng: Prng;
  readonly #options: SchedulerOptions;
  #ready: Waiting[] = [];
  #timers: Timer[] = [];
  #timersMade = 0;
  /** No timer is due before. */
  #nextDue = Number.POSITIVE_INFINITY;
  #time = 1000;
  #wallOffset = 1_700_000_000_000;
  #salt = 1;
  /** The latest the wall clock ever said. */
  latest = 0;
  readonly #windows = new Set<{ low: number }>();
  /** Asked when nothing can go on, or did not for long; true when it has changed that. */
  onStall: () => boolean = () => false;
  /** Choices made so far. */
  steps = 0;
  /** Sums up every choice: equal runs have equal digests. */
  digest = 0;

  constructor(prng: Prng, options: SchedulerOptions) {
    this.#prng = prng;
    this.#options = options;
  }

  /** Virtual ms since the run began. */
  get time(): number {
    return this.#time;
  }

  readonly clock: Clock = {
    now: () => this.#told(Math.max(0, Math.floor(this.#wallOffset + this.#time))),
    monotonic: () => this.#time,
    sleep: (ms, signal) => this.sleep(ms, signal),
    turn: () => this.turn('turn'),
    keepAlive: () => () => undefined,
  };

  #told(ms: number): number {
    this.latest = Math.max(this.latest, ms);
    for (const window of this.#windows) window.low = Math.min(window.low, ms);
    return ms;
  }

  /** Notes what the clock says until its end: the earliest, and the latest that it ever said. */
  window(): { end: () => readonly [number, number] } {
    const window = { low: Number.MAX_SAFE_INTEGER };
    this.#windows.add(window);
    const end = (): readonly [number, number] => {
      this.#windows.delete(window);
      return [window.low > this.latest ? 0 : window.low, this.latest];
    };
    return { end };
  }

  /** Resolves when it is chosen. */
  turn(label: string): Promise<void> {
    return new Promise((go) => this.#ready.push({ label, go }));
  }

  /** Resolves when `ms` have passed and nothing else could go on. */
  sleep(ms: number, signal?: AbortSignal): Promise<void> {
    return new Promise((go, fail) => {
      const at = this.#time + Math.max(0, ms);
      const heard = (): void => {
        signal?.removeEventListener('abort', abort);
        go();
      };
      const timer: Timer = { label: 'timer', go: heard, at, order: this.#timersMade++ };
      const abort = (): void => {
        this.#timers = this.#timers.filter((other) => other !== timer);
        fail(new VarveError('VARVE_ABORTED', 'waiting was aborted', { cause: signal?.reason }));
      };
      if (signal?.aborted) return abort();
      signal?.addEventListener('abort', abort, { once: true });
      this.#timers.push(timer);
      this.#nextDue = Math.min(this.#nextDue, at);
    });
  }

  /** Forgets all that waits: the process they belonged to is dead. */
  clear(): void {
    this.#ready = [];
    this.#timers = [];
    this.#windows.clear();
    this.#nextDue = Number.POSITIVE_INFINITY;
  }

  /** Notes something that happened, for the digest. */
  note(text: string): void {
    let { digest } = this;
    for (let i = 0; i < text.length; i++) digest = Math.imul(digest ^ text.charCodeAt(i), 0x01000193);
    this.digest = Math.imul(digest ^ this.steps, 0x01000193) >>> 0;
  }

  /** Goes on until `isDone`. Throws when it never will, or not before `deadline` (virtual ms). */
  async until(isDone: () => boolean, what: string, deadline = Number.POSITIVE_INFINITY): Promise<void> {
    const late = this.#time + patienceMs;
    for (let turns = 1; ; turns++) {
      await (turns % macroEvery === 0 ? macroTurn() : microtasks());
      if (isDone()) return;
      if (this.#time > deadline) throw new Error(`${what} is not done at ${this.#time} virtual ms`);
      if (this.steps > stepsMax) throw new Error(`${what} is not done after ${this.steps} steps`);
      if (this.#ready.length === 0) {
        await macroTurn();
        if (isDone()) return;
      }
      // What wakes up again and again for its own sake is no progress.
      if (this.#time > late && this.onStall()) continue;
      if (this.#ready.length === 0 && !this.#fireTimers() && !this.onStall())
        throw new Error(`${what} is stalled for ever`);
      for (let n = this.#burst(); n > 0 && this.#ready.length > 0; n--) this.#step();
    }
  }

  /** Lets everything that needs no choice come to rest. */
  async rest(): Promise<void> {
    await macroTurn();
  }

  #burst(): number {
    return this.#options.burst === 1 ? 1 : 1 + this.#prng.below(this.#options.burst);
  }

  #step(): void {
    this.steps++;
    this.#time += this.#prng.below(4) / 8;
    if (this.#options.timers === 'prompt' && this.#nextDue <= this.#time) this.#fireDue();
    const [next] = this.#ready.splice(this.#choose(), 1);
    this.note(next!.label);
    if (this.#options.clock === 'jumps' && this.#prng.chance(0.002)) this.#jump();
    next!.go();
  }

  #choose(): number {
    const { length } = this.#ready;
    if (length === 1 || this.#options.order === 'fifo') return 0;
    if (this.#options.order === 'random') return this.#prng.below(length);
    // Whatever the salt favours goes first and starves the others, until the salt changes.
    if (this.#prng.chance(0.02)) this.#salt = this.#prng.u32();
    let best = 0;
    let bestRank = -1;
    for (let i = 0; i < length; i++) {
      const rank = rankOf(this.#ready[i]!.label, this.#salt);
      if (rank > bestRank) {
        best = i;
        bestRank = rank;
      }
    }
    return best;
  }

  #fireTimers(): boolean {
    if (this.#timers.length === 0) return false;
    this.#time = Math.max(this.#time, earliest(this.#timers));
    this.#fireDue();
    return true;
  }

  #fireDue(): void {
    const due = this.#timers.filter((timer) => timer.at <= this.#time).sort((a, b) => a.order - b.order);
    this.#timers = this.#timers.filter((timer) => timer.at > this.#time);
    this.#nextDue = earliest(this.#timers);
    this.#ready.push(...due);
  }

  #jump(): void {
    const far = this.#prng.pick([1, 1000, 3_600_000, yearMs, 40 * yearMs]);
    this.#wallOffset += (this.#prng.chance(0.5) ? 1 : -1) * this.#prng.below(far);
  }
}

const earliest = (timers: readonly Timer[]): number =>
  timers.reduce((least, { at }) => Math.min(least, at), Number.POSITIVE_INFINITY);

function rankOf(label: string, salt: number): number {
  let hash = salt;
  for (let i = 0; i < label.length; i++) hash = Math.imul(hash ^ label.charCodeAt(i), 0x01000193);
  return (hash ^ (hash >>> 15)) >>> 0;
}
