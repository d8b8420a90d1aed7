/**
 * The commands by their names, in the order in which help lists them. Each is a module of its own that is
 * loaded when it is asked for: to load them all takes longer than most commands run.
 */
import type { Command } from 'commander';
import type { Runner } from './session.ts';

/** Adds one command to the program. */
export type AddCommand = (program: Command, runner: Runner) => void;

const commandTable: readonly (readonly [name: string, load: () => Promise<AddCommand>])[] = [
  ['put', async () => (await import('./commands/put.ts')).addPut],
  ['get', async () => (await import('./commands/get.ts')).addGet],
  ['rm', async () => (await import('./commands/rm.ts')).addRm],
  ['ls', async () => (await import('./commands/ls.ts')).addLs],
  ['stat', async () => (await import('./commands/stat.ts')).addStat],
  ['versions', async () => (await import('./commands/versions.ts')).addVersions],
  ['history', async () => (await import('./commands/history.ts')).addHistory],
  ['snapshot', async () => (await import('./commands/snapshot.ts')).addSnapshot],
  ['diff', async () => (await import('./commands/diff.ts')).addDiff],
  ['import', async () => (await import('./commands/import.ts')).addImport],
  ['export', async () => (await import('./commands/export.ts')).addExport],
  ['stats', async () => (await import('./commands/stats.ts')).addStats],
  ['compact', async () => (await import('./commands/compact.ts')).addCompact],
  ['inspect', async () => (await import('./commands/inspect.ts')).addInspect],
  ['dump', async () => (await import('./commands/dump.ts')).addDump],
  ['doctor', async () => (await import('./commands/doctor.ts')).addDoctor],
  ['backup', async () => (await import('./commands/backup.ts')).addBackup],
  ['archive', async () => (await import('./commands/archive.ts')).addArchive],
  ['schedule', async () => (await import('./commands/schedule.ts')).addSchedule],
  ['tune', async () => (await import('./commands/tune.ts')).addTune],
  ['vault', async () => (await import('./commands/vault.ts')).addVault],
  ['restore', async () => (await import('./commands/restore.ts')).addRestore],
  ['verify', async () => (await import('./commands/verify.ts')).addVerify],
  ['scrub', async () => (await import('./commands/scrub.ts')).addScrub],
  ['changes', async () => (await import('./commands/changes.ts')).addChanges],
  ['query', async () => (await import('./commands/query.ts')).addQuery],
  ['index', async () => (await import('./commands/indexes.ts')).addIndex],
  ['duplicates', async () => (await import('./commands/duplicates.ts')).addDuplicates],
  ['repair', async () => (await import('./commands/repair.ts')).addRepair],
  ['unlock', async () => (await import('./commands/unlock.ts')).addUnlock],
  ['bench', async () => (await import('./commands/bench.ts')).addBench],
];

/** Names of all commands. */
export const commandNames: readonly string[] = commandTable.map(([name]) => name);

/** What adds the command `name`; all of them, in order, where there is no such command. */
export async function commandsFor(name: string | undefined): Promise<AddCommand[]> {
  const asked = commandTable.filter(([one]) => one === name);
  return await Promise.all((asked.length > 0 ? asked : commandTable).map(([, load]) => load()));
}
