/** varve duplicates: keys that hold the same bytes. */
import type { Command } from 'commander';
import { throwIfAborted } from '../../engine/key-args.ts';
import type { Engine, ScanOptions } from '../../index.ts';
import { exitCodes } from '../exit-codes.ts';
import { examples, wholeNumber, withKeyOptions } from '../options.ts';
import { type Runner, readStore, type Session, spaceOf } from '../session.ts';
import { keyArgument, keyFields, keyText, plural, sizeText } from '../text.ts';

/** Digests kept at a time where no index has them in order: of larger stores, a part in each pass. */
const digestsMax = 200_000;

interface Options {
  json?: boolean;
  space?: string;
  hex?: boolean;
  prefix?: string;
  minSize?: number;
}

/** Keys of one value. */
interface Group {
  readonly digest: string;
  readonly size: number;
  readonly keys: Uint8Array[];
}

export function addDuplicates(program: Command, runner: Runner): void {
  const command = program
    .command('duplicates')
    .description(
      'List keys that hold the same bytes; with a range index on digest without a look at every key.',
    )
    .argument('<store>', 'directory of the store')
    .option('--prefix <prefix>', 'only keys that begin with this')
    .option('--min-size <bytes>', 'only values of at least so many bytes', wholeNumber, 1)
    .addHelpText(
      'after',
      examples('varve duplicates ./data', 'varve duplicates ./data --min-size 1000000 --json'),
    );
  withKeyOptions(command).action((store: string, options: Options) =>
    runner.run(options, (session) => duplicates(session, store, options)),
  );
}

async function duplicates(session: Session, store: string, options: Options): Promise<number> {
  return await readStore(session, store, async (engine) => {
    const space = spaceOf(engine, options.space, true);
    const index = space.indexes.list().find(({ on, kind, state }) => {
      return on.length === 1 && on[0] === 'digest' && kind === 'range' && state === 'ready';
    });
    const usesIndex = index !== undefined && options.prefix === undefined;
    const groups = usesIndex ? byIndex(space, index.name, options) : byPasses(space, options);
    let spare = 0;
    let count = 0;
    for await (const group of groups) {
      throwIfAborted(session.io.signal);
      count++;
      spare += group.size * (group.keys.length - 1);
      if (session.json) await session.out.json(groupFields(group));
      else for (const line of groupLines(session, group)) await session.out.line(line);
      if (session.out.closed) return exitCodes.done;
    }
    if (!session.json) {
      await session.out.line(
        `${plural(count, 'value')} held by more than one key; ${sizeText(spare)} stored once only`,
      );
    }
    return exitCodes.done;
  });
}

/** Entries of an index on digest come value by value. */
async function* byIndex(engine: Engine, index: string, { minSize = 1 }: Options): AsyncGenerator<Group> {
  let group: Group | undefined;
  for await (const { key, size, indexKey } of engine.query<Uint8Array>({ index, values: false })) {
    if (size < minSize) continue;
    const digest = indexKey as string;
    if (group?.digest === digest) group.keys.push(key);
    else {
      if (group !== undefined && group.keys.length > 1) yield group;
      group = { digest, size, keys: [key] };
    }
  }
  if (group !== undefined && group.keys.length > 1) yield group;
}

/** Goes through the keys as often as needed to keep few digests at a time. */
async function* byPasses(engine: Engine, options: Options): AsyncGenerator<Group> {
  const { minSize = 1, prefix, hex } = options;
  const scan: ScanOptions = { values: false, stats: true };
  if (prefix !== undefined) scan.prefix = keyArgument(prefix, hex);
  let keys = 0;
  for await (const { size } of engine.scan<Uint8Array>({ ...scan, stats: false } as object))
    if (size >= minSize) keys++;
  const passes = Math.max(1, Math.ceil(keys / digestsMax));
  for (let pass = 0; pass < passes; pass++) {
    const groups = new Map<string, Group>();
    for await (const { key, stat, size } of engine.scan<Uint8Array>(scan as object)) {
      const digest = stat!.digest;
      if (size < minSize || Number.parseInt(digest.slice(0, 8), 16) % passes !== pass) continue;
      const group = groups.get(digest);
      if (group === undefined) groups.set(digest, { digest, size, keys: [key] });
      else group.keys.push(key);
    }
    for (const group of groups.values()) if (group.keys.length > 1) yield group;
  }
}

function groupFields({ digest, size, keys }: Group): object {
  return { type: 'duplicates', digest, size, count: keys.length, keys: keys.map((key) => keyFields(key)) };
}

function groupLines(session: Session, { digest, size, keys }: Group): string[] {
  const head = `${digest.slice(0, 16)}  ${sizeText(size)}, ${plural(keys.length, 'key')}`;
  return [session.paint('dim', head), ...keys.map((key) => `  ${keyText(key)}`)];
}
