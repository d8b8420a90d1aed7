/**
 * Schedules and their last runs: as the system tree of a store has them, and as those who could not write to
 * it have told elsewhere.
 */
import { readRunNote } from '../../backup/run-notes.ts';
import { type ScheduleEntry, scheduleOf } from '../../backup/schedule-planner.ts';
import type { Vault } from '../../backup/vault.ts';
import { toHex } from '../../base/bytes.ts';
import { isVarveError } from '../../base/errors.ts';
import {
  decodeScheduleRow,
  decodeScheduleRunRow,
  encodeScheduleRunRow,
  type ScheduleRunRow,
  schedulePrefix,
  scheduleRunKey,
  scheduleRunPrefix,
} from '../../format/schedule-rows.ts';
import { systemRowsUnder } from '../background/system-scan.ts';
import type { Store } from '../store.ts';

/** All schedules with their last runs, by name. VARVE_CORRUPT, VARVE_FORMAT_VERSION. */
export async function readSchedules(store: Store): Promise<ScheduleEntry[]> {
  const runs = new Map<string, ScheduleRunRow>();
  for (const { key, value } of await systemRowsUnder(store, scheduleRunPrefix)) {
    const { name, ...run } = decodeScheduleRunRow(key, value);
    runs.set(name, run);
  }
  return (await systemRowsUnder(store, schedulePrefix)).map(({ key, value }) => {
    const row = decodeScheduleRow(key, value);
    const { name, definedMs } = row;
    return { name, definedMs, schedule: scheduleOf(row), run: runs.get(name) };
  });
}

/** Notes a run, if the schedule is still there. Durable as put. */
export async function noteRun(store: Store, name: string, run: ScheduleRunRow): Promise<void> {
  const { txn } = store.writable();
  const isThere = (await readSchedules(store)).some((entry) => entry.name === name);
  if (!isThere) return;
  const committed = txn.commit([], [], [{ key: scheduleRunKey(name), value: encodeScheduleRunRow(run) }]);
  await committed?.done;
}

/** Runs noted for stores that cannot note them: those opened readOnly. By name of the schedule. */
export type ScheduleNotes = Map<string, ScheduleRunRow>;

/**
 * Notes of runs that processes beside a writer have left in the vaults. A vault that cannot be opened or read
 * says nothing, and the logger is told: whoever asks how schedules stand is not kept from it.
 */
export async function notesInVaults(
  store: Store,
  entries: readonly ScheduleEntry[],
  openVault: (vault: string) => Promise<Vault>,
): Promise<ScheduleNotes> {
  const id = toHex(store.parts.identity.dbUuid);
  const notes: ScheduleNotes = new Map();
  for (const { name, schedule } of entries) {
    try {
      const run = await readRunNote((await openVault(schedule.vault)).env, id, name);
      if (run !== undefined) notes.set(name, run);
    } catch (error) {
      if (!isVarveError(error)) throw error;
      const what = 'the note of a run could not be read in the vault';
      store.parts.options.logger.warn?.(what, { schedule: name, error });
    }
  }
  return notes;
}

/** The entry with the newest that is known of its runs. */
export function withNotes(entry: ScheduleEntry, notes: ScheduleNotes | undefined): ScheduleEntry {
  const noted = notes?.get(entry.name);
  const knownMs = Math.max(entry.run?.startedMs ?? 0, entry.definedMs);
  return noted !== undefined && noted.startedMs > knownMs ? { ...entry, run: noted } : entry;
}
