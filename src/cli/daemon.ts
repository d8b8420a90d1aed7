/**
 * Schedules run from the command line. The store is opened anew for each run, for writing where nobody else
 * has it, so that other processes can use it between; beside a writer it is opened readOnly, and what became
 * of a run is noted in the vault.
 */
import { setInterval } from 'node:timers';
import { isVarveError } from '../base/errors.ts';
import type {
  Engine,
  RunScheduleOptions,
  ScheduleEvent,
  ScheduleNotes,
  ScheduleReport,
  Vault,
} from '../index.ts';
import { exitCodes } from './exit-codes.ts';
import { loadVarve } from './load.ts';
import { type Session, wasAborted } from './session.ts';
import { plainText, plural, sizeText } from './text.ts';

/** Longest time between looks at the store: schedules may be changed by others. */
const lookMs = 60_000;

/** What is due now. */
export async function runOnce(
  session: Session,
  store: string,
  options: Pick<RunScheduleOptions, 'names' | 'force' | 'breakLock' | 'notes'> = {},
  isNews: (event: ScheduleEvent) => boolean = () => true,
): Promise<{ report: ScheduleReport; code: number }> {
  const { runSchedule } = await loadVarve();
  const lines: Promise<void>[] = [];
  const report = await withStore(store, async (engine) =>
    runSchedule(engine, {
      ...options,
      once: true,
      signal: session.io.signal,
      onEvent: (event) => {
        if (isNews(event)) lines.push(tell(session, event));
      },
    }),
  );
  await Promise.all(lines);
  return { report, code: codeOf(report) };
}

function codeOf({ ok, runs }: ScheduleReport): number {
  if (runs.some((run) => run.corrupt)) return exitCodes.corrupt;
  return ok ? exitCodes.done : exitCodes.failed;
}

/** For writing where that is possible, else as a reader beside whoever writes. */
async function withStore<T>(dir: string, task: (engine: Engine) => Promise<T>): Promise<T> {
  const { openEngine } = await loadVarve();
  let engine: Engine;
  try {
    engine = await openEngine(dir, { createIfMissing: false });
  } catch (error) {
    if (!isVarveError(error, 'VARVE_LOCKED')) throw error;
    engine = await openEngine(dir, { readOnly: true });
  }
  try {
    return await task(engine);
  } finally {
    await engine.close();
  }
}

/**
 * Runs schedules until the signal fires, which is how it is meant to end: with code 0, or the code of the
 * last run of a schedule, or round of its archive, that failed.
 */
export async function runDaemon(session: Session, store: string): Promise<number> {
  const { signal } = session.io;
  const daemon = new Daemon(session, store);
  // The timers of the engine keep no process alive; this one does.
  const alive = setInterval(() => undefined, lookMs);
  try {
    while (!signal.aborted) await pause(await daemon.turn(), signal);
  } catch (error) {
    if (!wasAborted(error, signal)) throw error;
  } finally {
    clearInterval(alive);
  }
  return daemon.code;
}

/** What is to be done. */
interface Found {
  readonly next: Date | undefined;
  readonly isDue: boolean;
  /** The shortest time between rounds of an archive, ms. */
  readonly archiveMs: number;
}

class Daemon {
  readonly #session: Session;
  readonly #store: string;
  readonly #notes: ScheduleNotes = new Map();
  readonly #codes = new Map<string, number>();
  /** What was told last of archives, by schedule: the same is not told again. */
  readonly #told = new Map<string, string>();
  #waiting: string | undefined;
  #archivedMs = 0;

  constructor(session: Session, store: string) {
    this.#session = session;
    this.#store = store;
  }

