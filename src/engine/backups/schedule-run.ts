/**
 * Runs schedules of backups: what is due is made, what was missed is made up for once, what failed is tried
 * again. Between processes the vault decides: runs for one store hold a lock there, and a backup that another
 * process has made for the same time is not made again.
 *
 * Invariants (test/engine/schedule-run.test.ts)
 * - Runs for one store never overlap ("two processes never run for one store at once").
 * - Each time of a schedule has one success, and missed times have one together ("times that were missed are
 *   one run").
 * - Older backups go only behind a whole new one ("a failed or damaged backup removes nothing").
 */
import { putRunNote } from '../../backup/run-notes.ts';
import { planSchedule, type ScheduleEntry } from '../../backup/schedule-planner.ts';
import type { Vault } from '../../backup/vault.ts';
import { toHex } from '../../base/bytes.ts';
import { invalid, isVarveError, VarveError } from '../../base/errors.ts';
import { checkFlags, checkFunctions, checkNames } from '../../base/names.ts';
import type { ScheduleRunRow } from '../../format/schedule-rows.ts';
import type { Store } from '../store.ts';
import { type ArchiveEvent, ScheduleArchives } from './schedule-archives.ts';
import { noteRun, readSchedules, type ScheduleNotes, withNotes } from './schedule-book.ts';
import { errorOf, RunSteps, type StepEvent } from './schedule-steps.ts';

/** How schedules are run. */
export interface RunScheduleOptions {
  /** Opens the vault a schedule names. runSchedule of the entry points opens directories. */
  readonly openVault?: (vault: string) => Promise<Vault>;
  /** Of these schedules only. */
  readonly names?: readonly string[];
  /** Makes what is due now, and ends. Default: goes on until the signal fires or the engine is closed. */
  readonly once?: boolean;
  /** With `once`: runs schedules whether they are due or not. */
  readonly force?: boolean;
  /** Removes the lock of another process that is surely dead. */
  readonly breakLock?: boolean;
  /** What happens, as it happens. */
  readonly onEvent?: (event: ScheduleEvent) => void;
  /**
   * For callers that open the store readOnly, and anew for each run: keep one map, and give it each time.
   * Runs of a store that is open for writing are noted in the store.
   */
  readonly notes?: ScheduleNotes;
  readonly signal?: AbortSignal;
}

/** Something that happened while schedules were run. */
export type ScheduleEvent =
  /** Nothing is due until `next`; undefined: there is no schedule to wait for. */
  | { readonly type: 'waiting'; readonly next: Date | undefined }
  /** `retry`: of a run that failed. */
  | { readonly type: 'started'; readonly schedule: string; readonly due: Date; readonly retry: boolean }
  | StepEvent
  | ArchiveEvent
  /** Another process runs schedules of this store (`running`) or has made this backup (`done`). */
  | {
      readonly type: 'skipped';
      readonly schedule: string;
      readonly reason: 'running' | 'done';
      readonly message: string;
    }
  | ({ readonly type: 'finished' } & ScheduleRun);

/** What became of one run. */
export interface ScheduleRun {
  readonly schedule: string;
  readonly due: Date;
  readonly started: Date;
  readonly ms: number;
  /** The backup is whole, and all that was to be done behind it was done and found nothing wrong. */
  readonly ok: boolean;
  /** Something is damaged: in the store, or in the vault. */
  readonly corrupt: boolean;
  /** Id of the backup. */
  readonly backup?: string;
  /** Code and text of what went wrong. */
  readonly error?: { readonly code: string; readonly message: string };
}

/** What `run` did. */
export interface ScheduleReport {
  /** No run failed, and the last round of no archive did. */
  readonly ok: boolean;
  /** The last 1,000. */
  readonly runs: readonly ScheduleRun[];
  /** Schedules that another process was running. */
  readonly skipped: number;
  /** When something is due next. */
  readonly next: Date | undefined;
}

/** Schedules may be changed, and clocks be set, while one waits. */
const lookMs = 60_000;
const runsMax = 1000;
const running = new WeakSet<Store>();

/** See ScheduleList.run. VARVE_CONFLICT while schedules of this store are being run by another call. */
export async function runSchedules(store: Store, options: RunScheduleOptions): Promise<ScheduleReport> {
  checkRunOptions(options);
  store.assertReadable();
  if (running.has(store)) throw new VarveError('VARVE_CONFLICT', 'schedules of this store are being run');
  running.add(store);
  try {
    return await new ScheduleRunner(store, options).run();
  } finally {
    running.delete(store);
  }
}

