/** varve versions: what a key held, newest first. */
import type { Command } from 'commander';
import { throwIfAborted } from '../../engine/key-args.ts';
import type { VersionInfo } from '../../index.ts';
import { exitCodes } from '../exit-codes.ts';
import { examples, type KeyOptions, withKeyOptions } from '../options.ts';
import { noSuchKey, type Runner, readStore, type Session, spaceOf } from '../session.ts';
import { keyArgument, plainText, sizeText } from '../text.ts';

export function addVersions(program: Command, runner: Runner): void {
  const command = program
    .command('versions')
    .description('List the versions of a key that are still there, newest first, and why each is kept.')
    .argument('<store>', 'directory of the store')
    .argument('<key>', 'the key')
    .addHelpText(
      'after',
      examples('varve versions ./data report.pdf', 'varve get ./data report.pdf --at 1234 -o old.pdf'),
    );
  withKeyOptions(command).action((store: string, key: string, options: KeyOptions) =>
    runner.run(options, (session) => versions(session, store, key, options)),
  );
}

async function versions(session: Session, store: string, text: string, options: KeyOptions): Promise<number> {
  const key = keyArgument(text, options.hex);
  return await readStore(session, store, async (engine) => {
    let count = 0;
    for await (const version of spaceOf(engine, options.space, true).versions(key)) {
      throwIfAborted(session.io.signal);
      count++;
      if (session.json) await session.out.json({ type: 'version', ...version });
      else await session.out.line(lineOf(session, version));
      if (session.out.closed) break;
    }
    if (count === 0) throw noSuchKey(key);
    return exitCodes.done;
  });
}

function lineOf(session: Session, { seq, time, deleted, size, keptBy }: VersionInfo): string {
  const head = `${String(seq).padStart(10)}  ${time.toISOString().slice(0, 19)}Z  `;
  const what = deleted ? 'deleted' : sizeText(size);
  return `${head}${what.padEnd(12)}${session.paint('dim', plainText(keptBy.join(', ')))}`;
}