  get code(): number {
    return Math.max(exitCodes.done, ...this.#codes.values());
  }

  /** Does what is due; how long to rest, ms. */
  async turn(): Promise<number> {
    const found = await this.#look();
    if (found === undefined) return 1000;
    const { next, isDue, archiveMs } = found;
    if (isDue || Date.now() - this.#archivedMs >= archiveMs) {
      this.#archivedMs = Date.now();
      // Schedules that another process is at are looked at again with the others.
      if ((await this.#run()).skipped === 0 && isDue) return 0;
    }
    const text = next?.toISOString();
    if (text !== this.#waiting || isDue) await tell(this.#session, { type: 'waiting', next });
    this.#waiting = text;
    const untilMs = Math.min(
      (next?.getTime() ?? Number.POSITIVE_INFINITY) - Date.now(),
      archiveMs - (Date.now() - this.#archivedMs),
    );
    return Math.min(lookMs, Math.max(1000, untilMs));
  }

  async #run(): Promise<ScheduleReport> {
    const { report } = await runOnce(this.#session, this.#store, { notes: this.#notes }, (event) =>
      this.#isNews(event),
    );
    for (const { schedule, ok, corrupt } of report.runs)
      this.#codes.set(schedule, ok ? exitCodes.done : corrupt ? exitCodes.corrupt : exitCodes.failed);
    // What is not ok without a run that failed is an archive. No schedule has this name.
    const isArchive = !report.ok && report.runs.every(({ ok }) => ok);
    this.#codes.set('', isArchive ? exitCodes.failed : exitCodes.done);
    return report;
  }

  #isNews(event: ScheduleEvent): boolean {
    if (event.type === 'archived') this.#told.delete(event.schedule);
    if (event.type !== 'archive-failed' && event.type !== 'archive-left') return true;
    const text = textOf(event);
    const isNews = this.#told.get(event.schedule) !== text;
    this.#told.set(event.schedule, text);
    return isNews;
  }

  /** Undefined: a writer beside has moved on while this one read; the next look opens the store again. */
  async #look(): Promise<Found | undefined> {
    const { openEngine } = await loadVarve();
    try {
      const engine = await openEngine(this.#store, { readOnly: true });
      try {
        const all = await engine.schedules.list({ graceMs: 0, notes: this.#notes, openVault: readVault });
        const times = all.flatMap(({ next }) => (next === undefined ? [] : [next.getTime()]));
        const rounds = all.flatMap(({ schedule: { archive, paused } }) =>
          archive === undefined || paused === true ? [] : [archive.everyMs],
        );
        return {
          next: times.length === 0 ? undefined : new Date(Math.min(...times)),
          isDue: all.some(({ due }) => due !== undefined),
          archiveMs: Math.min(Number.POSITIVE_INFINITY, ...rounds),
        };
      } finally {
        await engine.close();
      }
    } catch (error) {
      if (isVarveError(error, 'VARVE_SNAPSHOT_EXPIRED')) return undefined;
      throw error;
    }
  }
}

/** Opens a vault that a schedule names, to look at it. */
export async function readVault(dir: string): Promise<Vault> {
  const { openVault } = await loadVarve();
  return await openVault(dir, { readOnly: true });
}

function pause(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const end = (): void => {
      clearTimeout(timer);
      signal.removeEventListener('abort', end);
      resolve();
    };
    const timer = setTimeout(end, ms);
    signal.addEventListener('abort', end);
    if (signal.aborted) end();
  });
}

/** An event as one line: JSON, or for people. */
async function tell(session: Session, event: ScheduleEvent): Promise<void> {
  if (session.json) {
    const { type: what, ...fields } = event;
    await session.out.json({ type: 'schedule-event', event: what, time: new Date(), ...fields });
  } else await session.out.line(`${new Date().toISOString()} ${textOf(event)}`);
  await session.out.flush();
}

function textOf(event: ScheduleEvent): string {
  const name = 'schedule' in event ? plainText(event.schedule) : '';
  switch (event.type) {
    case 'waiting':
      return event.next === undefined
        ? 'no schedule to wait for: see varve schedule set'
        : `next run ${event.next.toISOString()}`;
    case 'started':
      return `${name}: begun, due ${event.due.toISOString()}${event.retry ? ', again' : ''}`;
    case 'backup': {
      const { id, keys, newBytes, warnings, damagedKeys } = event.report;
      const left = damagedKeys === 0 ? '' : `, ${plural(damagedKeys, 'damaged key')} left out`;
      const more = warnings.map((warning) => `; ${plainText(warning)}`).join('');
      return `${name}: backup ${id}, ${plural(keys, 'key')}, new ${sizeText(newBytes)}${left}${more}`;
    }
    case 'forgot':
      return `${name}: ${plural(event.report.removed.length, 'older backup')} removed`;
    case 'pruned':
      return `${name}: ${sizeText(event.report.deletedBytes)} of packs deleted`;
    case 'verified': {
      const { ok, packs, testedKeys, damage } = event.report;
      const state = ok ? 'whole' : `DAMAGED: ${plainText(damage[0]?.message ?? '')}`;
      return `${name}: ${plural(packs, 'pack')} and ${plural(testedKeys, 'key')} looked at, ${state}`;
    }
    case 'archived': {
      const { to, until, bytes, newBytes, ok } = event.report;
      const rest = ok ? '' : ', values that were gone are missing';
      const size = `new ${sizeText(bytes + newBytes)}`;
      return `${name}: log archived up to ${until?.toISOString() ?? to}, ${size}${rest}`;
    }
    case 'archive-left':
      return `${name}: the log is left to the process that writes to the store`;
    case 'archive-failed':
      return `${name}: archive FAILED: ${plainText(event.error.message)}`;
    case 'skipped':
      return `${name}: skipped, ${plainText(event.message)}`;
    default: {
      const { ok, error, ms } = event;
      const end = ok ? 'done' : `FAILED: ${plainText(error?.message ?? '')}`;
      return `${name}: ${end} (${(ms / 1000).toFixed(1)} s)`;
    }
  }
}