class ScheduleRunner {
  readonly #store: Store;
  readonly #options: RunScheduleOptions;
  readonly #notes: ScheduleNotes;
  readonly #archives: ScheduleArchives;
  readonly #runs: ScheduleRun[] = [];
  /** Not to be tried again before this moment: another process is at it. */
  readonly #skipUntil = new Map<string, number>();
  #skipped = 0;
  #failed = false;
  #nextMs: number | undefined;

  constructor(store: Store, options: RunScheduleOptions) {
    this.#store = store;
    this.#options = options;
    this.#notes = options.notes ?? new Map();
    this.#archives = new ScheduleArchives(store, options.openVault!, (event) => this.#tell(event));
  }

  async run(): Promise<ScheduleReport> {
    try {
      await this.#loop();
    } catch (error) {
      if (!this.#isEnd(error)) throw error;
    } finally {
      await this.#archives.end();
    }
    const next = this.#nextMs === undefined ? undefined : new Date(this.#nextMs);
    return { ok: !this.#failed && !this.#archives.isFailing, runs: this.#runs, skipped: this.#skipped, next };
  }

  async #loop(): Promise<void> {
    const { clock } = this.#store.parts.env;
    const { once = false, force = false, signal } = this.#options;
    for (;;) {
      for (const entry of await this.#entries()) {
        if (this.#isOver()) return;
        const { dueMs, isRetry } = planSchedule(entry, clock.now(), 0);
        const due = dueMs ?? (force ? clock.now() : undefined);
        if (due === undefined || clock.now() < (this.#skipUntil.get(entry.name) ?? 0)) continue;
        await this.#runOne(entry, due, isRetry);
      }
      if (this.#isOver()) return;
      this.#nextMs = await this.#next();
      if (once) return await this.#archives.once(await this.#entries(), signal);
      await this.#archives.follow(await this.#entries());
      const next = this.#nextMs;
      this.#tell({ type: 'waiting', next: next === undefined ? undefined : new Date(next) });
      const waitMs = Math.min(lookMs, Math.max(1, (next ?? Number.POSITIVE_INFINITY) - clock.now()));
      await clock.sleep(waitMs, signal, true);
      if (this.#isOver()) return;
    }
  }

  /** The error of being told to end. */
  #isEnd(error: unknown): boolean {
    return this.#isOver() && (isVarveError(error, 'VARVE_ABORTED') || isVarveError(error, 'VARVE_CLOSED'));
  }

  #isOver(): boolean {
    return this.#options.signal?.aborted === true || this.#store.isClosing;
  }

  /** Schedules to run, with the newest that is known of their runs. */
  async #entries(): Promise<ScheduleEntry[]> {
    const { names } = this.#options;
    const all = await this.#store.run(() => readSchedules(this.#store));
    for (const name of names ?? [])
      if (!all.some((entry) => entry.name === name))
        throw new VarveError('VARVE_NOT_FOUND', `no schedule ${JSON.stringify(name)}`);
    return all
      .filter(({ name }) => names === undefined || names.includes(name))
      .map((entry) => withNotes(entry, this.#notes));
  }

  async #next(): Promise<number | undefined> {
    const nowMs = this.#store.parts.env.clock.now();
    const times = (await this.#entries()).flatMap((entry) => {
      const { dueMs, nextMs } = planSchedule(entry, nowMs, 0);
      const skipUntil = this.#skipUntil.get(entry.name) ?? nowMs;
      return dueMs !== undefined ? [Math.max(skipUntil, nowMs)] : nextMs === undefined ? [] : [nextMs];
    });
    return times.length === 0 ? undefined : Math.min(...times);
  }

  async #runOne(entry: ScheduleEntry, dueMs: number, retry: boolean): Promise<void> {
    const { clock } = this.#store.parts.env;
    const { name } = entry;
    const startedMs = clock.now();
    const startedAt = clock.monotonic();
    const due = new Date(dueMs);
    this.#tell({ type: 'started', schedule: name, due, retry });
    const { openVault, breakLock, force, signal } = this.#options;
    const means = { openVault: openVault!, breakLock: breakLock === true, force: force === true, signal };
    const steps = new RunSteps(this.#store, entry, means, (event) => this.#tell(event));
    let failure: unknown;
    try {
      const done = await steps.run(dueMs, retry);
      if (done !== undefined) {
        this.#tell({ type: 'skipped', schedule: name, reason: 'done', message: `backup ${done} was made` });
        const row = this.#row(entry, dueMs, startedMs);
        await this.#note(entry, { ...row, backup: done, okDueMs: dueMs, okMs: clock.now() }, steps.vault);
        return;
      }
    } catch (error) {
      if (this.#isEnd(error)) return;
      if (isVarveError(error, 'VARVE_LOCKED')) {
        this.#skipped++;
        this.#skipUntil.set(name, clock.now() + lookMs);
        this.#tell({ type: 'skipped', schedule: name, reason: 'running', message: error.message });
        return;
      }
      failure = error;
    }
    const error = failure === undefined ? steps.fault : errorOf(failure);
    const ok = error === undefined;
    if (!ok) this.#failed = true;
    const run = this.#row(entry, dueMs, startedMs);
    await this.#note(
      entry,
      {
        ...run,
        failures: ok ? 0 : (entry.run?.failures ?? 0) + 1,
        okDueMs: ok ? dueMs : run.okDueMs,
        okMs: ok ? clock.now() : run.okMs,
        verifiedMs: steps.isVerified ? clock.now() : run.verifiedMs,
        backup: steps.backup,
        error: error === undefined ? undefined : `${error.code}: ${error.message}`.slice(0, 2000),
      },
      steps.vault,
    );
    const told: ScheduleRun = {
      schedule: name,
      due,
      started: new Date(startedMs),
      ms: Math.round(clock.monotonic() - startedAt),
      ok,
      corrupt: steps.isCorrupt || isVarveError(failure, 'VARVE_CORRUPT'),
      ...(steps.backup === undefined ? {} : { backup: steps.backup }),
      ...(error === undefined ? {} : { error }),
    };
    this.#runs.push(told);
    if (this.#runs.length > runsMax) this.#runs.shift();
    this.#tell({ type: 'finished', ...told });
  }

  /** A run that is over, with what stays of the one before. */
  #row({ run }: ScheduleEntry, dueMs: number, startedMs: number): ScheduleRunRow {
    const { okDueMs = 0, okMs = 0, verifiedMs = 0 } = run ?? {};
    const endedMs = this.#store.parts.env.clock.now();
    const nothing = { failures: 0, backup: undefined, error: undefined };
    return { ...nothing, dueMs, startedMs, endedMs, okDueMs, okMs, verifiedMs };
  }

  /**
   * In the store, or where that cannot be, in the vault. The run stands whether or not it can be noted: its
   * backup tells of it too.
   */
  async #note({ name }: ScheduleEntry, run: ScheduleRunRow, vault: Vault | undefined): Promise<void> {
    this.#notes.set(name, run);
    const isWriter = this.#store.writableNow() !== undefined;
    const store = toHex(this.#store.parts.identity.dbUuid);
    try {
      if (isWriter) await this.#store.run(() => noteRun(this.#store, name, run));
      else if (vault !== undefined) await putRunNote(vault.env, store, name, run);
    } catch (error) {
      const { logger } = this.#store.parts.options;
      logger.error?.('the run of a schedule could not be noted', { schedule: name, error });
    }
  }

  #tell(event: ScheduleEvent): void {
    try {
      this.#options.onEvent?.(event);
    } catch (error) {
      this.#store.parts.options.logger.error?.('a listener of schedules failed', { error });
    }
  }
}

function checkRunOptions(options: RunScheduleOptions): void {
  const names = ['openVault', 'names', 'once', 'force', 'breakLock', 'onEvent', 'notes', 'signal'];
  checkNames(options, names, 'schedule option');
  if (typeof options.openVault !== 'function') throw invalid('openVault is needed: it opens the vaults');
  checkFlags(options, ['once', 'force', 'breakLock']);
  checkFunctions(options, ['onEvent']);
  const { names: asked } = options;
  if (asked !== undefined && !(Array.isArray(asked) && asked.every((name) => typeof name === 'string')))
    throw invalid('names is an array of names of schedules');
  if (options.force === true && options.once !== true) throw invalid('force goes with once');
}
