/** varve backup: a store into a vault. */
import { type Command, Option } from 'commander';
import { MemoryBlobs } from '../../backup/memory-blobs.ts';
import { invalid, isVarveError } from '../../base/errors.ts';
import type { BackupMode, BackupReport, Engine, Vault } from '../../index.ts';
import { runDaemon } from '../daemon.ts';
import { exitCodes } from '../exit-codes.ts';
import { loadVarve } from '../load.ts';
import { collect, examples, jsonOption, wholeNumber } from '../options.ts';
import { progressView } from '../progress.ts';
import { type Runner, type Session, warn, writeStore } from '../session.ts';
import { countText, plainText, plural, sizeText } from '../text.ts';

interface Options {
  json?: boolean;
  daemon?: boolean;
  mode: BackupMode;
  label?: string;
  tag?: string[];
  dryRun?: boolean;
  verify: boolean;
  limit?: number;
}

export function addBackup(program: Command, runner: Runner): void {
  program
    .command('backup')
    .description('Back a store up into a vault, which is made where there is none.')
    .argument('<store>', 'directory of the store')
    .argument('[vault]', 'directory of the vault, not inside the store')
    .option('--daemon', 'make the backups that the schedules of the store ask for, until it is ended')
    .addOption(
      new Option('--mode <mode>', 'what of the vault is reused; every backup is complete on its own')
        .choices(['incremental', 'differential', 'full'])
        .default('incremental'),
    )
    .option('--label <text>', 'a text to find it by')
    .option('--tag <tag>', 'a tag for the rules of forget; may be given several times', collect)
    .option('-n, --dry-run', 'say what would be sent, write nothing')
    .option('--no-verify', 'do not read back and prove what was written')
    .option('--limit <bytes>', 'send at most so many bytes a second', wholeNumber)
    .addOption(jsonOption())
    .addHelpText(
      'after',
      `
While another process has the store open for writing, what it held at that moment is backed up.
Exit code 4 when keys were left out because they are damaged.

With --daemon no vault is given: see varve schedule. It tells a line for each thing that happens, and ends at
SIGINT or SIGTERM, with code 0 unless the last run of a schedule failed (1) or found damage (4).
${examples('varve backup ./data /mnt/vault --label nightly', 'varve backup ./data /mnt/vault --dry-run')}`,
    )
    .action((store: string, vault: string | undefined, options: Options) =>
      runner.run(options, (session) => {
        if ((vault === undefined) !== (options.daemon === true)) throw invalid('give a vault, or --daemon');
        return vault === undefined ? daemon(session, store, options) : backup(session, store, vault, options);
      }),
    );
}

function daemon(session: Session, store: string, options: Options): Promise<number> {
  const { mode, label, tag, dryRun, verify, limit } = options;
  if (mode !== 'incremental' || !verify || [label, tag, dryRun, limit].some((value) => value !== undefined))
    throw invalid('--daemon goes with --json only: the schedules say how backups are made');
  return runDaemon(session, store);
}

async function backup(session: Session, store: string, target: string, options: Options): Promise<number> {
  try {
    return await writeStore(session, store, false, (engine) => run(session, engine, target, options));
  } catch (error) {
    if (!isVarveError(error, 'VARVE_LOCKED')) throw error;
    await warn(session, 'the store is in use: what it holds at this moment is backed up');
    const { openEngine } = await loadVarve();
    const engine = await openEngine(store, { readOnly: true });
    try {
      return await run(session, engine, target, options);
    } finally {
      await engine.close();
    }
  }
}

async function run(session: Session, engine: Engine, target: string, options: Options): Promise<number> {
  const vault = await vaultFor(session, target, options.dryRun === true);
  const view = await progressView(session.io, session.json);
  let report: BackupReport;
  try {
    report = await engine.backup(vault, {
      mode: options.mode,
      verify: options.verify,
      ...(options.label === undefined ? {} : { label: options.label }),
      ...(options.tag === undefined ? {} : { tags: options.tag }),
      ...(options.dryRun === true ? { dryRun: true } : {}),
      ...(options.limit === undefined ? {} : { bytesPerSecond: options.limit }),
      signal: session.io.signal,
      onProgress: ({ phase, done, total, unit, bytesPerSecond }) =>
        view.update({
          phase,
          done,
          total,
          unit: unit === 'packs' ? 'files' : unit,
          bytesPerSecond,
          files: 0,
        }),
    });
  } finally {
    view.stop();
  }
  for (const warning of report.warnings) await warn(session, warning);
  if (session.json) await session.out.json({ type: 'backup', ...report });
  else await print(session, report);
  return report.ok ? exitCodes.done : exitCodes.corrupt;
}

/** The vault; for a dry run an empty one where there is none yet, in memory. */
async function vaultFor(session: Session, target: string, dryRun: boolean): Promise<Vault> {
  const { openVault } = await loadVarve();
  try {
    return await openVault(target, { create: !dryRun });
  } catch (error) {
    if (!dryRun || !isVarveError(error, 'VARVE_NOT_FOUND')) throw error;
    await warn(session, `there is no vault in ${target} yet: this would be the first backup`);
    return await openVault(new MemoryBlobs(), { create: true });
  }
}

async function print(session: Session, report: BackupReport): Promise<void> {
  for (const { message, keys } of report.damage) {
    await session.err.line(`varve: left out: ${plainText(keys?.[0] ?? '')}: ${plainText(message)}`);
  }
  const { id, keys, logicalBytes, newBytes, newChunks, files, ms, dryRun } = report;
  await session.out.line(
    `${dryRun ? 'would send' : `backup ${id}:`} ${plural(keys, 'key')} (${sizeText(logicalBytes)}), ` +
      `new ${sizeText(newBytes)} in ${plural(files, 'pack')} (${countText(newChunks)} chunks), ` +
      `${(ms / 1000).toFixed(1)} s${report.proof === undefined ? '' : ', proved'}`,
  );
}
