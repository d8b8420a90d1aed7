/** varve snapshot: named states of a store. */
import type { Command } from 'commander';
import type { SnapshotInfo } from '../../index.ts';
import { exitCodes } from '../exit-codes.ts';
import { examples, jsonOption } from '../options.ts';
import { type Runner, readStore, type Session, writeStore } from '../session.ts';
import { plainText } from '../text.ts';

interface Options {
  json?: boolean;
  note?: string;
}

export function addSnapshot(program: Command, runner: Runner): void {
  const command = program
    .command('snapshot')
    .description('Name the present state of a store, list the names, or let go of one.')
    .addHelpText(
      'after',
      examples(
        'varve snapshot create ./data before-import --note "all photos of May"',
        'varve snapshot list ./data',
        'varve ls ./data --at before-import',
        'varve snapshot delete ./data before-import',
      ),
    );
  const add = (name: string, description: string): Command =>
    command.command(name).description(description).argument('<store>', 'directory of the store');
  add('create', 'Keep the present state of all spaces under a name.')
    .argument('<name>', 'a name that is not taken')
    .option('--note <text>', 'a remark to keep with it')
    .addOption(jsonOption())
    .action((store: string, name: string, options: Options) =>
      runner.run(options, (session) => create(session, store, name, options)),
    );
  add('list', 'List the names, oldest first.')
    .addOption(jsonOption())
    .action((store: string, options: Options) => runner.run(options, (session) => list(session, store)));
  add('delete', 'Let go of a state; what only it kept is freed.')
    .argument('<name>', 'name of the snapshot')
    .addOption(jsonOption())
    .action((store: string, name: string, options: Options) =>
      runner.run(options, (session) => remove(session, store, name)),
    );
}

async function create(session: Session, store: string, name: string, { note }: Options): Promise<number> {
  return await writeStore(session, store, false, async (engine) => {
    const made = await engine.snapshots.create(name, note === undefined ? {} : { note });
    if (session.json) await session.out.json({ type: 'snapshot', ...made });
    else await session.out.line(lineOf(made));
    return exitCodes.done;
  });
}

async function list(session: Session, store: string): Promise<number> {
  return await readStore(session, store, async (engine) => {
    for (const one of engine.snapshots.list()) {
      if (session.json) await session.out.json({ type: 'snapshot', ...one });
      else await session.out.line(lineOf(one));
    }
    return exitCodes.done;
  });
}

async function remove(session: Session, store: string, name: string): Promise<number> {
  return await writeStore(session, store, false, async (engine) => {
    await engine.snapshots.delete(name);
    if (session.json) await session.out.json({ type: 'snapshot-deleted', name });
    else await session.out.line(`${plainText(name)} deleted`);
    return exitCodes.done;
  });
}

function lineOf({ name, seq, time, note }: SnapshotInfo): string {
  const head = `${String(seq).padStart(10)}  ${time.toISOString().slice(0, 19)}Z  ${plainText(name)}`;
  return note === undefined ? head : `${head}  ${plainText(note)}`;
}
