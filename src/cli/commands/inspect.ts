/** varve inspect: the files of a store, or the structures of one of them. */
import type { Command } from 'commander';
import { isVarveError } from '../../base/errors.ts';
import { exitCodes } from '../exit-codes.ts';
import type { FileRecord } from '../files/file-record.ts';
import {
  checkFile,
  fileRecords,
  findStoreFile,
  listStoreFiles,
  openStoreFiles,
  type StoreFile,
} from '../files/store-files.ts';
import { examples, jsonOption } from '../options.ts';
import type { Runner, Session } from '../session.ts';
import { plainText, sizeText } from '../text.ts';
import { recordFields, stopWhenUnwanted, untilUnwanted } from './dump.ts';

export function addInspect(program: Command, runner: Runner): void {
  program
    .command('inspect')
    .description('List the files of a store and whether they are whole, or name the fields of one file.')
    .argument('<store>', 'directory of the store')
    .argument('[file]', 'a file of the store, as the list names it')
    .addOption(jsonOption())
    .addHelpText(
      'after',
      `
Reads only, takes no lock, and works on damaged stores: what cannot be read is said, the exit code is then 4.
${examples('varve inspect ./data', 'varve inspect ./data SUPER', 'varve inspect ./data LOCK')}`,
    )
    .action((store: string, file: string | undefined, options: { json?: boolean }) =>
      runner.run(options, (session) =>
        file === undefined ? inspectStore(session, store) : inspectFile(session, store, file),
      ),
    );
}

async function inspectStore(session: Session, store: string): Promise<number> {
  const fs = await openStoreFiles(store);
  let code: number = exitCodes.done;
  for await (const file of listStoreFiles(fs)) {
    session.io.signal.throwIfAborted();
    let fault: FileRecord | undefined;
    try {
      fault = await checkFile(fs, file);
    } catch (error) {
      // Gone since it was listed: a writer beside us dropped it.
      if (isVarveError(error) && error.errno === 'ENOENT') continue;
      throw error;
    }
    if (fault !== undefined) code = exitCodes.corrupt;
    if (session.json) {
      const damage = fault === undefined ? {} : { offset: fault.offset, error: fault.error };
      await session.out.json({ type: 'file', ...file, ok: fault === undefined, ...damage });
    } else await session.out.line(fileText(session, file, fault));
  }
  return code;
}

function fileText(session: Session, file: StoreFile, fault: FileRecord | undefined): string {
  const state =
    fault === undefined
      ? session.paint('green', 'ok')
      : session.paint('red', `damaged: ${plainText(fault.error!)}`);
  const known = file.kind === 'other' ? '' : state;
  const name = plainText(file.path).padEnd(36);
  const head = `${name}  ${file.kind.padEnd(10)}  ${sizeText(file.size).padStart(9)}`;
  return `${head}  ${known}`.trimEnd();
}

async function inspectFile(session: Session, store: string, argument: string): Promise<number> {
  const fs = await openStoreFiles(store);
  const file = await findStoreFile(fs, argument);
  let code: number = exitCodes.done;
  await untilUnwanted(() =>
    fileRecords(fs, file, 'structures', async (record) => {
      stopWhenUnwanted(session);
      if (record.error !== undefined) code = exitCodes.corrupt;
      if (session.json) await session.out.json(recordFields(file, record));
      else for (const line of recordLines(session, record)) await session.out.line(line);
    }),
  );
  return code;
}

function recordLines(session: Session, record: FileRecord): string[] {
  const { offset, what, fields, layout, error, note } = record;
  const state = error === undefined ? '' : session.paint('red', `  damaged: ${plainText(error)}`);
  const lines = [`${String(offset).padStart(10)}  ${session.paint('bold', what)}${state}`];
  if (note !== undefined) lines.push(`${' '.repeat(12)}${session.paint('dim', note)}`);
  for (const [name, value] of Object.entries(fields)) {
    const doc = layout?.fields[name]?.doc;
    const shown = typeof value === 'string' ? plainText(value) : JSON.stringify(value, bigintText);
    const about = doc === undefined ? '' : session.paint('dim', `  ${doc}`);
    lines.push(`${' '.repeat(12)}${name.padEnd(24)}${shown}${about}`);
  }
  return lines;
}

function bigintText(_key: string, value: unknown): unknown {
  return typeof value === 'bigint' ? value.toString(16).padStart(16, '0') : value;
}
