/** varve diff: keys that differ between two points in time. */
import type { Command } from 'commander';
import { throwIfAborted } from '../../engine/key-args.ts';
import type { At, Difference, DiffOptions } from '../../index.ts';
import { exitCodes } from '../exit-codes.ts';
import { examples, type KeyOptions, withKeyOptions } from '../options.ts';
import { pointArgument } from '../point.ts';
import { type Runner, readStore, type Session, spaceOf } from '../session.ts';
import { keyArgument, keyFields, keyText } from '../text.ts';
import { statFields } from './stat.ts';

interface Options extends KeyOptions {
  prefix?: string;
}

const marks = { added: '+', changed: '~', removed: '-' } as const;
const colours = { added: 'green', changed: 'yellow', removed: 'red' } as const;

export function addDiff(program: Command, runner: Runner): void {
  const command = program
    .command('diff')
    .description('List keys that were added (+), changed (~) or removed (-) between two points in time.')
    .argument('<store>', 'directory of the store')
    .argument('<from>', 'number of a commit, a date, or the name of a snapshot', pointArgument)
    .argument('[to]', 'the same (default: the newest state)', pointArgument)
    .option('--prefix <prefix>', 'only keys that begin with this')
    .addHelpText('after', examples('varve diff ./data monday tuesday', 'varve diff ./data 2026-11-01'));
  withKeyOptions(command).action((store: string, from: At, to: At | undefined, options: Options) =>
    runner.run(options, (session) => diff(session, store, { from, to }, options)),
  );
}

async function diff(
  session: Session,
  store: string,
  { from, to }: { from: At; to: At | undefined },
  options: Options,
): Promise<number> {
  const given: DiffOptions = { signal: session.io.signal };
  if (options.prefix !== undefined) given.prefix = keyArgument(options.prefix, options.hex);
  return await readStore(session, store, async (engine) => {
    const space = spaceOf(engine, options.space, false);
    const end = to ?? engine.stats().seq;
    for await (const difference of space.diff<Uint8Array>(from, end, given)) {
      throwIfAborted(session.io.signal);
      if (session.json) await session.out.json(fieldsOf(difference));
      else await session.out.line(lineOf(session, difference));
      if (session.out.closed) break;
    }
    return exitCodes.done;
  });
}

function fieldsOf({ key, change, before, after }: Difference<Uint8Array>): object {
  return {
    type: 'difference',
    ...keyFields(key),
    change,
    before: before === undefined ? undefined : statFields(before),
    after: after === undefined ? undefined : statFields(after),
  };
}

function lineOf(session: Session, { key, change }: Difference<Uint8Array>): string {
  return session.paint(colours[change], `${marks[change]} ${keyText(key)}`);
}
