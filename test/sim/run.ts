/**
 * Runs a plan: mayhem (faults, and lives that end in a power cut, a kill or a close), then calm, in which
 * everything must finish, be healthy and be exactly what was acknowledged.
 */
import { isVarveError } from '../../src/base/errors.ts';
import { Prng } from '../../src/base/prng.ts';
import { initChecksum } from '../../src/codec/checksum.ts';
import { openWithEnv } from '../../src/engine/opening/open.ts';
import { MemoryFileSystem } from '../../src/fs/memory-file-system.ts';
import { inFull } from './calls.ts';
import { checkNothingLeft, outliveLeases } from './calm-end.ts';
import { Client } from './client.ts';
import { checkQuota, compareSpaces, marksOf } from './comparison.ts';
import { boundsOf, callsInCalm, engineOptionsOf } from './conditions.ts';
import { Coverage } from './coverage.ts';
import { Injector } from './injector.ts';
import { envOfLife, Life, type World } from './life.ts';
import { Mending } from './mending.ts';
import { whileNothingIsForgotten } from './never-forgotten.ts';
import { Oracle } from './oracle.ts';
import type { FaultKind, SimEnd, SimFault, SimOp, SimPlan } from './plan.ts';
import type { SimResult } from './result.ts';
import { checkRetained } from './retained.ts';
import { Scheduler } from './scheduler.ts';
import { StoreAudit } from './store-audit.ts';

const opensMax = 8;
/** Virtual ms within which calm must have done everything. */
const calmMs = 600_000;

/** Runs `plan` to its end, or to the first thing that is wrong. */
export async function runPlan(plan: SimPlan): Promise<SimResult> {
  await initChecksum();
  return await whileNothingIsForgotten(async () => {
    const run = new Run(plan);
    try {
      await run.mayhem();
      await run.calm();
    } catch (error) {
      run.fail(error);
    }
    return run.result();
  });
}

class Run {
  readonly #plan: SimPlan;
  readonly #world: World;
  readonly #cursors: number[];
  readonly #audit = new StoreAudit();
  readonly #mending = new Mending();
  #disk: MemoryFileSystem;
  #lives = 0;
  #endsDone = 0;
  #ends = 0;
  #crashes = 0;
  #callsAtEnd = 0;
  #stepsSinceDue = 0;
  /** Commits up to here must be there at the next open, whatever happens; and while the power stays. */
  #durable = 0;
  #handed = 0;
  #powerWasCut = false;
  /** An end that a fault brought. */
  #sudden: SimEnd | undefined;
  readonly #cutsDone = new Set<NonNullable<SimFault['cut']>>();
  /** The end of a life in which an operation hung for ever. */
  #reset: SimEnd | undefined;
  #life: Life | undefined;
  /** The last life that had clients: a rival of theirs may outlive its close. */
  #served: Life | undefined;

