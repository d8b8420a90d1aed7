/**
 * Merges tables in the background: after each checkpoint and after an open, one merge at a time, until the
 * planner finds nothing due.
 *
 *   plan -> merge into new tables, proven -> open them -> install the catalog that names them and no longer
 *   the inputs -> swap them in -> unlink what two catalogs ago was dropped and nobody reads
 *
 * Invariants (test/engine/compactor.test.ts, test/engine/compactor-crash.test.ts)
 * - A crash anywhere leaves the store before or after the merge ("a crash at any operation of a merge loses
 *   nothing").
 * - What fails before the install changes nothing and is tried again later; a damaged input is listed in
 *   health() and left alone ("a damaged table is left alone and listed", "a full disk leaves the store as it
 *   was").
 * - Reads under way see what they saw ("a scan sees its view while tables are merged under it").
 * - After `stop` nothing runs ("close ends a merge that is under way").
 */
import type { FileNo, Seq } from '../../base/brands.ts';
import { isDamage, isVarveError, VarveError } from '../../base/errors.ts';
import {
  level0TablesTarget,
  level1BytesTarget,
  levelRatio,
  mergeBytesLeast,
  mergeBytesTarget,
  mergedTableBytesTarget,
  mergeFreeShare,
  tombstonesWorthMerging,
} from '../../base/limits.ts';
import type { CatalogStore } from '../../catalog/catalog-store.ts';
import { isSpent } from '../../chunk/liveness.ts';
import type { CatalogTable, NumberedFile } from '../../format/catalog.ts';
import { filePath } from '../../format/file-names.ts';
import { trees } from '../../format/trees.ts';
import type { GroupCommit } from '../../log/group-commit.ts';
import { type CompactionResult, compactTables } from '../../tree/compaction.ts';
import {
  type CompactionDebt,
  type CompactionLimits,
  type CompactionPlan,
  compactionDebt,
  type PlanTable,
  planCompaction,
} from '../../tree/compaction-planner.ts';
import type { Forest } from '../../tree/forest.ts';
import { planFull } from '../../tree/full-compaction-planner.ts';
import { type KeepRule, ruleBeside } from '../../tree/keep-rule.ts';
import type { MergePace } from '../../tree/merge-slice.ts';
import { KeyTable } from '../../tree/table-reader.ts';
import type { Env } from '../env.ts';
import type { HealthBook } from '../health/health-book.ts';
import type { Logger } from '../options.ts';
import type { WritePacer } from '../writing/write-pacer.ts';
import type { Checkpointer } from './checkpointer.ts';
import { RetryWait } from './retry-wait.ts';

/** Free space a merge must leave over and above its outputs, as a share of them. */
const spareShare = 0.1;

export const defaultCompactionLimits: CompactionLimits = {
  level0Tables: level0TablesTarget,
  tableBytes: mergedTableBytesTarget,
  level1Bytes: level1BytesTarget,
  levelRatio,
  jobBytes: mergeBytesTarget,
  tombstonesMin: tombstonesWorthMerging,
};

export interface CompactorOptions {
  readonly env: Env;
  readonly dbUuid: Uint8Array;
  readonly forest: Forest;
  readonly catalogs: CatalogStore;
  readonly checkpointer: Checkpointer;
  readonly log: GroupCommit;
  readonly keepRule: () => KeepRule;
  /** Moves the horizon of history kept by time on; settles when that is durable. */
  readonly advance: () => Promise<void>;
  /** True for the number of a live segment. */
  readonly isSegment: (no: FileNo) => boolean;
  readonly pacer: WritePacer;
  readonly health: HealthBook;
  readonly logger: Logger;
  /** Undefined: nothing is ever merged, and nobody waits for it. */
  readonly limits: CompactionLimits | undefined;
  /** What a merge reads of its inputs at once. */
  readonly readBytes: number;
  readonly onFailed: (error: unknown) => void;
}

/** Merges since the engine was opened. */
export interface CompactionCounters {
  readonly merges: number;
  readonly moves: number;
  readonly failures: number;
  readonly bytesRead: number;
  readonly bytesWritten: number;
  readonly rowsDropped: number;
}

type Table = Forest['tables'][number];

export class Compactor {
  readonly counters = { merges: 0, moves: 0, failures: 0, bytesRead: 0, bytesWritten: 0, rowsDropped: 0 };
  readonly #options: CompactorOptions;
  /** Damaged inputs: not touched again before the store is reopened. */
  readonly #avoid = new Set<FileNo>();
  /** Tables made while readers still needed rows in them that could go later, and those only moved. */
  readonly #unsettled = new Set<FileNo>();
  /** Tables made while rows in them stayed for a pinned number alone, and the numbers pinned then. */
  readonly #pinned = new Map<FileNo, readonly Seq[]>();
  readonly #retry: RetryWait;
  #jobBytesMax = Number.MAX_SAFE_INTEGER;
  #running: Promise<void> | undefined;
  /** How merges on request give the thread back. */
  #turn: (() => Promise<void>) | undefined;
  #stopped = false;

  constructor(options: CompactorOptions) {
    this.#options = options;
    this.#retry = new RetryWait(options.env.clock);
  }

