/** The command line as a function: arguments in, exit code out. */
import { Command, CommanderError } from 'commander';
import { type AddCommand, commandsFor } from './command-table.ts';
import { exitCodeOf, exitCodes } from './exit-codes.ts';
import { type CliIo, columnsOf, Output } from './io.ts';
import { newSession, type Runner, wasAborted } from './session.ts';
import { errorFields, errorText } from './text.ts';
import { packageVersion } from './version.ts';

const versionFlags: readonly string[] = ['-V', '--version'];

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
    // Help, and what is no command, needs to know of all; the version of none.
    const commands = argv.length === 1 && versionFlags.includes(argv[0]!) ? [] : await commandsFor(argv[0]);
    await makeProgram(io, runner, commands).parseAsync(argv, { from: 'user' });
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

function makeProgram(io: CliIo, runner: Runner, commands: readonly AddCommand[]): Command {
  const program = new Command('varve')
    .description('A deduplicated, ordered, durable key-value store in a directory.')
    .version(packageVersion(), versionFlags.join(', '), 'print the version')
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
  for (const add of commands) add(program, runner);
  return program;
}
