/** The command line of a bench: options, help, and mistakes told in one line instead of a stack. */
import { type ParseArgsConfig, parseArgs } from 'node:util';

type OptionsConfig = NonNullable<ParseArgsConfig['options']>;

type Parsed<T extends OptionsConfig> = ReturnType<typeof parseArgs<{ args: string[]; options: T }>>['values'];

/** Wrong arguments. */
export class UsageError extends Error {}

/** What the arguments of a command say: options, or a text to print and an exit code to end with. */
export type Command<V> = { readonly values: V } | { readonly text: string; readonly exitCode: number };

/** `args` by the table `options`, each value passed through `check`, which throws UsageError. */
export function commandOf<const T extends OptionsConfig, V>(
  usage: string,
  options: T,
  check: (values: Parsed<T>) => V,
  args: readonly string[],
): Command<V> {
  if (args.includes('--help') || args.includes('-h')) return { text: usage, exitCode: 0 };
  try {
    return { values: check(parseArgs({ args: [...args], options }).values as Parsed<T>) };
  } catch (error) {
    const code = (error as { code?: string }).code ?? '';
    if (!(error instanceof UsageError) && !code.startsWith('ERR_PARSE_ARGS')) throw error;
    return { text: `${(error as Error).message}\n\n${usage}`, exitCode: 2 };
  }
}

/** The options of this process; help and mistakes end it. */
export function optionsOf<const T extends OptionsConfig, V>(
  usage: string,
  options: T,
  check: (values: Parsed<T>) => V,
): V {
  const command = commandOf(usage, options, check, process.argv.slice(2));
  if ('values' in command) return command.values;
  (command.exitCode === 0 ? process.stdout : process.stderr).write(`${command.text}\n`);
  process.exit(command.exitCode);
}

/** A whole number from `least` to `most`; underscores part digits. */
export function countOf(name: string, text: string, least = 1, most: number = 2 ** 31): number {
  const value = Number(text.replaceAll('_', ''));
  if (text === '' || !Number.isInteger(value) || value < least || value > most) {
    throw new UsageError(`--${name} must be a whole number from ${least} to ${most}, not '${text}'`);
  }
  return value;
}

/** One of `names`. */
export function choiceOf<const T extends string>(name: string, text: string, names: readonly T[]): T {
  const found = names.find((one) => one === text);
  if (found === undefined) throw new UsageError(`--${name} must be ${names.join(' or ')}, not '${text}'`);
  return found;
}

/** Some of `names`, separated by commas; all where nothing is given. */
export function listOf(name: string, text: string | undefined, names: readonly string[]): readonly string[] {
  const asked = text === undefined || text === '' ? names : text.split(',').filter((one) => one !== '');
  for (const one of asked) choiceOf(name, one, names);
  return asked;
}
