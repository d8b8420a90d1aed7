/** varve vault: what can be done with the backups of a vault. */
import Table from 'cli-table3';
import type { Command } from 'commander';
import { encodeUtf8, toHex } from '../../base/bytes.ts';
import type { BackupInfo, Vault, VaultOptions, VerifyVaultOptions } from '../../index.ts';
import { exitCodes } from '../exit-codes.ts';
import { type KeepOptions, keepRulesOf, withKeepOptions } from '../keep-options.ts';
import { loadVarve } from '../load.ts';
import { examples, jsonOption, percent } from '../options.ts';
import { progressView } from '../progress.ts';
import type { Runner, Session } from '../session.ts';
import { plainTable } from '../table.ts';
import { countText, keyText, plainText, plural, sizeText } from '../text.ts';
import { addVaultVerify } from './vault-verify.ts';

interface Json {
  json?: boolean;
}

async function vaultIn(dir: string, options?: VaultOptions): Promise<Vault> {
  const { openVault } = await loadVarve();
  return await openVault(dir, options);
}

export function addVault(program: Command, runner: Runner): void {
  const command = program.command('vault').description('List, prove and thin out the backups of a vault.');
  addList(command, runner);
  addArchives(command, runner);
  addStats(command, runner);
  addVaultVerify(command, runner);
  addForget(command, runner);
  addPrune(command, runner);
  addDiff(command, runner);
}

function sub(parent: Command, name: string, description: string, ...lines: string[]): Command {
  return parent
    .command(name)
    .description(description)
    .argument('<vault>', 'directory of the vault')
    .addOption(jsonOption())
    .addHelpText('after', examples(...lines));
}

function addList(parent: Command, runner: Runner): void {
  sub(parent, 'list', 'List backups, oldest first.', 'varve vault list /mnt/vault').action(
    (dir: string, options: Json) =>
      runner.run(options, async (session) => {
        const vault = await vaultIn(dir, { readOnly: true });
        await printBackups(session, 'backup', await vault.list());
        return exitCodes.done;
      }),
  );
}

async function printBackups(session: Session, type: string, infos: readonly BackupInfo[]): Promise<void> {
  if (session.json) {
    for (const info of infos) await session.out.json({ type, ...info });
    return;
  }
  const head = ['id', 'begun', 'mode', 'keys', 'bytes', 'new', 'ratio', 'took', 'proved', 'label', 'tags'];
  const table = new Table(plainTable(session.paint, head));
  for (const info of infos) {
    const { id, time, mode, keys, logicalBytes, newBytes, ratio, ms, proof, label, tags, damagedKeys } = info;
    table.push([
      id.slice(0, 12),
      time.toISOString(),
      damagedKeys > 0 ? `${mode}, incomplete` : mode,
      countText(keys),
      sizeText(logicalBytes),
      sizeText(newBytes),
      newBytes === 0 ? '' : ratio.toFixed(1),
      `${(ms / 1000).toFixed(1)} s`,
      proof === undefined ? 'no' : 'yes',
      plainText(label ?? ''),
      tags.map(plainText).join(' '),
    ]);
  }
  await session.out.line(table.toString());
}

function addArchives(parent: Command, runner: Runner): void {
  sub(
    parent,
    'archives',
    'List archived logs: up to when moments can be restored.',
    'varve vault archives /mnt/vault',
  ).action((dir: string, options: Json) =>
    runner.run(options, async (session) => {
      const infos = await (await vaultIn(dir, { readOnly: true })).archives();
      if (session.json) {
        for (const info of infos) await session.out.json({ type: 'archived-log', ...info });
        return exitCodes.done;
      }
      const table = new Table(
        plainTable(session.paint, ['store', 'timeline', 'commits', 'objects', 'any moment up to']),
      );
      for (const { store, timelineId, spans, objects, until } of infos) {
        const commits = spans.map(({ firstSeq, lastSeq }) => `${firstSeq}-${lastSeq}`).join(', ');
        table.push([store.slice(0, 12), timelineId, commits, countText(objects), until?.toISOString() ?? '']);
      }
      await session.out.line(table.toString());
      return exitCodes.done;
    }),
  );
}

function addStats(parent: Command, runner: Runner): void {
  sub(parent, 'stats', 'Show what a vault holds and takes.', 'varve vault stats /mnt/vault').action(
    (dir: string, options: Json) =>
      runner.run(options, async (session) => {
        const stats = await (await vaultIn(dir, { readOnly: true })).stats();
        if (session.json) {
          await session.out.json({ type: 'vault', ...stats });
          return exitCodes.done;
        }
        const table = new Table(plainTable(session.paint));
        table.push(
          ['backups', countText(stats.backups)],
          ['packs', `${countText(stats.packs)} (${sizeText(stats.packBytes)})`],
          ['waiting to be deleted', plural(stats.pendingPacks, 'pack')],
          ['chunks', countText(stats.chunks)],
          ['index', `${sizeText(stats.indexBytes)} in ${plural(stats.indexObjects, 'object')}`],
          ['runs that did not end', countText(stats.unfinished)],
          [
            'all backups together',
            `${sizeText(stats.logicalBytes)}, ${stats.ratio.toFixed(2)} times the packs`,
          ],
        );
        await session.out.line(table.toString());
        return exitCodes.done;
      }),
  );
}

