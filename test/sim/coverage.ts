/** Which calls met which, and which options were used together: what is never made is never tested. */
import { faultKinds, instantKinds, opKinds } from './kinds.ts';
import type { FaultKind, SimOptions, SimPlan } from './plan.ts';
import { optionValues } from './plan-maker.ts';

const endKinds = ['close', 'kill', 'power'] as const;
const kinds: readonly string[] = [...opKinds, ...endKinds];
const instant: ReadonlySet<string> = new Set([...instantKinds, ...endKinds]);

export class Coverage {
  readonly #seen = new Set<string>();
  readonly #underWay = new Map<string, number>();
  #last: string | undefined;
  /** Told when a call is under way. */
  onBegin: () => void = () => undefined;

  /** A call, or an end of a life, begins. */
  begin(kind: string): void {
    if (this.#last !== undefined) this.#seen.add(`${this.#last} then ${kind}`);
    for (const [other, count] of this.#underWay) if (count > 0) this.#seen.add(`${kind} during ${other}`);
    this.#last = kind;
    if (!instant.has(kind)) this.#underWay.set(kind, (this.#underWay.get(kind) ?? 0) + 1);
    this.onBegin();
  }

  isUnderWay(kind: string): boolean {
    return (this.#underWay.get(kind) ?? 0) > 0;
  }

  end(kind: string): void {
    if (!instant.has(kind)) this.#underWay.set(kind, this.#underWay.get(kind)! - 1);
  }

  /** The disk refuses something, or takes its time, while calls are under way. */
  fault(fault: FaultKind): void {
    for (const [kind, count] of this.#underWay) if (count > 0) this.#seen.add(`${fault} during ${kind}`);
  }

  /** Nothing is under way any more. */
  clear(): void {
    this.#underWay.clear();
  }

  takeOptions(options: SimPlan['options']): void {
    const used = Object.entries(options).map(([name, value]) => `${name}=${JSON.stringify(value)}`);
    for (const a of used) for (const b of used) if (a < b) this.#seen.add(`${a} with ${b}`);
  }

  add(other: Coverage): void {
    for (const pair of other.#seen) this.#seen.add(pair);
  }

  /** Pairs of calls, of faults and calls, and of option values: how many there are, and those not seen. */
  get report(): { total: number; missing: readonly string[] } {
    const wanted = wantedPairs();
    return { total: wanted.length, missing: wanted.filter((pair) => !this.#seen.has(pair)) };
  }
}

function wantedPairs(): string[] {
  const pairs: string[] = [];
  for (const a of kinds) {
    for (const b of kinds) {
      pairs.push(`${a} then ${b}`);
      if (!instant.has(b)) pairs.push(`${a} during ${b}`);
    }
  }
  for (const fault of faultKinds) {
    for (const kind of opKinds) if (!instant.has(kind)) pairs.push(`${fault} during ${kind}`);
  }
  const options = Object.entries(optionValues) as [keyof SimOptions, readonly unknown[]][];
  for (const [nameA, valuesA] of options) {
    for (const [nameB, valuesB] of options) {
      if (nameA >= nameB) continue;
      for (const a of valuesA) {
        for (const b of valuesB) {
          const [first, second] = [`${nameA}=${JSON.stringify(a)}`, `${nameB}=${JSON.stringify(b)}`].sort();
          pairs.push(`${first} with ${second}`);
        }
      }
    }
  }
  return pairs;
}
