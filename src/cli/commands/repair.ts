/** varve repair: mends a damaged store. */
import type { Command } from 'commander';
import type { RepairReport } from '../../index.ts';
import { exitCodes } from '../exit-codes.ts';
import { loadVarve } from '../load.ts';
import { examples, jsonOption } from '../options.ts';
import { progressView } from '../progress.ts';
import type { Runner, Session } from '../session.ts';
import { countText, plainText, plural, sizeText } from '../text.ts';

interface Options {
  readonly json?: boolean;
  readonly dryRun?: boolean;
  readonly vault?: string;
}

export function addRepair(program: Command, runner: Runner): void {
  program
    .command('repair')
    .description('Mend a damaged store from what is whole; damaged files go to quarantine/.')
    .argument('<store>', 'directory of the store')
    .option('--dry-run', 'say what would be done and what is lost, and change nothing')
    .option('--vault <dir>', 'look for lost chunks in this vault')
    .addOption(jsonOption())
    .addHelpText(
      'after',
      `
Nobody may have the store open. Copy the directory first where there is room for it. Nothing is deleted.
Exit code 4 when something is lost.
${examples('varve repair ./data --dry-run', 'varve repair ./data --vault /backup/vault')}`,
    )
    .action((store: string, options: Options) =>
      runner.run(options, (session) => mend(session, store, options)),
    );
}

async function mend(session: Session, store: string, options: Options): Promise<number> {
  const dryRun = options.dryRun === true;
  const view = await progressView(session.io, session.json);
  let report: RepairReport;
  try {
    const { repair, openVault } = await loadVarve();
    const vault = options.vault === undefined ? undefined : await openVault(options.vault);
    report = await repair(store, {
      dryRun,
      ...(vault === undefined ? {} : { vault }),
      onProgress: ({ phase, done, total, unit, bytesPerSecond }) =>
        view.update({
          phase,
          done,
          total,
          unit: unit === 'rows' ? 'keys' : unit,
          bytesPerSecond,
          files: 0,
        }),
      signal: session.io.signal,
    });
  } finally {
    view.stop();
  }
  if (session.json) await session.out.json({ type: 'repair', ...report });
  else await printReport(session, report);
  return report.ok ? exitCodes.done : exitCodes.corrupt;
}

const shownMax = 50;

async function printReport({ out, paint }: Session, report: RepairReport): Promise<void> {
  const { actions, lost, quarantined, kept, dryRun, ok, damage, ms } = report;
  const list = async (title: string, lines: readonly string[]): Promise<void> => {
    if (lines.length === 0) return;
    await out.line(paint('bold', title));
    for (const line of lines.slice(0, shownMax)) await out.line(`  ${plainText(line)}`);
    if (lines.length > shownMax) await out.line(`  and ${plural(lines.length - shownMax, 'more', 'more')}`);
  };
  await list(
    'damaged',
    damage.map(({ message }) => message),
  );
  await list(dryRun ? 'would be done' : 'done', actions);
  await list('lost', lossLines(lost));
  if (quarantined.length > 0) {
    const what = plural(quarantined.length, 'file');
    await out.line(`${dryRun ? 'would be moved' : 'moved'} to quarantine/: ${what}`);
  }
  const state = ok ? paint('green', 'nothing is lost') : paint('red', 'something is lost');
  const amount = `${countText(kept.keys)} keys, ${sizeText(kept.bytes)} kept`;
  const nothing = actions.length === 0 ? 'nothing to repair; ' : '';
  await out.line(`${nothing}${state}: ${amount}, in ${(ms / 1000).toFixed(1)} s`);
}

function lossLines({
  keys,
  moreKeys,
  versions,
  chunks,
  keyRanges,
  sequences,
  other,
}: RepairReport['lost']): string[] {
  const lines = keys.map((key) => `value of ${key}`);
  if (moreKeys > 0) lines.push(`values of ${plural(moreKeys, 'more key')}`);
  if (versions > 0) lines.push(plural(versions, 'older version'));
  if (chunks > 0) lines.push(plural(chunks, 'chunk'));
  for (const { from, to } of keyRanges) lines.push(`changes of keys from ${from} to ${to}`);
  for (const { from, to } of sequences) lines.push(`commits ${from} to ${to ?? 'the end of the log'}`);
  return [...lines, ...other];
}
