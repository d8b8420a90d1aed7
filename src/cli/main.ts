#!/usr/bin/env node
/** The `varve` program: binds the command line to the process. */
import process from 'node:process';
import { exitCodes } from './exit-codes.ts';
import { runCli } from './program.ts';

const controller = new AbortController();

/** The first signal lets the command end in order, a second one of the same kind ends the process. */
function onSignal(name: NodeJS.Signals): void {
  if (controller.signal.aborted)
    process.exit(name === 'SIGTERM' ? exitCodes.terminated : exitCodes.interrupted);
  controller.abort(name);
}

process.on('SIGINT', onSignal);
process.on('SIGTERM', onSignal);

process.exitCode = await runCli(process.argv.slice(2), {
  stdin: process.stdin,
  stdout: process.stdout,
  stderr: process.stderr,
  env: process.env,
  signal: controller.signal,
});
// An unread pipe on stdin would keep the process waiting for input nobody asked for.
process.stdin.destroy();
