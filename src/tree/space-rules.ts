/**
 * Retention and quotas of spaces in memory, as the rows of the system tree say.
 *
 * Retention that keeps less holds only once the commit that says so is on disk, as of every policy: what is
 * dropped by then cannot be asked for again after a power cut.
 *
 * Invariants (test/tree/space-rules.test.ts)
 * - What is loaded equals what was applied ("rows loaded are those applied").
 * - Retention that was changed keeps what the one before kept until the change is durable ("a changed
 *   retention counts alone when it is durable").
 */
import type { Seq } from '../base/brands.ts';
import { PeriodJudge, type PeriodRule, type PeriodRules } from '../base/keep-periods.ts';
import {
  decodeRulesRow,
  decodeUsedRow,
  isRulesKey,
  isUsedKey,
  ruledSpaceOf,
  type SpaceRules,
  type SpaceUsed,
} from '../format/space-rules.ts';

/** Retention of a space that was changed by the commit `endSeq`. */
interface Former {
  readonly space: number;
  readonly retention: PeriodRules;
  readonly endSeq: Seq;
}

const noRules: SpaceRules = { retention: undefined, quotaBytes: undefined };
const noRetention: readonly PeriodRules[] = [];

/** One owner; synchronous. */
export class SpaceRuleRows {
  /** Rises whenever some retention, or what it is judged by, changes. */
  version = 0;
  readonly #rules = new Map<number, SpaceRules>();
  readonly #used = new Map<number, SpaceUsed>();
  #former: Former[] = [];
  /** Retention asked for whose rows are on their way. */
  readonly #declared = new Map<number, PeriodRules>();

  /** True where the row is one of these; its value, or undefined for its deletion. */
  apply(key: Uint8Array, value: Uint8Array | undefined, seq: Seq): boolean {
    if (isUsedKey(key)) {
      const space = ruledSpaceOf(key);
      if (value === undefined) this.#used.delete(space);
      else this.#used.set(space, decodeUsedRow(value));
      return true;
    }
    if (!isRulesKey(key)) return false;
    const space = ruledSpaceOf(key);
    const { retention } = this.rulesOf(space);
    if (retention !== undefined) this.#former.push({ space, retention, endSeq: seq });
    if (value === undefined) this.#rules.delete(space);
    else this.#rules.set(space, decodeRulesRow(value));
    this.version++;
    return true;
  }

  rulesOf(space: number): SpaceRules {
    return this.#rules.get(space) ?? noRules;
  }

  /** Spaces with a rules row. */
  get spaces(): Iterable<number> {
    return this.#rules.keys();
  }

  /** What the space takes; undefined where nobody counts. */
  usedOf(space: number): SpaceUsed | undefined {
    return this.#used.get(space);
  }

  /** Some space is counted. */
  get counts(): boolean {
    return this.#used.size > 0;
  }

  isCounted(space: number): boolean {
    return this.counts && this.#used.has(space);
  }

  /** What is asked for holds from now on; undefined: nothing does. */
  declare(space: number, retention: PeriodRules | undefined): void {
    if (retention === undefined) this.#declared.delete(space);
    else this.#declared.set(space, retention);
    this.version++;
  }

  /** The row of what was asked for is applied, or never will be; what was asked for since stays. */
  undeclare(space: number, retention: PeriodRules): void {
    if (this.#declared.get(space) === retention) this.declare(space, undefined);
  }

  /** True where something is past for good, which is forgotten. */
  settle(durableSeq: Seq): boolean {
    if (!this.#former.some(({ endSeq }) => endSeq <= durableSeq)) return false;
    this.#former = this.#former.filter(({ endSeq }) => endSeq > durableSeq);
    this.version++;
    return true;
  }

  /** Spaces that have retention, or had until a commit that is not durable. */
  retained(): Map<number, readonly PeriodRules[]> {
    const all = new Map<number, readonly PeriodRules[]>();
    const add = (space: number, one: PeriodRules | undefined): void => {
      if (one !== undefined) all.set(space, [...(all.get(space) ?? noRetention), one]);
    };
    for (const [space, { retention }] of this.#rules) add(space, retention);
    for (const { space, retention } of this.#former) add(space, retention);
    for (const [space, retention] of this.#declared) add(space, retention);
    return all;
  }
}

/** Judges the superseded versions of one key after another, newest first, by several retentions at once. */
export class RetentionJudge {
  readonly #judges: readonly PeriodJudge[];

  constructor(rules: readonly PeriodRules[]) {
    this.#judges = rules.map((one) => new PeriodJudge(one));
  }

  /** Another key follows. */
  begin(): void {
    for (const judge of this.#judges) judge.begin();
  }

  /** True when some rule keeps the next superseded version, put or deletion, of that commit time. */
  keeps(timeMs: number): boolean {
    let isKept = false;
    for (const judge of this.#judges) if (judge.judge(timeMs).length > 0) isKept = true;
    return isKept;
  }

  /** The rules that keep it. */
  reasons(timeMs: number): PeriodRule[] {
    return Array.from(new Set(this.#judges.flatMap((judge) => judge.judge(timeMs))));
  }
}
