/** varve schedule: when backups are made. */
import { resolve } from 'node:path';
import Table from 'cli-table3';
import type { Command } from 'commander';
import { invalid, VarveError } from '../../base/errors.ts';
import type { BackupMode, BackupSchedule, ScheduleInfo } from '../../index.ts';
import { readVault, runOnce } from '../daemon.ts';
import { exitCodes } from '../exit-codes.ts';
import { type KeepOptions, keepRulesOf, withKeepOptions } from '../keep-options.ts';
import { collect, examples, jsonOption, wholeNumber } from '../options.ts';
import { type Runner, readStore, type Session, writeStore } from '../session.ts';
import { plainTable } from '../table.ts';
import { plainText } from '../text.ts';

interface Json {
  json?: boolean;
}

interface SetOptions extends Json, KeepOptions {
  cron: string;
  vault: string;
  timeZone?: string;
  mode?: BackupMode;
  label?: string;
  tag?: string[];
  /** False with --no-verify-new. */
  verifyNew: boolean;
  limit?: number;
  verifyLevel?: number;
  verifyParts?: number;
  verifySeconds?: number;
  testKeys?: number;
  archiveSeconds?: number;
  archiveKeepDays?: number;
  paused?: boolean;
}

export function addSchedule(program: Command, runner: Runner): void {
  const command = program
    .command('schedule')
    .description('Say when backups of a store are made, where, and what stays; see how they went.')
    .addHelpText(
      'after',
      `
Schedules are kept in the store. They are run by varve backup --daemon, by varve schedule run from any other
clock, or by runSchedule() in a service.
${examples(
  "varve schedule set ./data nightly --cron '30 2 * * *' --vault /mnt/vault --keep-daily 7",
  'varve backup --daemon ./data',
  'varve schedule check ./data',
)}`,
    );
  const add = (name: string, description: string): Command =>
    command
      .command(name)
      .description(description)
      .argument('<store>', 'directory of the store')
      .addOption(jsonOption());
  addSet(add('set', 'Keep a schedule under a name, instead of one that had it.'), runner);
  add('list', 'List schedules, when they come next, and how their last runs went.').action(
    (store: string, options: Json) => runner.run(options, (session) => list(session, store)),
  );
  add('delete', 'Remove a schedule. Its backups stay.')
    .argument('<name>', 'name of the schedule')
    .action((store: string, name: string, options: Json) =>
      runner.run(options, (session) => remove(session, store, name)),
    );
  add('run', 'Make the backups that are due, and end.')
    .option('--name <name>', 'only this schedule; may be given several times', collect)
    .option('--force', 'also what is not due')
    .option('--break-lock', 'remove the lock of another run that is surely dead')
    .addHelpText(
      'after',
      '\nExit code 1 when a run or archive failed, 4 when it found damage, 5 when another process runs them.',
    )
    .action((store: string, options: Json & { name?: string[]; force?: boolean; breakLock?: boolean }) =>
      runner.run(options, (session) => run(session, store, options)),
    );
  add('check', 'Tell whether backups are made as they should: for monitors.')
    .option('--grace-seconds <n>', 'how late a backup may be', wholeNumber, 3600)
    .addHelpText(
      'after',
      '\nExit code 1 when a schedule is late or its last run failed, or when there is none.',
    )
    .action((store: string, options: Json & { graceSeconds: number }) =>
      runner.run(options, (session) => check(session, store, options.graceSeconds * 1000)),
    );
}

function addSet(command: Command, runner: Runner): void {
  command
    .argument('<name>', 'name of the schedule')
    .requiredOption('--cron <fields>', "five fields, such as '30 2 * * *', or @hourly, @daily, @weekly")
    .requiredOption('--vault <dir>', 'directory of the vault')
    .option('--time-zone <name>', 'by whose clocks, such as Europe/Berlin; UTC where not given')
    .option('--mode <mode>', 'as of varve backup')
    .option('--label <text>', 'of its backups')
    .option('--tag <tag>', 'of its backups; may be given several times', collect)
    .option('--no-verify-new', 'do not read back what a run wrote')
    .option('--limit <bytes>', 'send at most so many bytes a second', wholeNumber)
    .option('--verify-level <n>', 'after each run prove the vault, as varve vault verify', wholeNumber)
    .option('--verify-parts <n>', 'one of n parts of it each time, in turn', wholeNumber)
    .option('--verify-seconds <n>', 'for about so long', wholeNumber)
    .option('--test-keys <n>', 'and read the values of n keys, chosen by chance', wholeNumber)
    .option(
      '--archive-seconds <n>',
      'also archive the log every n seconds while schedules are run',
      wholeNumber,
    )
    .option('--archive-keep-days <n>', 'archived log older than n days goes with older backups', wholeNumber)
    .option('--paused', 'keep it and do not run it');
  withKeepOptions(command).action((store: string, name: string, options: SetOptions) =>
    runner.run(options, (session) =>
      writeStore(session, store, false, async (engine) => {
        const info = await engine.schedules.set(name, scheduleOf(options));
        await print(session, [info]);
        return exitCodes.done;
      }),
    ),
  );
}

