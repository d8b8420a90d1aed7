/** varve rm: removes keys. */
import type { Command } from 'commander';
import { encodeUtf8 } from '../../base/bytes.ts';
import { exitCodes } from '../exit-codes.ts';
import { examples, type KeyOptions, withKeyOptions } from '../options.ts';
import { noSuchKey, type Runner, type Session, spaceOf, warn, writeStore } from '../session.ts';
import { keyArgument, keyFields } from '../text.ts';

interface Options extends KeyOptions {
  force?: boolean;
}

export function addRm(program: Command, runner: Runner): void {
  const command = program
    .command('rm')
    .description('Remove keys. Ends with exit code 3 when one of them is not there.')
    .argument('<store>', 'directory of the store')
    .argument('<keys...>', 'keys to remove')
    .option('-f, --force', 'keys that are not there are no failure')
    .addHelpText('after', examples('varve rm ./data now', 'varve rm ./data a b c --force'));
  withKeyOptions(command).action((store: string, keys: string[], options: Options) =>
    runner.run(options, (session) => rm(session, store, keys, options)),
  );
}

async function rm(session: Session, store: string, keys: string[], options: Options): Promise<number> {
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
