/** varve import: a directory tree into a store. */
import type { Command } from 'commander';
import { encodeUtf8 } from '../../base/bytes.ts';
import { invalid } from '../../base/errors.ts';
import { exitCodes } from '../exit-codes.ts';
import { isTerminal } from '../io.ts';
import { examples, type KeyOptions, withKeyOptions } from '../options.ts';
import { progressView } from '../progress.ts';
import { type Runner, type Session, spaceOf, writeStore } from '../session.ts';
import { countText, keyArgument, plural, sizeText } from '../text.ts';
import { type ImportReport, importTree } from '../tree/import-tree.ts';
import { identityAt, requireDirectory } from '../tree/walk.ts';
import { problemFields, warnOfProblems } from './problems.ts';

interface Options extends KeyOptions {
  prefix?: string;
  tar?: string;
  trustMtime?: boolean;
  delete?: boolean;
}

export function addImport(program: Command, runner: Runner): void {
  const command = program
    .command('import')
    .description('Store a directory tree: paths become keys. Makes the store when there is none.')
    .argument('<store>', 'directory of the store')
    .argument('[dir]', 'the tree to store; links in it are stored as links')
    .option('--tar <file>', 'store an archive of varve export --tar instead; - for stdin')
    .option('--prefix <prefix>', "put before every path, as in 'photos/'")
    .option('--trust-mtime', 'do not read files whose size, mode and time are those stored')
    .option('--delete', 'afterwards remove keys under the prefix that are not in the tree')
    .addHelpText(
      'after',
      `
Directories become keys ending in '/', with mode and time as metadata, as files have them; that names share a
file, and that a file has holes, is kept too. Pipes, sockets and devices are skipped. What cannot be read, or
changes while it is read, is listed and the rest is stored; the exit code is then 1. An import that was
interrupted is run again: what it has stored costs reading only.

An archive (--tar) goes where it came from: each key into its space. Every value is held against its SHA-256
before it is stored; exit code 4 where the archive is not whole.
${examples('varve import ./data ~/photos --prefix photos/', 'varve import ./data . --trust-mtime --delete')}`,
    );
  withKeyOptions(command).action((store: string, dir: string | undefined, options: Options) =>
    runner.run(options, async (session) => {
      if ((dir === undefined) === (options.tar === undefined))
        throw invalid('give a directory, or --tar FILE');
      if (dir !== undefined) return importCommand(session, store, dir, options);
      const { tar, prefix, space, trustMtime, delete: del } = options;
      if ([prefix, space, trustMtime, del].some((value) => value !== undefined))
        throw invalid('--tar goes with --json only: an archive says itself where its keys belong');
      const { importTarCommand } = await import('./tar.ts');
      return importTarCommand(session, store, tar!);
    }),
  );
}

async function importCommand(
  session: Session,
  store: string,
  dir: string,
  options: Options,
): Promise<number> {
  const given = options.prefix === undefined ? '' : keyArgument(options.prefix, options.hex);
  const prefix = typeof given === 'string' ? encodeUtf8(given) : given;
  // Before the store is made: a wrong directory must not leave an empty store behind.
  await requireDirectory(dir);
  return await writeStore(session, store, true, async (engine) => {
    const view = await progressView(session.io, session.json);
    let report: ImportReport;
    try {
      report = await importTree(spaceOf(engine, options.space, false), dir, {
        prefix,
        trustMtime: options.trustMtime,
        deleteMissing: options.delete,
        exclude: await identityAt(store),
        measure: !session.json && isTerminal(session.io.stderr),
        signal: session.io.signal,
        onProgress: view.update,
      });
    } finally {
      view.stop();
    }
    await print(session, report);
    return report.ok ? exitCodes.done : exitCodes.failed;
  });
}

async function print(session: Session, report: ImportReport): Promise<void> {
  const { skipped, failed, ...counts } = report;
  if (session.json) {
    const lists = { skipped: skipped.map(problemFields), failed: failed.map(problemFields) };
    await session.out.json({ type: 'import', ...counts, ...lists });
    return;
  }
  await warnOfProblems(session, 'skipped', skipped, report.skippedCount);
  await warnOfProblems(session, 'failed', failed, report.failedCount);
  const { files, directories, links, hardLinks, bytes, newBytes, newChunks, unchanged, deleted, seconds } =
    counts;
  const rate = seconds > 0 ? `, ${sizeText(bytes / seconds)}/s` : '';
  const more = [
    ...(hardLinks > 0 ? [plural(hardLinks, 'hard link')] : []),
    ...(unchanged > 0 ? [`${plural(unchanged, 'file')} unchanged`] : []),
    ...(deleted > 0 ? [`${plural(deleted, 'key')} removed`] : []),
  ];
  await session.out.line(
    `${plural(files, 'file')} (${sizeText(bytes)}), ${plural(directories, 'directory', 'directories')}, ` +
      `${plural(links, 'link')}${more.map((text) => `, ${text}`).join('')}`,
  );
  await session.out.line(
    `${sizeText(newBytes)} of new chunks stored (${countText(newChunks)}) in ${seconds.toFixed(1)} s${rate}`,
  );
}