  constructor(plan: SimPlan) {
    this.#plan = plan;
    const scheduler = new Scheduler(new Prng(plan.seed ^ 0x51), plan.options);
    const injector = new Injector(scheduler, plan.faults);
    const coverage = new Coverage();
    coverage.takeOptions(plan.options);
    const oracle = new Oracle();
    this.#world = { plan, scheduler, injector, oracle, coverage, calls: 0, failure: undefined };
    this.#cursors = plan.clients.map(() => 0);
    this.#disk = new MemoryFileSystem({ profile: plan.options.profile });
    injector.attach(this.#disk);
    injector.isOver = () => this.#isOver();
    injector.isUnderWay = (kind) => coverage.isUnderWay(kind);
    coverage.onBegin = () => injector.callBegins();
    injector.onFault = (kind, fault) => this.#noteFault(kind, fault);
    injector.onFileEvent = (kind, path, disk) => this.#audit.noteFile(kind, path, disk);
    scheduler.onStall = () => this.#cutStuck();
  }

  fail(error: unknown): void {
    this.#world.failure ??= `life ${this.#lives}: ${inFull(error)}`;
  }

  result(): SimResult {
    const { scheduler, injector, oracle, coverage, calls, failure } = this.#world;
    return {
      digest: `${scheduler.digest.toString(16)}-${this.#disk.digest()}-${scheduler.steps}`,
      failure,
      calls,
      lives: this.#lives,
      ends: this.#ends,
      crashes: this.#crashes,
      repairs: this.#mending.count,
      faults: injector.fired,
      checkedReads: oracle.checkedReads,
      checkedWrites: oracle.checkedWrites,
      virtualMs: Math.round(scheduler.time),
      coverage,
      faultLog: injector.log,
    };
  }

  async mayhem(): Promise<void> {
    while (this.#plan.clients.some((ops, i) => this.#cursors[i]! < ops.length)) {
      const life = await this.#open();
      if (life === undefined) continue;
      await this.#serve(life);
      if (!life.over) await this.#close(life);
      this.#throwFailure();
    }
  }

  #throwFailure(): void {
    if (this.#world.failure !== undefined) throw new Error(this.#world.failure);
  }

  /** A slot of SUPER may be: that is a warning, and recovery keeps what it does not know. */
  get #mayBeTorn(): boolean {
    return this.#powerWasCut || this.#mending.hasBegun || this.#world.injector.fired > 0;
  }