interface ForgetArguments extends Json, KeepOptions {
  dryRun?: boolean;
  timeZone: string;
  prune?: boolean;
}

function addForget(parent: Command, runner: Runner): void {
  const command = sub(
    parent,
    'forget',
    'Remove backups that no rule keeps. The newest proved one always stays.',
    'varve vault forget /mnt/vault --keep-daily 7 --keep-weekly 5 --keep-monthly 12 --dry-run',
  );
  withKeepOptions(command)
    .option('--time-zone <name>', 'where days begin', 'UTC')
    .option('-n, --dry-run', 'say what would go, remove nothing')
    .option('--prune', 'prune afterwards')
    .action((dir: string, options: ForgetArguments) =>
      runner.run(options, async (session) => {
        const vault = await vaultIn(dir);
        const keep = keepRulesOf(options);
        const dryRun = options.dryRun === true;
        const { removed, kept } = await vault.forget({ keep, dryRun, timeZone: options.timeZone });
        await printBackups(session, 'forgotten', removed);
        if (!session.json) {
          const verb = dryRun ? 'would be removed' : 'removed';
          await session.out.line(
            `${plural(removed.length, 'backup')} ${verb}, ${plural(kept.length, 'backup')} kept`,
          );
        }
        if (options.prune !== true) return exitCodes.done;
        return await prune(session, vault, { dryRun });
      }),
    );
}

interface PruneArguments extends Json {
  dryRun?: boolean;
  breakLock?: boolean;
  /** Percent. */
  repackBelow?: number;
}

function addPrune(parent: Command, runner: Runner): void {
  sub(parent, 'prune', 'Delete what no backup needs any more.', 'varve vault prune /mnt/vault --dry-run')
    .option('-n, --dry-run', 'say what would go, delete nothing')
    .option('--repack-below <percent>', 'rewrite packs of which less than this is needed', percent)
    .option('--break-lock', 'remove the lock of a prune that is surely dead')
    .action((dir: string, options: PruneArguments) =>
      runner.run(options, async (session) => {
        const { dryRun = false, breakLock = false, repackBelow = 0 } = options;
        const vault = await vaultIn(dir);
        return await prune(session, vault, { dryRun, breakLock, repackBelow: repackBelow / 100 });
      }),
    );
}

async function prune(
  session: Session,
  vault: Vault,
  options: { dryRun: boolean; breakLock?: boolean; repackBelow?: number },
): Promise<number> {
  const report = await withProgress(session, (onProgress) =>
    vault.prune({ ...options, onProgress, signal: session.io.signal }),
  );
  if (session.json) await session.out.json({ type: 'prune', ...report });
  else {
    const { repackedPacks, repackedBytes } = report;
    if (repackedPacks > 0) {
      const verb = options.dryRun ? 'would be rewritten' : 'rewritten';
      await session.out.line(`${plural(repackedPacks, 'pack')} ${verb} as ${sizeText(repackedBytes)}`);
    }
    const { markedPacks, markedBytes, deletedPacks, deletedBytes, keptPacks, keptBytes } = report;
    const gone = options.dryRun
      ? `${plural(markedPacks + deletedPacks, 'pack')} (${sizeText(markedBytes + deletedBytes)}) would go`
      : `${plural(deletedPacks, 'pack')} (${sizeText(deletedBytes)}) deleted`;
    await session.out.line(`${gone}, ${plural(keptPacks, 'pack')} (${sizeText(keptBytes)}) kept`);
  }
  return exitCodes.done;
}

function addDiff(parent: Command, runner: Runner): void {
  parent
    .command('diff')
    .description('List the keys that differ between two backups.')
    .argument('<vault>', 'directory of the vault')
    .argument('<a>', 'id of a backup, or the beginning of one')
    .argument('<b>', "another one; 'latest' is the newest")
    .addOption(jsonOption())
    .addHelpText('after', examples('varve vault diff /mnt/vault 3fa4 latest'))
    .action((dir: string, a: string, b: string, options: Json) =>
      runner.run(options, async (session) => {
        const vault = await vaultIn(dir, { readOnly: true });
        for await (const { key, space, change, before, after } of vault.diff(a, b)) {
          if (session.out.closed) break;
          const named = typeof key === 'string' ? { key } : { keyHex: toHex(key) };
          if (session.json)
            await session.out.json({ type: 'difference', ...named, space, change, before, after });
          else {
            const sign = { added: '+', removed: '-', changed: '~' }[change];
            const text = keyText(typeof key === 'string' ? encodeUtf8(key) : key);
            const where = space === undefined ? '' : `[${plainText(space)}] `;
            await session.out.line(`${sign} ${where}${text} ${sizeText(after ?? before ?? 0)}`);
          }
        }
        return exitCodes.done;
      }),
    );
}

async function withProgress<T>(
  session: Session,
  task: (onProgress: NonNullable<VerifyVaultOptions['onProgress']>) => Promise<T>,
): Promise<T> {
  const view = await progressView(session.io, session.json);
  try {
    return await task(({ phase, done, total, bytesPerSecond }) =>
      view.update({ phase, done, total, unit: 'files', bytesPerSecond, files: done }),
    );
  } finally {
    view.stop();
  }
}
