/** varve rm: removes keys, one by one or all that begin with a prefix. */
import type { Command } from 'commander';
import { encodeUtf8 } from '../../base/bytes.ts';
import { VarveError } from '../../base/errors.ts';
import { exitCodes } from '../exit-codes.ts';
import { examples, type KeyOptions, withKeyOptions } from '../options.ts';
import { noSuchKey, type Runner, type Session, spaceOf, warn, writeStore } from '../session.ts';
import { keyArgument, keyFields } from '../text.ts';

interface Options extends KeyOptions {
  force?: boolean;
  prefix?: string;
}

export function addRm(program: Command, runner: Runner): void {
  const command = program
    .command('rm')
    .description('Remove keys. Ends with exit code 3 when one of them is not there.')
    .argument('<store>', 'directory of the store')
    .argument('[keys...]', 'keys to remove')
    .option('--prefix <prefix>', 'instead of keys: all keys that begin with this, in one commit')
    .option('-f, --force', 'keys that are not there are no failure')
    .addHelpText(
      'after',
      examples('varve rm ./data now', 'varve rm ./data a b c --force', 'varve rm ./data --prefix tmp/'),
    );
  withKeyOptions(command).action((store: string, keys: string[], options: Options) =>
    runner.run(options, (session) => rm(session, store, keys, options)),
  );
}

async function rm(session: Session, store: string, keys: string[], options: Options): Promise<number> {
  if (keys.length > 0 === (options.prefix !== undefined)) {
    throw new VarveError('VARVE_INVALID_ARGUMENT', 'give keys to remove, or --prefix, not both');
  }
  if (options.prefix !== undefined) return await rmPrefix(session, store, options.prefix, options);
  const parsed = keys.map((key) => keyArgument(key, options.hex));
  return await writeStore(session, store, false, async (engine) => {
    const space = spaceOf(engine, options.space, true);
    let code: number = exitCodes.done;
    for (const key of parsed) {
      const removed = await space.delete(key, { signal: session.io.signal });
      if (session.json) {
        const bytes = typeof key === 'string' ? encodeUtf8(key) : key;
        await session.out.json({ type: 'removed', ...keyFields(bytes), removed });
      } else if (!removed && options.force !== true) await warn(session, noSuchKey(key).message);
      if (!removed && options.force !== true) code = exitCodes.notFound;
    }
    return code;
  });
}

/** Ends with exit code 3 when no key begins with the prefix, unless forced. */
async function rmPrefix(session: Session, store: string, prefix: string, options: Options): Promise<number> {
  const parsed = keyArgument(prefix, options.hex);
  if (parsed.length === 0)
    throw new VarveError('VARVE_INVALID_ARGUMENT', 'a prefix has at least one character');
  const bytes = typeof parsed === 'string' ? encodeUtf8(parsed) : parsed;
  return await writeStore(session, store, false, async (engine) => {
    const space = spaceOf(engine, options.space, true);
    const { signal } = session.io;
    let removed = false;
    for await (const _ of space.scan({ prefix: bytes, limit: 1, values: false, signal })) removed = true;
    if (removed) await space.deleteRange({ prefix: bytes, signal });
    if (session.json) {
      const { key, keyHex } = keyFields(bytes) as { key?: string; keyHex?: string };
      await session.out.json({ type: 'removed', prefix: key, prefixHex: keyHex, removed });
    } else if (!removed && options.force !== true) {
      await warn(session, `no key begins with ${prefix}`);
    }
    return removed || options.force === true ? exitCodes.done : exitCodes.notFound;
  });
}
