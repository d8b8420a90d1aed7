/** varve restore: a backup into a new store, or into files. */
import { type Command, InvalidArgumentError } from 'commander';
import { encodeUtf8 } from '../../base/bytes.ts';
import type { RestoreReport } from '../../index.ts';
import { exitCodes } from '../exit-codes.ts';
import { loadVarve } from '../load.ts';
import { examples, jsonOption } from '../options.ts';
import { progressView } from '../progress.ts';
import type { Runner, Session } from '../session.ts';
import { plainText, plural, sizeText } from '../text.ts';
import { exportTree } from '../tree/export-tree.ts';
import { problemFields, warnOfProblems } from './problems.ts';

interface Options {
  json?: boolean;
  backup?: string;
  at?: Date;
  prefix?: string;
  space?: string;
  files?: boolean;
  overwrite?: boolean;
}

export function addRestore(program: Command, runner: Runner): void {
  program
    .command('restore')
    .description('Restore a backup into a new store, or with --files into a directory tree.')
    .argument('<vault>', 'directory of the vault')
    .argument('<target>', 'directory to make; one of an unfinished restore goes on')
    .option('--backup <id>', 'id of the backup, or the beginning of one; the newest where not given')
    .option(
      '--at <time>',
      'the newest backup at or before this time, such as 2026-01-31T12:00:00Z',
      timeArgument,
    )
    .option('--prefix <prefix>', 'only keys that begin with this')
    .option('--space <name>', 'only the keys of this space')
    .option('--files', 'write keys as files, as export does; the prefix is cut off')
    .option('--overwrite', 'with --files: into a directory that has files')
    .addOption(jsonOption())
    .addHelpText(
      'after',
      `
Every byte is checked. Exit code 4 when something is damaged in the vault: the rest is restored.
${examples('varve restore /mnt/vault ./data', 'varve restore /mnt/vault ./photos --files --prefix photos/')}`,
    )
    .action((vault: string, target: string, options: Options) =>
      runner.run(options, (session) =>
        options.files === true
          ? restoreFiles(session, vault, target, options)
          : restoreStore(session, vault, target, options),
      ),
    );
}

async function restoreStore(
  session: Session,
  dir: string,
  target: string,
  options: Options,
): Promise<number> {
  const { openVault, restore } = await loadVarve();
  const vault = await openVault(dir, { readOnly: true });
  const view = progressView(session.io, session.json);
  let report: RestoreReport;
  try {
    report = await restore(vault, target, {
      ...chosen(options),
      ...(options.prefix === undefined ? {} : { prefix: options.prefix }),
      signal: session.io.signal,
      onProgress: ({ phase, done, total, bytesPerSecond }) =>
        view.update({ phase, done, total, unit: 'keys', bytesPerSecond, files: 0 }),
    });
  } finally {
    view.stop();
  }
  if (session.json) await session.out.json({ type: 'restore', ...report });
  else {
    for (const { message, keys } of report.damage) {
      await session.err.line(
        `varve: not restored: ${plainText(keys?.join(', ') ?? '')}: ${plainText(message)}`,
      );
    }
    const { keys, bytes, ms, backup, proved } = report;
    await session.out.line(
      `${plural(keys, 'key')} (${sizeText(bytes)}) of backup ${backup.slice(0, 12)} restored in ` +
        `${(ms / 1000).toFixed(1)} s${proved ? ', proved' : ''}`,
    );
  }
  return report.ok ? exitCodes.done : exitCodes.corrupt;
}

async function restoreFiles(
  session: Session,
  dir: string,
  target: string,
  options: Options,
): Promise<number> {
  const { openBackup, openVault } = await loadVarve();
  const view = await openBackup(await openVault(dir, { readOnly: true }), chosen(options));
  const bar = progressView(session.io, session.json);
  try {
    const report = await exportTree(view, target, {
      prefix: encodeUtf8(options.prefix ?? ''),
      overwrite: options.overwrite === true,
      signal: session.io.signal,
      onProgress: bar.update,
    });
    bar.stop();
    const { failed, ...counts } = report;
    if (session.json) {
      await session.out.json({ type: 'export', ...counts, failed: failed.map(problemFields) });
    } else {
      await warnOfProblems(session, 'not written', failed, report.failedCount);
      await session.out.line(
        `${plural(counts.files, 'file')} (${sizeText(counts.bytes)}) of ${view.info.id.slice(0, 12)} written`,
      );
    }
    if (report.corrupt) return exitCodes.corrupt;
    return report.ok ? exitCodes.done : exitCodes.failed;
  } finally {
    bar.stop();
  }
}

function chosen({ backup, at, space }: Options): { backup?: string; at?: Date; space?: string } {
  return {
    ...(backup === undefined ? {} : { backup }),
    ...(at === undefined ? {} : { at }),
    ...(space === undefined ? {} : { space }),
  };
}

function timeArgument(text: string): Date {
  const time = new Date(text);
  if (!Number.isFinite(time.getTime()))
    throw new InvalidArgumentError('It must be a time, such as 2026-01-31T12:00:00Z.');
  return time;
}