  get #end(): SimEnd | undefined {
    return this.#sudden ?? this.#plan.ends[this.#endsDone];
  }

  /** A fault may bring an end of its own, which comes before the others. */
  #noteFault(kind: FaultKind, { cut }: SimFault): void {
    this.#world.coverage.fault(kind);
    if (cut === undefined || this.#sudden !== undefined || this.#cutsDone.has(cut)) return;
    this.#cutsDone.add(cut);
    this.#sudden = { kind: 'power', ...cut };
    this.#callsAtEnd = this.#world.calls;
    this.#stepsSinceDue = 0;
  }

  get #isDue(): boolean {
    const end = this.#end;
    return end !== undefined && this.#world.calls - this.#callsAtEnd >= end.calls;
  }

  /** Asked before each operation of the port: does the process die here? */
  #isOver(): boolean {
    const end = this.#end;
    if (end === undefined || end.kind === 'close' || !this.#isDue) return false;
    if (this.#stepsSinceDue++ < end.steps) return false;
    this.#life?.note();
    if (this.#served !== undefined) this.#served.over = true;
    return true;
  }

  /**
   * Nothing can go on: where an operation hangs for ever somebody resets the machine. False when that is not
   * why.
   */
  #cutStuck(): boolean {
    const { injector } = this.#world;
    if (injector.stuck === 0) return false;
    this.#life?.note();
    if (this.#served !== undefined) this.#served.over = true;
    this.#reset = { kind: 'power', calls: 0, steps: 0, seed: this.#plan.seed };
    injector.cut(this.#disk);
    return true;
  }

  #raise({ durable, handed }: Pick<Life, 'durable' | 'handed'>): void {
    this.#durable = Math.max(this.#durable, durable);
    this.#handed = Math.max(this.#handed, durable, handed);
  }

  #nextEnd(): void {
    this.#world.coverage.begin(this.#end!.kind);
    this.#mending.after(this.#end!);
    this.#ends++;
    if (this.#sudden === undefined) this.#endsDone++;
    this.#sudden = undefined;
    this.#callsAtEnd = this.#world.calls;
    this.#stepsSinceDue = 0;
  }

  /** The machine starts again with what the dead process left. */
  async #reboot(): Promise<void> {
    const { scheduler, injector, coverage } = this.#world;
    const end = this.#reset ?? this.#end!;
    const last = injector.last!;
    this.#crashes++;
    await scheduler.rest();
    scheduler.clear();
    if (this.#reset === undefined) this.#nextEnd();
    this.#reset = undefined;
    coverage.clear();
    const prng = new Prng(end.seed);
    const life = this.#life;
    this.#life = undefined;
    if (life !== undefined) this.#raise(life);
    if (end.kind === 'kill') this.#disk = last;
    else {
      this.#handed = this.#durable;
      this.#disk = last.crash(prng.pick(['none', 'all', prng, prng, prng] as const));
      this.#powerWasCut = true;
    }
    injector.attach(this.#disk);
  }

  /** Runs until `work` settles; undefined when the process died first. */
  async #drive<T>(
    work: Promise<T>,
    what: string,
    deadline?: number,
  ): Promise<{ value: T } | { error: unknown } | undefined> {
    const { scheduler, injector } = this.#world;
    let settled: { value: T } | { error: unknown } | undefined;
    work.then(
      (value) => {
        settled = { value };
      },
      (error: unknown) => {
        settled = { error };
      },
    );
    await scheduler.until(() => settled !== undefined || injector.last !== undefined, what, deadline);
    if (injector.last === undefined) return settled;
    await this.#reboot();
    return undefined;
  }

  #newLife(): Life {
    const { options } = this.#plan;
    const number = ++this.#lives;
    this.#audit.begin(this.#disk);
    const env = envOfLife(this.#world, this.#disk, number);
    const asked = engineOptionsOf(options, number);
    return new Life(this.#world, number, this.#disk, env, asked, boundsOf(options));
  }

  /** Opens the store and holds what it found against the oracle; undefined when the process died first. */
  async #open(isCalm = false): Promise<Life | undefined> {
    const { injector, scheduler } = this.#world;
    injector.enabled = !isCalm;
    if (
      !(await this.#mending.run(this.#world, this.#disk, -this.#lives, (work) => this.#drive(work, 'repair')))
    )
      return undefined;
    for (let tries = 1; ; tries++) {
      injector.enabled = !isCalm && tries < opensMax;
      const life = this.#newLife();
      const deadline = isCalm ? scheduler.time + calmMs : undefined;
      const opened = await this.#drive(openWithEnv(life.env, life.options, life.ownBounds), 'open', deadline);
      if (opened === undefined) return undefined;
      if ('error' in opened) {
        const excused = isVarveError(
          opened.error,
          'VARVE_IO',
          'VARVE_NO_SPACE',
          'VARVE_CORRUPT',
          'VARVE_POISONED',
        );
        if (!life.faulted || !excused) throw opened.error;
        continue;
      }
      life.engine = opened.value;
      const health = life.engine.health();
      if (health.status === 'degraded') {
        if (!life.faulted) throw new Error(`opened degraded: ${JSON.stringify(health)}`);
        if ((await this.#drive(life.engine.close(), 'close of a degraded store')) === undefined)
          return undefined;
        continue;
      }
      if (!health.ok && !this.#mayBeTorn) throw new Error(`opened with a warning: ${JSON.stringify(health)}`);
      injector.enabled = !isCalm;
      await this.#settle(life);
      this.#life = life;
      this.#served = life;
      return life;
    }
  }

  async #settle(life: Life): Promise<void> {
    const { oracle } = this.#world;
    const audit = await this.#audit.run(life.disk.fork());
    const { problems } = audit;
    const others = problems.filter((problem) => !this.#mayBeTorn || !problem.startsWith('SUPER at'));
    if (others.length > 0) throw new Error(others.join('; '));
    const last = oracle.settle(audit, this.#handed, this.#world.scheduler.latest);
    oracle.marks.settle(marksOf(life.engine), last);
    checkQuota(life.engine, oracle);
    checkRetained(audit);
    this.#raise({ durable: oracle.lastSeq, handed: oracle.lastSeq });
    life.note();
  }

  /** Clients call until there is nothing left, the life is to end, or the store must be reopened. */
  async #serve(life: Life): Promise<void> {
    const { scheduler, injector } = this.#world;
    const ends = this.#plan.clients.map((ops, i) =>
      new Client(life, i).run((): SimOp | undefined => {
        if (this.#isCloseDue || this.#cursors[i]! >= ops.length) return undefined;
        return ops[this.#cursors[i]!++];
      }),
    );
    let ended = 0;
    for (const end of ends) void end.then(() => ended++);
    const isDone = (): boolean =>
      injector.last !== undefined ||
      ended === ends.length ||
      this.#isCloseDue ||
      life.mustReopen ||
      this.#world.failure !== undefined;
    injector.serving = true;
    await scheduler.until(isDone, 'calls');
    injector.serving = false;
    this.#throwFailure();
    if (injector.last !== undefined) await this.#reboot();
  }

  get #isCloseDue(): boolean {
    return this.#end?.kind === 'close' && this.#isDue;
  }

  /** Closes the store with calls under way; afterwards everything acknowledged is durable. */
  async #close(life: Life): Promise<void> {
    if (this.#isCloseDue) this.#nextEnd();
    life.note();
    life.closing = true;
    const wasSick = life.isSick;
    const closed = await this.#drive(life.engine.close(), 'close');
    if (closed === undefined) return;
    // Calls that the close refused tell their clients so.
    await this.#world.scheduler.rest();
    this.#throwFailure();
    this.#life = undefined;
    this.#raise(life);
    // A reader may outlive this, and nobody hears what it finds.
    life.over = true;
    if ('error' in closed) {
      if (!life.faulted) throw closed.error;
      return;
    }
    if (wasSick) throw new Error('close resolved although a write had failed');
    this.#raise({ durable: this.#world.oracle.lastAcked, handed: 0 });
  }

  async calm(): Promise<void> {
    const { injector, scheduler } = this.#world;
    injector.isOver = () => false;
    injector.enabled = false;
    const life = (await this.#open(true))!;
    await this.#use(life, [[{ kind: 'policy', policy: { quotaBytes: null } }]]);
    await this.#use(life, callsInCalm());
    life.note();
    life.closing = true;
    await this.#must(life.engine.close(), 'calm close');
    this.#raise({ durable: this.#world.oracle.lastAcked, handed: 0 });
    const again = (await this.#open(true))!;
    const health = again.engine.health();
    if (!health.ok) throw new Error(`not healthy in calm: ${JSON.stringify(health)}`);
    // Every live value of every space, byte for byte, on every way of reading it.
    await this.#must(compareSpaces(again.engine, this.#world.oracle), 'comparison');
    const isReaped = (): boolean => again.engine.stats().ranges.pending === 0;
    await scheduler.until(isReaped, 'range deletes', scheduler.time + calmMs);
    const old = await this.#must(outliveLeases(again.engine, scheduler, this.#disk), 'leases');
    again.closing = true;
    await this.#must(again.engine.close(), 'last close');
    // A merge under way has files of its own until it is closed.
    await checkNothingLeft(this.#disk.fork(), old, this.#mayBeTorn);
    const audit = await this.#audit.run(this.#disk.fork());
    if (audit.problems.length > 0) throw new Error(audit.problems.join('; '));
    checkRetained(audit);
  }

  /** What must be done in time, and well. */
  async #must<T>(work: Promise<T>, what: string): Promise<T> {
    const settled = await this.#drive(work, what, this.#world.scheduler.time + calmMs);
    if (settled === undefined || 'error' in settled) throw settled?.error;
    return settled.value;
  }

  /** Calls of each kind that must all succeed. */
  async #use(life: Life, calls: SimOp[][]): Promise<void> {
    const { scheduler } = this.#world;
    const ends = calls.map((ops, i) => new Client(life, i).run(() => ops.shift()));
    let ended = 0;
    for (const end of ends) void end.then(() => ended++);
    const isDone = (): boolean => ended === ends.length || this.#world.failure !== undefined;
    await scheduler.until(isDone, 'calls in calm', scheduler.time + calmMs);
    this.#throwFailure();
  }
}
