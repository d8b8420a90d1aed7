/** varve restore: a backup into a new store, into one that is there, or into files. */
import type { Command } from 'commander';
import { encodeUtf8 } from '../../base/bytes.ts';
import { invalid } from '../../base/errors.ts';
import type { LiveRestoreReport, RestoreReport, VaultDamage, VaultProgress } from '../../index.ts';
import { exitCodes } from '../exit-codes.ts';
import { loadVarve } from '../load.ts';
import { collect, examples, jsonOption } from '../options.ts';
import { timeArgument } from '../point.ts';
import { progressView } from '../progress.ts';
import { type Runner, readStore, type Session, writeStore } from '../session.ts';
import { plainText, plural, sizeText } from '../text.ts';
import { exportTree } from '../tree/export-tree.ts';
import { problemFields, warnOfProblems } from './problems.ts';

interface Options {
  json?: boolean;
  backup?: string;
  at?: Date;
  prefix?: string[];
  key?: string[];
  space?: string;
  files?: boolean;
  merge?: boolean;
  into?: string;
  dryRun?: boolean;
  overwrite?: boolean;
}

export function addRestore(program: Command, runner: Runner): void {
  program
    .command('restore')
    .description('Restore a backup into a new store, into one that is there, or into a directory tree.')
    .argument('<vault>', 'directory of the vault')
    .argument('<target>', 'directory to make, where an unfinished restore goes on; with --merge, a store')
    .option('--backup <id>', 'id of the backup, or the beginning of one; the newest where not given')
    .option(
      '--at <time>',
      'the state of this time (UTC where it says no zone): the backup before it, and the log archived behind',
      timeArgument,
    )
    .option('--prefix <prefix>', 'only keys that begin with this; may be given several times', collect)
    .option('--key <key>', 'only this key; may be given several times', collect)
    .option('--space <name>', 'only the keys of this space')
    .option('--files', 'write keys as files, as export does; the prefix is cut off')
    .option('--merge', 'put the keys into the store that is there; others stay as they are')
    .option('--into <space>', "with --merge: into this space; '' is the store itself")
    .option('-n, --dry-run', 'with --merge: read and check everything, write nothing')
    .option(
      '--overwrite',
      'with --files: into a directory that has files; with --merge: over keys that differ',
    )
    .addOption(jsonOption())
    .addHelpText(
      'after',
      `
Every byte is checked. Exit code 4 when something is damaged in the vault: the rest is restored.
${examples(
  'varve restore /mnt/vault ./data',
  'varve restore /mnt/vault ./photos --files --prefix photos/',
  'varve restore /mnt/vault ./data --merge --key report.pdf --overwrite',
)}`,
    )
    .action((vault: string, target: string, options: Options) =>
      runner.run(options, (session) => {
        checkTogether(options);
        if (options.files === true) return restoreFiles(session, vault, target, options);
        if (options.merge === true) return mergeStore(session, vault, target, options);
        return restoreStore(session, vault, target, options);
      }),
    );
}

/** VARVE_INVALID_ARGUMENT where an option would have no effect. */
function checkTogether({ files, merge, into, dryRun, overwrite, key, prefix }: Options): void {
  if (files === true && merge === true) throw invalid('--files and --merge exclude each other');
  if (merge !== true && (into !== undefined || dryRun !== undefined))
    throw invalid('--into and --dry-run go with --merge');
  if (overwrite === true && files !== true && merge !== true)
    throw invalid('--overwrite goes with --files or --merge');
  if (files === true && (key !== undefined || (prefix?.length ?? 0) > 1))
    throw invalid('--files takes one --prefix, and no --key');
}

async function mergeStore(session: Session, dir: string, target: string, options: Options): Promise<number> {
  const { openVault } = await loadVarve();
  const vault = await openVault(dir, { readOnly: true });
  const { into, dryRun = false, overwrite = false } = options;
  const open = dryRun
    ? readStore
    : (...[s, t, task]: Parameters<typeof readStore>) => writeStore(s, t, false, task);
  return await open(session, target, async (engine) => {
    const report: LiveRestoreReport = await showingKeys(session, (shown) =>
      engine.restore(vault, {
        ...chosen(options),
        ...keysChosen(options),
        ...(into === undefined ? {} : { into }),
        dryRun,
        overwrite,
        ...shown,
      }),
    );
    if (session.json) await session.out.json({ type: 'restore', ...report });
    else {
      await warnOfDamage(session, report.damage);
      const { keys, bytes, same, kept, expired, ms, backup } = report;
      const rest = [
        ...(same === 0 ? [] : [`${plural(same, 'key')} there already`]),
        ...(kept === 0 ? [] : [`${plural(kept, 'other')} kept: --overwrite replaces them`]),
        ...(expired === 0 ? [] : [`${plural(expired, 'expired key')} left out`]),
      ];
      const verb = dryRun ? 'would be restored' : `restored in ${(ms / 1000).toFixed(1)} s`;
      const line = `${plural(keys, 'key')} (${sizeText(bytes)}) of backup ${backup.slice(0, 12)} ${verb}`;
      await session.out.line([line, ...rest].join(', '));
    }
    return report.ok ? exitCodes.done : exitCodes.corrupt;
  });
}

/** Runs a restore that can be interrupted and shows the keys it has done. */
async function showingKeys<T>(
  session: Session,
  run: (shown: { signal: AbortSignal; onProgress: (progress: VaultProgress) => void }) => Promise<T>,
): Promise<T> {
  const view = await progressView(session.io, session.json);
  try {
    return await run({
      signal: session.io.signal,
      onProgress: ({ phase, done, total, bytesPerSecond }) =>
        view.update({ phase, done, total, unit: 'keys', bytesPerSecond, files: 0 }),
    });
  } finally {
    view.stop();
  }
}

async function warnOfDamage(session: Session, damage: readonly VaultDamage[]): Promise<void> {
  for (const { message, keys } of damage)
    await session.err.line(
      `varve: not restored: ${plainText(keys?.join(', ') ?? '')}: ${plainText(message)}`,
    );
}

function keysChosen({ prefix, key }: Options): { prefixes?: string[]; keys?: string[] } {
  return {
    ...(prefix === undefined ? {} : { prefixes: prefix }),
    ...(key === undefined ? {} : { keys: key }),
  };
}

async function restoreStore(
  session: Session,
  dir: string,
  target: string,
  options: Options,
): Promise<number> {
  const { openVault, restore } = await loadVarve();
  const vault = await openVault(dir, { readOnly: true });
  const report: RestoreReport = await showingKeys(session, (shown) =>
    restore(vault, target, { ...chosen(options), ...keysChosen(options), ...shown }),
  );
  if (session.json) await session.out.json({ type: 'restore', ...report });
  else {
    await warnOfDamage(session, report.damage);
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
  const bar = await progressView(session.io, session.json);
  try {
    const report = await exportTree(view, target, {
      prefix: encodeUtf8(options.prefix?.[0] ?? ''),
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
