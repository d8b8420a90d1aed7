/** varve dump: every record of one file, a line each. */
import type { Command } from 'commander';
import { exitCodes } from '../exit-codes.ts';
import type { FileRecord } from '../files/file-record.ts';
import { fileRecords, findStoreFile, openStoreFiles, type StoreFile } from '../files/store-files.ts';
import { jsonValue } from '../io.ts';
import { examples, jsonOption } from '../options.ts';
import type { Runner, Session } from '../session.ts';
import { plainText } from '../text.ts';

export function addDump(program: Command, runner: Runner): void {
  program
    .command('dump')
    .description('Print every record of one file of a store, one line each.')
    .argument('<store>', 'directory of the store')
    .argument('<file>', 'a file of the store, as inspect lists it')
    .addOption(jsonOption())
    .addHelpText(
      'after',
      `
Reads only, takes no lock, and works on damaged files: what fails a check is printed with its offset and the
rest goes on; the exit code is then 4.
${examples('varve dump ./data 0000000000000007.wal', 'varve dump ./data 0000000000000009.tab --json')}`,
    )
    .action((store: string, file: string, options: { json?: boolean }) =>
      runner.run(options, (session) => dump(session, store, file)),
    );
}

async function dump(session: Session, store: string, argument: string): Promise<number> {
  const fs = await openStoreFiles(store);
  const file = await findStoreFile(fs, argument);
  let code: number = exitCodes.done;
  await untilUnwanted(() =>
    fileRecords(fs, file, 'records', async (record) => {
      stopWhenUnwanted(session);
      if (record.error !== undefined) code = exitCodes.corrupt;
      if (session.json) await session.out.json(recordFields(file, record));
      else await session.out.line(recordText(session, record));
    }),
  );
  return code;
}

/** A record in JSON output. */
export function recordFields(file: StoreFile, record: FileRecord): object {
  const { offset, what, fields, error, note } = record;
  return { type: 'record', file: file.path, offset, what, ok: error === undefined, error, note, fields };
}

function recordText(session: Session, record: FileRecord): string {
  const { offset, what, fields, error, note } = record;
  const parts = Object.entries(fields).map(([name, value]) => {
    const shown = typeof value === 'string' ? plainText(value) : JSON.stringify(value, jsonValue);
    return `${session.paint('dim', `${name}=`)}${shown}`;
  });
  if (note !== undefined) parts.push(session.paint('dim', `(${note})`));
  if (error !== undefined) parts.push(session.paint('red', `DAMAGED: ${plainText(error)}`));
  return `${String(offset).padStart(10)}  ${session.paint('bold', what)}  ${parts.join(' ')}`.trimEnd();
}

class Unwanted extends Error {}

/** Ends a listing when its reader went away (see untilUnwanted) or the command was interrupted. */
export function stopWhenUnwanted(session: Session): void {
  session.io.signal.throwIfAborted();
  if (session.out.closed) throw new Unwanted('nobody reads the output any more');
}

/** Runs a listing until it ends or nobody reads it. */
export async function untilUnwanted(listing: () => Promise<void>): Promise<void> {
  try {
    await listing();
  } catch (error) {
    if (!(error instanceof Unwanted)) throw error;
  }
}
