/** varve changes: what was committed, in order. */
import { setTimeout as wait } from 'node:timers/promises';
import type { Command } from 'commander';
import { displayText } from '../../base/bytes.ts';
import { throwIfAborted } from '../../engine/key-args.ts';
import type { Change, ChangesOptions, KeyBounds } from '../../index.ts';
import { exitCodes } from '../exit-codes.ts';
import { examples, type KeyOptions, wholeNumber, withKeyOptions } from '../options.ts';
import { type Runner, readStore, type Session, spaceOf } from '../session.ts';
import { keyArgument, keyFields, keyText, plainText, sizeText } from '../text.ts';

/** How often the store is looked at with --follow, ms: another process writes it, so nobody tells. */
const followMs = 500;
/** Bytes of a value shown to people. */
const shownBytes = 60;

interface Options extends KeyOptions {
  since?: number;
  prefix?: string;
  follow?: boolean;
  values?: boolean;
  allSpaces?: boolean;
}

export function addChanges(program: Command, runner: Runner): void {
  const command = program
    .command('changes')
    .description('List what was committed, in order, as far back as it is kept.')
    .argument('<store>', 'directory of the store')
    .option(
      '--since <seq>',
      'only commits behind this number (default 0; with --follow the newest)',
      wholeNumber,
    )
    .option('--prefix <prefix>', 'only keys that begin with this')
    .option('--values', 'with the value of each put, or that it is gone')
    .option('--all-spaces', 'changes of every space, each with its space')
    .option('--follow', 'go on with what others commit, until interrupted')
    .addHelpText(
      'after',
      examples('varve changes ./data --since 120', 'varve changes ./data --follow --json --prefix photos/'),
    );
  withKeyOptions(command).action((store: string, options: Options) =>
    runner.run(options, (session) => changes(session, store, options)),
  );
}

async function changes(session: Session, store: string, options: Options): Promise<number> {
  const follow = options.follow === true;
  let since = options.since ?? (follow ? undefined : 0);
  for (;;) {
    const code = await readStore(session, store, async (engine) => {
      since ??= engine.stats().seq;
      const { values = false, allSpaces: spaces = false } = options;
      const asked: ChangesOptions = { since, live: false, values, spaces };
      if (options.prefix !== undefined) asked.prefix = keyArgument(options.prefix, options.hex);
      const feed = spaceOf(engine, options.space, false).changes<Uint8Array>(asked);
      for await (const change of feed) {
        throwIfAborted(session.io.signal);
        if (session.json) await session.out.json(fieldsOf(change));
        else await session.out.line(textOf(session, change));
        if (session.out.closed) break;
      }
      since = feed.seq;
      return exitCodes.done;
    });
    await session.out.flush();
    if (!follow || code !== exitCodes.done || session.out.closed) return code;
    await wait(followMs, undefined, { signal: session.io.signal });
  }
}

function fieldsOf(change: Change<Uint8Array>): object {
  const { type: op, seq, time, last, space } = change;
  const common = { type: 'change', op, seq, time, last, space };
  if (change.type === 'deleteRange') return { ...common, range: rangeFields(change.range) };
  if (change.type === 'delete') return { ...common, ...keyFields(change.key) };
  const { size, digest, contentType, tags, metadata, value, gone } = change;
  const base64 = value === undefined ? undefined : Buffer.from(value).toString('base64');
  return { ...common, ...keyFields(change.key), size, digest, contentType, tags, metadata, base64, gone };
}

function rangeFields(range: KeyBounds<Uint8Array>): object {
  const bounds = Object.entries(range) as [string, Uint8Array][];
  return Object.fromEntries(bounds.map(([name, key]) => [name, keyFields(key)]));
}

const signs = { gt: '>', gte: '>=', lt: '<', lte: '<=' } as const;

function textOf(session: Session, change: Change<Uint8Array>): string {
  const space = change.space === undefined ? '' : `${plainText(change.space)}: `;
  const head = `${String(change.seq).padStart(10)}  ${change.time.toISOString()}  ${space}`;
  if (change.type === 'put') {
    const { key, size, value, gone } = change;
    const shown = value === undefined ? '' : `  ${plainText(displayText(value.subarray(0, shownBytes)))}`;
    const lost = gone === true ? '  (gone)' : '';
    return `${head}${session.paint('green', 'put')}     ${keyText(key)}  ${sizeText(size)}${shown}${lost}`;
  }
  if (change.type === 'delete') return `${head}${session.paint('red', 'delete')}  ${keyText(change.key)}`;
  const bounds = Object.entries(change.range) as [keyof typeof signs, Uint8Array][];
  const shown = bounds.map(([name, key]) => `${signs[name]} ${keyText(key)}`).join(', ');
  return `${head}${session.paint('red', 'delete')}  ${shown === '' ? 'every key' : `keys ${shown}`}`;
}
