/** varve index: secondary indexes of a store. */
import { type Command, Option } from 'commander';
import type { Engine, IndexField, IndexInfo, IndexStats } from '../../index.ts';
import { exitCodes } from '../exit-codes.ts';
import { collect, examples, jsonOption, spaceOption } from '../options.ts';
import { type Runner, readStore, type Session, spaceOf, writeStore } from '../session.ts';
import { countText, plainText, sizeText } from '../text.ts';
import { fieldArgument } from './query.ts';

interface Options {
  json?: boolean;
  space?: string;
  on?: string[];
  kind?: 'range' | 'hash';
  unique?: boolean;
}

export function addIndex(program: Command, runner: Runner): void {
  const command = program
    .command('index')
    .description('Secondary indexes: keys by their tags, times, sizes, content types, digests or metadata.')
    .addHelpText(
      'after',
      examples(
        'varve index define ./data by-tag --on tags',
        'varve index define ./data by-year --on metadata.year tags',
        'varve index list ./data',
        'varve index stats ./data by-tag',
      ),
    );
  const add = (name: string, text: string, hasName: boolean, run: Run): Command => {
    const sub = command.command(name).description(text).argument('<store>', 'directory of the store');
    if (hasName) sub.argument('<name>', 'name of the index');
    sub.addOption(spaceOption()).addOption(jsonOption());
    return sub.action((store: string, ...rest: unknown[]) => {
      const index = hasName ? (rest[0] as string) : '';
      const options = rest[hasName ? 1 : 0] as Options;
      return runner.run(options, (session) => run(session, store, index, options));
    });
  };
  add('define', 'Define an index and build it.', true, define)
    .requiredOption(
      '--on <field...>',
      'digest, contentType, tags, modified, created, size or metadata.PATH; several make a tuple',
      collect,
    )
    .addOption(
      new Option('--kind <kind>', 'hash: for equal values only').choices(['range', 'hash']).default('range'),
    )
    .option('--unique', 'no two keys have the same value');
  add('list', 'List the indexes.', false, list);
  add('drop', 'Drop an index.', true, drop);
  add('rebuild', 'Make an index anew.', true, rebuild);
  add('stats', 'Size and selectivity of an index; goes through all of it.', true, stats);
}

type Run = (session: Session, store: string, index: string, options: Options) => Promise<number>;

function define(session: Session, store: string, name: string, options: Options): Promise<number> {
  const on = (options.on ?? []).map(fieldArgument);
  const definition = { name, kind: options.kind ?? 'range', unique: options.unique === true, on };
  return changed(session, store, options, async (engine) =>
    show(session, await engine.indexes.define(definition, { signal: session.io.signal })),
  );
}

function rebuild(session: Session, store: string, name: string, options: Options): Promise<number> {
  return changed(session, store, options, async (engine) =>
    show(session, await engine.indexes.rebuild(name, { signal: session.io.signal })),
  );
}

function drop(session: Session, store: string, name: string, options: Options): Promise<number> {
  return changed(session, store, options, async (engine) => {
    const dropped = await engine.indexes.drop(name);
    if (session.json) await session.out.json({ type: 'indexDropped', name, dropped });
    else await session.out.line(dropped ? `dropped ${plainText(name)}` : `no index ${plainText(name)}`);
    return dropped ? exitCodes.done : exitCodes.notFound;
  });
}

function list(session: Session, store: string, _name: string, options: Options): Promise<number> {
  return readStore(session, store, async (engine) => {
    for (const info of spaceOf(engine, options.space, true).indexes.list()) await show(session, info);
    return exitCodes.done;
  });
}

function stats(session: Session, store: string, name: string, options: Options): Promise<number> {
  return readStore(session, store, async (engine) => {
    const found = await spaceOf(engine, options.space, true).indexes.stats(name, {
      signal: session.io.signal,
    });
    if (session.json) await session.out.json({ type: 'indexStats', ...found });
    else for (const line of statsLines(found)) await session.out.line(line);
    return exitCodes.done;
  });
}

function changed(
  session: Session,
  store: string,
  options: Options,
  task: (engine: Engine) => Promise<number>,
): Promise<number> {
  return writeStore(session, store, false, (engine) => task(spaceOf(engine, options.space, false)));
}

async function show(session: Session, info: IndexInfo): Promise<number> {
  if (session.json) await session.out.json({ type: 'index', ...info });
  else await session.out.line(infoText(info));
  return exitCodes.done;
}

function infoText({ name, kind, unique, on, state, reason }: IndexInfo): string {
  const notes = [kind, ...(unique ? ['unique'] : []), `on ${on.map(fieldText).join(', ')}`, state];
  return `${plainText(name)}  ${notes.join(' ')}${reason === undefined ? '' : `: ${plainText(reason)}`}`;
}

function fieldText(field: IndexField): string {
  return typeof field === 'string' ? field : plainText(`metadata.${field.metadata}`);
}

function statsLines(found: IndexStats): string[] {
  const { entries, distinct, bytes, selectivity } = found;
  return [
    infoText(found),
    `  entries      ${countText(entries)}`,
    `  values       ${countText(distinct)}`,
    `  bytes        ${sizeText(bytes)}`,
    `  selectivity  ${selectivity.toFixed(4)}`,
  ];
}
