/** varve query: keys by an index, or by conditions. */
import { type Command, InvalidArgumentError } from 'commander';
import { fromHex } from '../../base/bytes.ts';
import { invalid } from '../../base/errors.ts';
import { throwIfAborted } from '../../engine/key-args.ts';
import type {
  Engine,
  IndexField,
  IndexInfo,
  IndexQuery,
  IndexValue,
  QueryEntry,
  QueryOptions,
  Where,
  WhereQuery,
} from '../../index.ts';
import { exitCodes } from '../exit-codes.ts';
import { collect, examples, jsonOption, spaceOption, wholeNumber } from '../options.ts';
import { dateOf } from '../point.ts';
import { type Runner, readStore, type Session, spaceOf } from '../session.ts';
import { keyFields, keyText, plainText } from '../text.ts';

interface Options {
  json?: boolean;
  space?: string;
  index?: string;
  eq?: string[];
  gt?: string[];
  gte?: string[];
  lt?: string[];
  lte?: string[];
  prefix?: string;
  where?: Where;
  orderBy?: string;
  limit?: number;
  after?: string;
  reverse?: boolean;
  explain?: boolean;
}

const bounds = ['eq', 'gt', 'gte', 'lt', 'lte'] as const;

export function addQuery(program: Command, runner: Runner): void {
  const command = program
    .command('query')
    .description('Find keys by an index, or by conditions on them.')
    .argument('<store>', 'directory of the store')
    .option('--index <name>', 'go through this index, in its order')
    .option('--prefix <text>', 'with --index: strings that begin with this')
    .option('--where <json>', 'conditions, as engine.query takes them', whereArgument)
    .option('--order-by <field>', 'with --where: a field, or key')
    .option('--limit <n>', 'at most this many', wholeNumber)
    .option('--after <cursor>', 'go on behind an entry, by the cursor it came with')
    .option('--reverse', 'last first')
    .option('--explain', 'tell how the query is answered instead');
  for (const bound of bounds) {
    command.option(
      `--${bound} <value...>`,
      `with --index: ${boundTexts[bound]}; several for a tuple`,
      collect,
    );
  }
  command.addHelpText(
    'after',
    `\nA value is read as its field has it. In metadata: a JSON literal, date:2024-05-01, hex:00ff, or text.
${examples(
  'varve query ./data --index by-tag --eq red',
  'varve query ./data --index by-year --gte 2020 --lt 2030 --json',
  `varve query ./data --where '{"tags":["red"],"size":{"gte":1000}}' --order-by size --limit 10`,
)}`,
  );
  command.addOption(spaceOption()).addOption(jsonOption());
  command.action((store: string, options: Options) =>
    runner.run(options, (session) => query(session, store, options)),
  );
}

const boundTexts = {
  eq: 'equal to',
  gt: 'above',
  gte: 'from',
  lt: 'below',
  lte: 'up to',
} as const;

function whereArgument(text: string): Where {
  try {
    return JSON.parse(text) as Where;
  } catch (error) {
    if (error instanceof SyntaxError) throw new InvalidArgumentError(`Not JSON: ${error.message}`);
    throw error;
  }
}

async function query(session: Session, store: string, options: Options): Promise<number> {
  return await readStore(session, store, async (engine) => {
    const space = spaceOf(engine, options.space, true);
    const asked = queryOf(space, options);
    if (options.explain === true) {
      const plan = await space.query({ ...asked, explain: true });
      if (session.json) await session.out.json({ type: 'plan', ...plan });
      else await session.out.line(plainText(JSON.stringify(plan)));
      return exitCodes.done;
    }
    for await (const entry of space.query<Uint8Array>({ ...asked, explain: false })) {
      throwIfAborted(session.io.signal);
      if (session.json) await session.out.json(entryFields(entry));
      else await session.out.line(entryText(session, entry));
      if (session.out.closed) break;
    }
    return exitCodes.done;
  });
}

function queryOf(engine: Engine, options: Options): QueryOptions {
  const { index, where, orderBy, prefix, limit, after, reverse } = options;
  const common: WhereQuery = { values: false };
  if (limit !== undefined) common.limit = limit;
  if (after !== undefined) common.after = after;
  if (reverse === true) common.reverse = true;
  if (index === undefined) {
    const asked: WhereQuery = { ...common, where: where ?? {} };
    if (orderBy !== undefined) asked.orderBy = orderBy === 'key' ? orderBy : fieldArgument(orderBy);
    return asked;
  }
  if (where !== undefined || orderBy !== undefined)
    throw invalid('--index stands without --where and --order-by');
  const info = engine.indexes.list().find(({ name }) => name === index);
  const asked: IndexQuery = { ...common, index };
  if (prefix !== undefined) asked.prefix = prefix;
  for (const bound of bounds) {
    const given = options[bound];
    if (given !== undefined) asked[bound] = tupleArgument(given, info);
  }
  return asked;
}

function tupleArgument(given: readonly string[], info: IndexInfo | undefined): IndexValue | IndexValue[] {
  const values = given.map((text, i) => valueArgument(text, info?.on[i]));
  return values.length === 1 ? values[0]! : values;
}

/** `metadata.a.b` or the name of a field. */
export function fieldArgument(text: string): IndexField {
  return text.startsWith('metadata.') ? { metadata: text.slice(9) } : (text as IndexField);
}

function valueArgument(text: string, field: IndexField | undefined): IndexValue {
  if (field === 'size') return wholeNumber(text);
  if (field === 'modified' || field === 'created') return dateArgument(text);
  if (typeof field === 'string') return text;
  if (text.startsWith('date:')) return dateArgument(text.slice(5));
  if (text.startsWith('hex:')) return fromHex(text.slice(4));
  return literalOf(text);
}

function dateArgument(text: string): Date {
  const date = dateOf(text);
  if (date === undefined) throw invalid(`${JSON.stringify(text)} is no date`);
  return date;
}

/** null, true, false, a number or a string in quotes; any other text is itself. */
function literalOf(text: string): IndexValue {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === 'object' && value !== null ? text : (value as IndexValue);
  } catch (error) {
    if (error instanceof SyntaxError) return text;
    throw error;
  }
}

function entryFields({ key, seq, size, indexKey, cursor }: QueryEntry<Uint8Array>): object {
  return { type: 'entry', ...keyFields(key), seq, size, indexKey, cursor };
}

function entryText(session: Session, { key, indexKey }: QueryEntry<Uint8Array>): string {
  if (indexKey === undefined) return keyText(key);
  const values = (Array.isArray(indexKey) ? indexKey : [indexKey]).map(valueText).join(' ');
  return `${keyText(key)}${session.paint('dim', `  ${values}`)}`;
}

function valueText(value: IndexValue): string {
  if (value instanceof Date) return value.toISOString();
  return value instanceof Uint8Array ? keyText(value) : plainText(String(value));
}