  /** Merges what is due, in the background. Never throws: a failed install stops the engine's writes. */
  startIfDue(): void {
    this.#measure();
    if (this.#running !== undefined || this.#isOver() || !this.#retry.isOver) return;
    if (this.#plan() === undefined) return;
    this.#running = this.#run().finally(() => {
      this.#running = undefined;
      this.#measure();
    });
  }

  /**
   * Merges until every tree is one sorted run from which everything is gone that nobody needs, unless that is
   * nothing to be had: tables made since the call are not merged again, those of level `C` only with `spent`.
   * `cancelled` ends it after the merge under way; `turn` gives the thread back. Rejects with what a merge
   * fails with.
   */
  async mergeAll(spent: boolean, cancelled: () => boolean, turn: () => Promise<void>): Promise<void> {
    await this.idle();
    const below = this.#options.catalogs.nextFileNo;
    this.#turn = turn;
    const all = this.#runAll(below, spent, cancelled);
    this.#running = all
      .catch(() => undefined)
      .finally(() => {
        this.#running = undefined;
        this.#turn = undefined;
        this.#measure();
      });
    await all;
  }

  /** Resolves when nothing runs any more; does not wait for what becomes due later. */
  async idle(): Promise<void> {
    while (this.#running !== undefined) await this.#running;
  }

  /** Cancels a merge under way, waits for its end, and starts none any more. Idempotent. */
  async stop(): Promise<void> {
    this.#stopped = true;
    await this.idle();
  }

  get isRunning(): boolean {
    return this.#running !== undefined;
  }

  get debt(): CompactionDebt {
    const { limits } = this.#options;
    if (limits === undefined) return { level0Tables: 0, bytes: 0 };
    return compactionDebt(this.#planTables(undefined), limits, this.#avoid);
  }

  #isOver(): boolean {
    const { log, health } = this.#options;
    return this.#stopped || log.failure !== undefined || health.refusal !== undefined;
  }

  #measure(): void {
    this.#options.pacer.setDebt(this.debt);
  }

  /** What one merge takes is bounded by what the disk has room for. */
  get #limits(): CompactionLimits | undefined {
    const { limits } = this.#options;
    if (limits === undefined || limits.jobBytes <= this.#jobBytesMax) return limits;
    return { ...limits, jobBytes: this.#jobBytesMax };
  }

  async #measureFree(): Promise<void> {
    const free = await this.#options.env.fs.free();
    this.#jobBytesMax =
      free === undefined ? Number.MAX_SAFE_INTEGER : Math.max(mergeBytesLeast, free / mergeFreeShare);
  }