function scheduleOf(options: SetOptions): BackupSchedule {
  const { cron, vault, timeZone, mode, label, tag, verifyNew, limit, paused } = options;
  const { verifyLevel, verifyParts, verifySeconds, testKeys, archiveSeconds, archiveKeepDays } = options;
  if (archiveKeepDays !== undefined && archiveSeconds === undefined)
    throw invalid('--archive-keep-days goes with --archive-seconds');
  const given = <T>(values: Record<string, T | undefined>): Record<string, T> =>
    Object.fromEntries(Object.entries(values).filter(([, value]) => value !== undefined)) as Record<
      string,
      T
    >;
  const maxMs = verifySeconds === undefined ? undefined : verifySeconds * 1000;
  const verify = given({ level: verifyLevel, parts: verifyParts, maxMs, testKeys });
  const keep = keepRulesOf(options);
  const keepMs = archiveKeepDays === undefined ? undefined : archiveKeepDays * 86_400_000;
  return {
    cron,
    // Whoever runs it may stand in another directory.
    vault: resolve(vault),
    ...given({ timeZone, mode, label, tags: tag, bytesPerSecond: limit, paused }),
    ...(verifyNew ? {} : { verifyNew }),
    ...(Object.keys(keep).length === 0 ? {} : { keep }),
    ...(Object.keys(verify).length === 0 ? {} : { verify }),
    ...(archiveSeconds === undefined
      ? {}
      : { archive: { everyMs: archiveSeconds * 1000, ...(keepMs === undefined ? {} : { keepMs }) } }),
  };
}

function list(session: Session, store: string): Promise<number> {
  return readStore(session, store, async (engine) => {
    await print(session, await engine.schedules.list({ openVault: readVault }));
    return exitCodes.done;
  });
}

async function print(session: Session, infos: readonly ScheduleInfo[]): Promise<void> {
  if (session.json) {
    for (const info of infos) await session.out.json({ type: 'schedule', ...info });
    return;
  }
  const table = new Table(
    plainTable(session.paint, ['name', 'cron', 'zone', 'vault', 'next', 'last run', 'state']),
  );
  for (const info of infos) {
    const { name, schedule, next, last } = info;
    table.push([
      plainText(name),
      plainText(schedule.cron),
      plainText(schedule.timeZone ?? 'UTC'),
      plainText(schedule.vault),
      next?.toISOString() ?? '',
      last?.ended.toISOString() ?? '',
      stateOf(info),
    ]);
  }
  await session.out.line(table.toString());
}

function stateOf({ schedule, due, last, lateSince, failures }: ScheduleInfo): string {
  if (schedule.paused === true) return 'paused';
  if (failures > 0) return `failed: ${plainText(last?.error ?? '')}`;
  if (lateSince !== undefined) return `late since ${lateSince.toISOString()}`;
  if (due !== undefined) return 'due';
  return last === undefined ? 'not run yet' : 'ok';
}

function remove(session: Session, store: string, name: string): Promise<number> {
  return writeStore(session, store, false, async (engine) => {
    if (!(await engine.schedules.delete(name)))
      throw new VarveError('VARVE_NOT_FOUND', `no schedule ${JSON.stringify(name)}`);
    if (session.json) await session.out.json({ type: 'schedule-deleted', name });
    return exitCodes.done;
  });
}

async function run(
  session: Session,
  store: string,
  { name, force, breakLock }: { name?: string[]; force?: boolean; breakLock?: boolean },
): Promise<number> {
  const { report, code } = await runOnce(session, store, {
    ...(name === undefined ? {} : { names: name }),
    ...(force === true ? { force } : {}),
    ...(breakLock === true ? { breakLock } : {}),
  });
  if (session.json) await session.out.json({ type: 'schedule-run', ...report });
  else if (report.runs.length === 0 && report.skipped === 0) await session.out.line('nothing is due');
  return code === exitCodes.done && report.skipped > 0 ? exitCodes.locked : code;
}

function check(session: Session, store: string, graceMs: number): Promise<number> {
  return readStore(session, store, async (engine) => {
    const infos = await engine.schedules.list({ graceMs, openVault: readVault });
    await print(session, infos);
    const wrong = infos.filter(({ failures, lateSince }) => failures > 0 || lateSince !== undefined);
    return infos.length === 0 || wrong.length > 0 ? exitCodes.failed : exitCodes.done;
  });
}
