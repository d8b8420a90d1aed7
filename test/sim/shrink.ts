/** Makes a failing plan smaller while it goes on failing: fewer faults, ends and calls, shorter values. */
import type { SimOp, SimPlan, ValueSpec } from './plan.ts';
import { runPlan } from './run.ts';

/** A plan that fails, and with what. */
export interface Failing {
  readonly plan: SimPlan;
  readonly failure: string;
}

/** Failures are the same when their first lines are, numbers and keys apart. */
export function kindOf(failure: string): string {
  const [first] = failure.split('\n', 1);
  const about = first!.replace(/^life \d+: /, '').replace(/call \d+ \{.*\}: /, '');
  return about.replace(/"[^"]*"/g, '""').replace(/\b[0-9a-f]*\d[0-9a-f]*\b/g, 'N');
}

/** Tries at most `runsMax` smaller plans, dropping what the failure does not need. */
export async function shrink(found: Failing, runsMax: number): Promise<Failing> {
  const shrinker = new Shrinker(found, runsMax);
  await shrinker.run();
  return shrinker.best;
}

class Shrinker {
  best: Failing;
  readonly #kind: string;
  #left: number;

  constructor(found: Failing, runsMax: number) {
    this.best = found;
    this.#kind = kindOf(found.failure);
    this.#left = runsMax;
  }

  async run(): Promise<void> {
    let before: number;
    do {
      before = sizeOf(this.best.plan);
      await this.#drop(this.best.plan.faults, (faults) => ({ ...this.best.plan, faults }));
      await this.#drop(this.best.plan.ends, (ends) => ({ ...this.best.plan, ends }));
      await this.#drop(this.best.plan.clients, (clients) => ({ ...this.best.plan, clients }));
      for (let i = 0; i < this.best.plan.clients.length; i++) {
        await this.#drop(this.best.plan.clients[i]!, (ops) => this.#withClient(i, ops));
      }
    } while (sizeOf(this.best.plan) < before && this.#left > 0);
    await this.#shorten();
  }

  #withClient(at: number, ops: readonly SimOp[]): SimPlan {
    const clients = this.best.plan.clients.map((others, i) => (i === at ? ops : others));
    return { ...this.best.plan, clients };
  }

  /** Takes `plan` when it fails in the same way. */
  async #try(plan: SimPlan): Promise<boolean> {
    if (this.#left <= 0) return false;
    this.#left--;
    const { failure } = await runPlan(plan);
    if (failure === undefined || kindOf(failure) !== this.#kind) return false;
    this.best = { plan, failure };
    return true;
  }

  /** Drops pieces of a list, halves first, then smaller ones down to single items. */
  async #drop<T>(list: readonly T[], planWith: (rest: readonly T[]) => SimPlan): Promise<void> {
    let rest = list;
    for (let size = Math.ceil(rest.length / 2); size >= 1 && rest.length > 0; size = Math.floor(size / 2)) {
      for (let from = 0; from < rest.length && this.#left > 0; ) {
        const fewer = [...rest.slice(0, from), ...rest.slice(from + size)];
        if (await this.#try(planWith(fewer))) rest = fewer;
        else from += size;
      }
    }
  }

  async #shorten(): Promise<void> {
    for (let times = 0; times < 6; times++) {
      const { plan } = this.best;
      const clients = plan.clients.map((ops) => ops.map((op) => withValues(op, halved)));
      if (!(await this.#try({ ...plan, clients }))) return;
    }
  }
}

const halved = (spec: ValueSpec): ValueSpec => ({ ...spec, length: Math.floor(spec.length / 2) });

function withValues(op: SimOp, change: (spec: ValueSpec) => ValueSpec): SimOp {
  if (op.kind === 'batch' || op.kind === 'transaction') {
    const changes = op.changes.map(({ key, value }) => ({
      key,
      value: value === null ? null : change(value),
    }));
    return { ...op, changes };
  }
  return 'value' in op && op.value !== null ? { ...op, value: change(op.value) } : op;
}

function sizeOf({ clients, faults, ends }: SimPlan): number {
  return faults.length + ends.length + clients.reduce((sum, ops) => sum + 1 + ops.length, 0);
}