  /** What a merge keeps, as of now. */
  #rule(): KeepRule {
    const { keepRule, forest, log } = this.#options;
    return ruleBeside(keepRule(), forest.ranges.numbers(log.durableSeq));
  }

  #plan(): CompactionPlan | undefined {
    const limits = this.#limits;
    if (limits === undefined) return undefined;
    return planCompaction(this.#planTables(this.#rule()), limits, this.#avoid);
  }

  /** `rule`: tables it lets shrink are not settled. */
  #planTables(rule: KeepRule | undefined): PlanTable[] {
    const pinned = new Set(rule?.pinned);
    return this.#options.forest.tables.map((table) => ({
      ...table.meta,
      tombstones: table instanceof KeyTable ? table.tombstones : 0,
      settled: table.meta.level > 0 && (rule === undefined || !this.#mayShrink(table, rule.horizon, pinned)),
    }));
  }

  /** Rows that stayed when the table was made may go now. */
  #mayShrink({ no, meta }: Table, horizon: Seq, pinned: ReadonlySet<Seq>): boolean {
    if (this.#unsettled.has(no) && meta.maxSeq <= horizon) return true;
    return this.#pinned.get(no)?.some((seq) => !pinned.has(seq)) === true;
  }

  async #run(): Promise<void> {
    while (!this.#isOver()) {
      let plan: CompactionPlan | undefined;
      try {
        await this.#measureFree();
        plan = this.#plan();
        if (plan === undefined) return;
        await this.#step(plan);
        this.#retry.succeeded();
      } catch (error) {
        if (!this.#failed(plan, error)) return;
      }
      this.#measure();
      await this.#options.env.clock.turn();
    }
  }

  async #runAll(below: FileNo, spent: boolean, cancelled: () => boolean): Promise<void> {
    if (this.#limits === undefined) return;
    while (!this.#isOver() && !cancelled()) {
      await this.#measureFree();
      const limits = this.#limits!;
      const tables = this.#planTables(this.#rule());
      const isWorth = ({ tree, no, tombstones, settled }: PlanTable): boolean =>
        no < below && (tree === trees.C ? spent : tombstones > 0 || !settled);
      const plan =
        planCompaction(tables, limits, this.#avoid) ?? planFull(tables, limits, this.#avoid, isWorth);
      if (plan === undefined) return;
      try {
        await this.#step(plan);
      } catch (error) {
        if (!this.#failed(plan, error)) throw error;
      }
      await this.#options.env.clock.turn();
    }
  }

  /** How a merge shares the thread, and opening what it made. */
  get #pace(): MergePace {
    const { env, checkpointer, log } = this.#options;
    return {
      monotonic: () => env.clock.monotonic(),
      turn: () => this.#turn?.() ?? env.clock.turn(),
      yields: () => checkpointer.running !== undefined || log.isWaitedFor,
      cancelled: () => this.#isOver(),
    };
  }

  async #step(plan: CompactionPlan): Promise<void> {
    const { forest } = this.#options;
    const inputs = plan.inputs.map((no) => forest.tables.find((table) => table.no === no)!);
    for (const table of inputs) table.retain();
    try {
      if (plan.move) await this.#move(plan, inputs);
      else await this.#merge(plan, inputs);
    } finally {
      for (const table of inputs) table.release();
    }
  }

  async #move(plan: CompactionPlan, inputs: readonly Table[]): Promise<void> {
    await this.#install(
      inputs,
      inputs.map(({ meta }) => ({ ...meta, level: plan.outputLevel })),
    );
    // No merge has looked at their rows: some may go.
    for (const { no } of inputs) this.#unsettled.add(no);
    this.counters.moves += inputs.length;
  }

  async #merge(plan: CompactionPlan, inputs: readonly Table[]): Promise<void> {
    const { env, catalogs, dbUuid, forest, limits, logger } = this.#options;
    const free = await env.fs.free();
    if (free !== undefined && free < plan.bytes * (1 + spareShare)) {
      throw new VarveError('VARVE_NO_SPACE', `${plan.bytes} bytes to merge, ${free} free on the disk`);
    }
    await this.#options.advance();
    const rule = this.#rule();
    const result = await compactTables(
      {
        tree: plan.tree,
        outputLevel: plan.outputLevel,
        inputs,
        around: forest.tables.map(({ meta }) => meta).filter(({ tree }) => tree === plan.tree),
        rule,
        isSpent: (columns) => isSpent(columns, this.#options.isSegment),
        tableBytes: limits!.tableBytes,
        readBytes: this.#options.readBytes,
      },
      {
        fs: env.fs,
        dbUuid,
        takeFileNo: () => catalogs.takeFileNo(),
        random: env.random,
        pace: this.#pace,
      },
    );
    await this.#install(inputs, result.tables);
    for (const { no, maxSeq } of result.tables) {
      if (maxSeq > rule.horizon) this.#unsettled.add(no);
      if (result.pinned > 0) this.#pinned.set(no, rule.pinned);
    }
    this.#count(result);
    logger.debug?.('tables merged', { ...plan, tables: result.tables.length });
  }

  #count(result: CompactionResult): void {
    const { counters } = this;
    counters.merges++;
    counters.bytesRead += result.bytesRead;
    counters.bytesWritten += result.bytesWritten;
    counters.rowsDropped += result.superseded + result.deletes + result.spent;
  }

  /** One catalog without the inputs and with the outputs; after its install nothing can fail any more. */
  async #install(inputs: readonly Table[], outputs: readonly CatalogTable[]): Promise<void> {
    const { forest, checkpointer, onFailed } = this.#options;
    let prepared: Awaited<ReturnType<Forest['prepare']>>;
    try {
      prepared = await forest.prepare(inputs, outputs, this.#pace);
    } catch (error) {
      await this.#discard(inputs, outputs);
      throw error;
    }
    if (this.#isOver()) {
      await prepared.discard();
      await this.#discard(inputs, outputs);
      return;
    }
    const removed = inputs.map(({ no }) => no);
    let unlinkable: readonly NumberedFile[];
    try {
      unlinkable = await checkpointer.replaceTables(removed, outputs);
    } catch (error) {
      // Which of the two sets the disk has is not known: files stay, and nothing is written any more.
      await prepared.discard();
      onFailed(error);
      throw error;
    }
    prepared.swap();
    for (const no of removed) {
      this.#unsettled.delete(no);
      this.#pinned.delete(no);
    }
    await checkpointer.cleanUp(unlinkable);
  }

  /** Deletes outputs that will not be named; a moved table is an input and stays. */
  async #discard(inputs: readonly Table[], outputs: readonly CatalogTable[]): Promise<void> {
    const { checkpointer } = this.#options;
    const kept = new Set(inputs.map(({ no }) => no));
    const files = outputs.flatMap(({ no }) => (kept.has(no) ? [] : [{ kind: 'tab' as const, no }]));
    await checkpointer.cleanUp(files);
  }

  /** True when another merge may be tried at once: the table to blame is left alone from now on. */
  #failed(plan: CompactionPlan | undefined, error: unknown): boolean {
    const { logger, health } = this.#options;
    if (isVarveError(error, 'VARVE_ABORTED')) return false;
    this.counters.failures++;
    this.#retry.failed();
    logger.warn?.('merging tables failed', { inputs: plan?.inputs, error });
    const damaged = isDamage(error)
      ? plan?.inputs.find((no) => filePath('tab', no) === error.file)
      : undefined;
    if (damaged === undefined) return false;
    health.note(error);
    this.#avoid.add(damaged);
    this.#retry.succeeded();
    return true;
  }
}
