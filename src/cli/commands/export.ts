/** varve export: a stored tree back into a directory. */
import type { Command } from 'commander';
import { encodeUtf8 } from '../../base/bytes.ts';
import { invalid, VarveError } from '../../base/errors.ts';
import type { Engine } from '../../index.ts';
import { exitCodes } from '../exit-codes.ts';
import { isTerminal } from '../io.ts';
import { examples, type KeyOptions, withKeyOptions } from '../options.ts';
import { type AtOptions, readAt, spaceAt, storeAt, withAt } from '../point.ts';
import { progressView } from '../progress.ts';
import { type Runner, readStore, type Session } from '../session.ts';
import { keyArgument, plainText, plural, sizeText } from '../text.ts';
import { type ExportReport, exportTree } from '../tree/export-tree.ts';
import { problemFields, warnOfProblems } from './problems.ts';

interface Options extends KeyOptions, AtOptions {
  prefix?: string;
  tar?: string;
  overwrite?: boolean;
}

export function addExport(program: Command, runner: Runner): void {
  const command = program
    .command('export')
    .description(
      'Write keys back as files, with modes, times, links and holes where they came from an import.',
    )
    .argument('<store>', 'directory of the store')
    .argument('[out]', 'directory to write; must be empty or not there')
    .option('--tar <file>', 'write all keys, of all spaces, as an archive instead; - for stdout')
    .option('--prefix <prefix>', 'only keys that begin with this, which is cut off')
    .option('--overwrite', 'write into a directory that has files: those of the same name are replaced')
    .addHelpText(
      'after',
      `
Keys that could leave the directory ('..', absolute paths and the like) are refused and listed; nothing is
ever written through a link. Set-user-id bits of files are not restored.

An archive (--tar) has a file for each key, MANIFEST.jsonl with all that is known of it, and SHA256SUMS for
sha256sum -c. Its prefix is not cut off. varve import --tar reads it back.
${examples('varve export ./data ./restored --prefix photos/', 'varve export ./data --tar data.tar')}`,
    );
  withAt(withKeyOptions(command)).action((store: string, out: string | undefined, options: Options) =>
    runner.run(options, async (session) => {
      if ((out === undefined) === (options.tar === undefined))
        throw invalid('give a directory, or --tar FILE');
      if (out !== undefined) return exportCommand(session, store, out, options);
      const prefix = prefixOf(options);
      const { tar, space, at, overwrite = false } = options;
      const { exportTarCommand } = await import('./tar.ts');
      return exportTarCommand(session, store, { tar: tar!, prefix, space, at, overwrite });
    }),
  );
}

function prefixOf(options: Options): Uint8Array {
  const given = options.prefix === undefined ? '' : keyArgument(options.prefix, options.hex);
  return typeof given === 'string' ? encodeUtf8(given) : given;
}

async function exportCommand(
  session: Session,
  store: string,
  target: string,
  options: Options,
): Promise<number> {
  const prefix = prefixOf(options);
  return await readStore(session, store, async (engine) => {
    const space = spaceAt(engine, options.space, options.at);
    if (prefix.length > 0) await requireKeys(space, prefix, options);
    const view = await progressView(session.io, session.json);
    let report: ExportReport;
    try {
      report = await exportTree(storeAt(space, options.at), target, {
        prefix,
        overwrite: options.overwrite,
        measure: !session.json && isTerminal(session.io.stderr),
        signal: session.io.signal,
        onProgress: view.update,
      });
    } finally {
      view.stop();
    }
    await print(session, report);
    if (report.corrupt) return exitCodes.corrupt;
    return report.ok ? exitCodes.done : exitCodes.failed;
  });
}

/** A mistyped prefix must not look like an export that worked. */
async function requireKeys(space: Engine, prefix: Uint8Array, options: Options): Promise<void> {
  const scan = { prefix, limit: 1, values: false, ...readAt(options.at) };
  for await (const _ of space.scan(scan)) return;
  throw new VarveError('VARVE_NOT_FOUND', `no key begins with ${plainText(options.prefix!)}`);
}

async function print(session: Session, report: ExportReport): Promise<void> {
  const { failed, ...counts } = report;
  if (session.json) {
    await session.out.json({ type: 'export', ...counts, failed: failed.map(problemFields) });
    return;
  }
  await warnOfProblems(session, 'not written', failed, report.failedCount);
  const { files, directories, links, hardLinks, bytes, seconds } = counts;
  const shared = hardLinks > 0 ? `, ${plural(hardLinks, 'hard link')}` : '';
  const rate = seconds > 0 ? `, ${sizeText(bytes / seconds)}/s` : '';
  await session.out.line(
    `${plural(files, 'file')} (${sizeText(bytes)}), ${plural(directories, 'directory', 'directories')}, ` +
      `${plural(links, 'link')}${shared} written in ${seconds.toFixed(1)} s${rate}`,
  );
}
