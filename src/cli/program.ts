/** The command line as a function: arguments in, exit code out. */
import { Command, CommanderError } from 'commander';
import { addArchive } from './commands/archive.ts';
import { addBackup } from './commands/backup.ts';
import { addBench } from './commands/bench.ts';
import { addChanges } from './commands/changes.ts';
import { addCompact } from './commands/compact.ts';
import { addDiff } from './commands/diff.ts';
import { addDoctor } from './commands/doctor.ts';
import { addDump } from './commands/dump.ts';
import { addDuplicates } from './commands/duplicates.ts';
import { addExport } from './commands/export.ts';
import { addGet } from './commands/get.ts';
import { addHistory } from './commands/history.ts';
import { addImport } from './commands/import.ts';
import { addIndex } from './commands/indexes.ts';
import { addInspect } from './commands/inspect.ts';
import { addLs } from './commands/ls.ts';
import { addPut } from './commands/put.ts';
import { addQuery } from './commands/query.ts';
import { addRepair } from './commands/repair.ts';
import { addRestore } from './commands/restore.ts';
import { addRm } from './commands/rm.ts';
import { addSchedule } from './commands/schedule.ts';
import { addScrub } from './commands/scrub.ts';
import { addSnapshot } from './commands/snapshot.ts';
import { addStat } from './commands/stat.ts';
import { addStats } from './commands/stats.ts';
import { addTune } from './commands/tune.ts';
import { addUnlock } from './commands/unlock.ts';
import { addVault } from './commands/vault.ts';
import { addVerify } from './commands/verify.ts';
import { addVersions } from './commands/versions.ts';
import { exitCodeOf, exitCodes } from './exit-codes.ts';
import { type CliIo, columnsOf, Output } from './io.ts';
import { newSession, type Runner, wasAborted } from './session.ts';
import { errorFields, errorText } from './text.ts';
import { packageVersion } from './version.ts';

const epilogue = `
Every command takes --json: one JSON object a line on stdout, described in docs/CLI-JSON.md.
Exit codes: 0 done, 1 failed, 2 usage, 3 not found, 4 corruption found, 5 locked, 130 interrupted.
A key or file name that begins with '-' comes after '--'.

Examples:
  $ varve put ./data greeting notes.txt      store a file under a key; makes the store
  $ varve get ./data greeting                print it
  $ varve import ./data ~/photos --prefix photos/
  $ varve ls ./data --prefix photos/ --delimiter /
  $ varve export ./data ./restored --prefix photos/`;

/** Runs one command. Never rejects and never ends the process: resolves with the exit code. */
export async function runCli(argv: readonly string[], io: CliIo): Promise<number> {
  const out = new Output(io.stdout);
  const err = new Output(io.stderr);
  let code: number = exitCodes.done;
  const runner: Runner = {
    async run(options, task) {
      const session = newSession(io, out, err, options.json === true);
      code = await task(session);
    },
  };
  try {
    await makeProgram(io, runner).parseAsync(argv, { from: 'user' });
    await out.flush();
  } catch (error) {
    code = await reportFailure(error, argv.includes('--json'), io, out, err);
  }
  return code;
}

async function reportFailure(
  error: unknown,
  json: boolean,
  io: CliIo,
  out: Output,
  err: Output,
): Promise<number> {
  // Help and version arrive as errors with exit code 0; commander has printed what there is to say.
  if (error instanceof CommanderError) {
    if (error.exitCode === 0) return exitCodes.done;
    if (json) await printJson(out, { code: 'USAGE', message: error.message });
    return exitCodes.usage;
  }
  const aborted = wasAborted(error, io.signal);
  if (json) await printJson(out, errorFields(error));
  await err.line(`varve: ${aborted ? 'interrupted; what was acknowledged is stored' : errorText(error)}`);
  await err.flush();
  if (!aborted) return exitCodeOf(error);
  return io.signal.reason === 'SIGTERM' ? exitCodes.terminated : exitCodes.interrupted;
}

async function printJson(out: Output, error: object): Promise<void> {
  await out.json({ type: 'error', ...error });
  await out.flush();
}

function makeProgram(io: CliIo, runner: Runner): Command {
  const program = new Command('varve')
    .description('A deduplicated, ordered, durable key-value store in a directory.')
    .version(packageVersion(), '-V, --version', 'print the version')
    .helpOption('-h, --help', 'show help')
    .showHelpAfterError('(add --help for how to use it)')
    .exitOverride()
    .configureOutput({
      writeOut: (text) => io.stdout.write(text),
      writeErr: (text) => io.stderr.write(text),
      getOutHelpWidth: () => columnsOf(io.stdout),
      getErrHelpWidth: () => columnsOf(io.stderr),
      getOutHasColors: () => false,
      getErrHasColors: () => false,
    })
    .addHelpText('after', epilogue);
  const commands = [
    addPut,
    addGet,
    addRm,
    addLs,
    addStat,
    addVersions,
    addHistory,
    addSnapshot,
    addDiff,
    addImport,
    addExport,
    addStats,
    addCompact,
    addInspect,
    addDump,
    addDoctor,
    addBackup,
    addArchive,
    addSchedule,
    addTune,
    addVault,
    addRestore,
    addVerify,
    addScrub,
    addChanges,
    addQuery,
    addIndex,
    addDuplicates,
    addRepair,
    addUnlock,
    addBench,
  ];
  for (const add of commands) add(program, runner);
  return program;
}
