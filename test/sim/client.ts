/** A client of a simulation: makes its calls one after another and tells the oracle what came of them. */
import { Caller, LifeOver } from './caller.ts';
import { describe, inFull } from './calls.ts';
import { checkList } from './comparison.ts';
import { increment, transact, update } from './deciding-calls.ts';
import { defineIndex, dropIndex, queryIndex } from './index-calls.ts';
import type { Life } from './life.ts';
import { holdView, nameState, readPast } from './past-calls.ts';
import type { SimOp } from './plan.ts';
import { follow, setPolicy, verify } from './policy-calls.ts';
import { openReader, read, tryRival } from './read-calls.ts';
import { batch, put, putAborts, putBrief, putIf, remove, removeMany, stream } from './write-calls.ts';

export class Client {
  readonly #life: Life;
  readonly #caller: Caller;
  readonly #name: string;

  constructor(life: Life, number: number) {
    this.#life = life;
    this.#caller = new Caller(life);
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

  async #perform(op: SimOp, number: number): Promise<void> {
    const caller = this.#caller;
    const { engine, world } = this.#life;
    switch (op.kind) {
      case 'put':
        return await put(caller, op, number);
      case 'putBrief':
        return await putBrief(caller, op, number);
      case 'putAborts':
        return await putAborts(caller, op, number);
      case 'putIf':
        return await putIf(caller, op, number);
      case 'stream':
      case 'streamThrows':
      case 'streamAborts':
        return await stream(caller, op, number);
      case 'delete':
      case 'deleteAborts':
      case 'deleteIf':
        return await remove(caller, op, number);
      case 'batch':
      case 'batchIf':
        return await batch(caller, op, number);
      case 'update':
        return await update(caller, op, number);
      case 'increment':
        return await increment(caller, op, number);
      case 'transaction':
        return await transact(caller, op, number);
      case 'deleteRange':
      case 'clear':
      case 'drop':
        return await removeMany(caller, op, number);
      case 'flush':
        return void (await caller.read(() => engine.flush()));
      case 'compact':
        return void (await caller.read(() => engine.compact()));
      case 'snapshot':
      case 'snapshotDrop':
        return await nameState(caller, op);
      case 'index':
        return await defineIndex(caller, op);
      case 'indexDrop':
        return await dropIndex(caller, op);
      case 'query':
        return await queryIndex(caller, op);
      case 'policy':
        return await setPolicy(caller, op);
      case 'verify':
        return await verify(caller, op);
      case 'follow':
        return await follow(caller, op, number);
      case 'past':
        return await readPast(caller, op, number);
      case 'view':
        return await holdView(caller, op, number);
      case 'stats':
        engine.health();
        world.scheduler.note(JSON.stringify(engine.stats().commits));
        return;
      case 'spaces':
        return checkList(engine, world.oracle);
      case 'rival':
        return await tryRival(caller);
      case 'reader':
        return await openReader(caller, op, number);
      default:
        return await read(caller, op, engine, number, this.#life.view);
    }
  }
}
