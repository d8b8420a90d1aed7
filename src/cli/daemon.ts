/**
 * Schedules run from the command line. The store is opened anew for each run, for writing where nobody else
 * has it, so that other processes can use it between; beside a writer it is opened readOnly, and what became
 * of a run is remembered here and in the vault.
 */
import { setInterval } from 'node:timers';
import { isVarveError } from '../base/errors.ts';
import type { Engine, RunScheduleOptions, ScheduleEvent, ScheduleNotes, ScheduleReport } from '../index.ts';
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
): Promise<{ report: ScheduleReport; code: number }> {
  const { runSchedule } = await loadVarve();
  const lines: Promise<void>[] = [];
  const report = await withStore(store, async (engine) =>
    runSchedule(engine, {
      ...options,
      once: true,
      signal: session.io.signal,
      onEvent: (event) => lines.push(tell(session, event)),
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
 * last run of a schedule that failed.
 */
export async function runDaemon(session: Session, store: string): Promise<number> {
  const { signal } = session.io;
  const notes: ScheduleNotes = new Map();
  const codes = new Map<string, number>();
  // The timers of the engine keep no process alive; this one does.
  const alive = setInterval(() => undefined, lookMs);
  try {
    let waiting: string | undefined;
    while (!signal.aborted) {
      const found = await look(store, notes).catch((error: unknown) => {
        // A writer beside has moved on while this one read: the next look opens the store again.
        if (isVarveError(error, 'VARVE_SNAPSHOT_EXPIRED')) return undefined;
        throw error;
      });
      if (found === undefined) {
        await pause(1000, signal);
        continue;
      }
      const { next, isDue } = found;
      if (isDue) {
        const { report } = await runOnce(session, store, { notes });
        for (const { schedule, ok, corrupt } of report.runs)
          codes.set(schedule, ok ? exitCodes.done : corrupt ? exitCodes.corrupt : exitCodes.failed);
        // Schedules that another process is at are looked at again with the others.
        if (report.skipped === 0) continue;
      }
      const text = next?.toISOString();
      if (text !== waiting || isDue) await tell(session, { type: 'waiting', next });
      waiting = text;
      await pause(
        Math.min(lookMs, Math.max(1000, (next?.getTime() ?? Number.POSITIVE_INFINITY) - Date.now())),
        signal,
      );
    }
  } catch (error) {
    if (!wasAborted(error, signal)) throw error;
  } finally {
    clearInterval(alive);
  }
  return Math.max(exitCodes.done, ...codes.values());
}

/** Whether something is due, as far as the store and `notes` know. */
async function look(
  store: string,
  notes: ScheduleNotes,
): Promise<{ next: Date | undefined; isDue: boolean }> {
  const { openEngine } = await loadVarve();
  const engine = await openEngine(store, { readOnly: true });
  try {
    const all = await engine.schedules.list({ graceMs: 0, notes });
    const times = all.flatMap(({ next }) => (next === undefined ? [] : [next.getTime()]));
    return {
      next: times.length === 0 ? undefined : new Date(Math.min(...times)),
      isDue: all.some(({ due }) => due !== undefined),
    };
  } finally {
    await engine.close();
  }
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
    case 'skipped':
      return `${name}: skipped, ${plainText(event.message)}`;
    default: {
      const { ok, error, ms } = event;
      const end = ok ? 'done' : `FAILED: ${plainText(error?.message ?? '')}`;
      return `${name}: ${end} (${(ms / 1000).toFixed(1)} s)`;
    }
  }
}
