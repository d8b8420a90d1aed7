/** varve compact: free what nobody needs any more. */
import type { Command } from 'commander';
import type { CompactReport } from '../../index.ts';
import { exitCodes } from '../exit-codes.ts';
import { examples, jsonOption, percent, ratio, wholeNumber } from '../options.ts';
import { progressView } from '../progress.ts';
import { type Runner, type Session, warn, writeStore } from '../session.ts';
import { countText, plainText, plural, sizeText } from '../text.ts';

interface Options {
  readonly json?: boolean;
  readonly dryRun?: boolean;
  readonly cpu: number;
  readonly bytesPerSecond?: number;
  readonly maxBytes?: number;
  readonly amplification?: number;
}

export function addCompact(program: Command, runner: Runner): void {
  program
    .command('compact')
    .description('Free space: empty segments with garbage, merge tables, remove files.')
    .argument('<store>', 'directory of the store')
    .option('--dry-run', 'only say what would be freed')
    .option('--cpu <percent>', 'work so much of the time', percent, 100)
    .option('--bytes-per-second <n>', 'read and write no faster', wholeNumber)
    .option('--max-bytes <n>', 'begin no further segment once so much was copied', wholeNumber)
    .option('--amplification <n>', 'end once segments take n times what is live', ratio)
    .addOption(jsonOption())
    .addHelpText('after', examples('varve compact ./data', 'varve compact ./data --dry-run --json'))
    .action((store: string, options: Options) =>
      runner.run(options, (session) => compact(session, store, options)),
    );
}

async function compact(session: Session, store: string, options: Options): Promise<number> {
  const { bytesPerSecond, maxBytes, amplification } = options;
  return await writeStore(session, store, false, async (engine) => {
    const view = await progressView(session.io, session.json);
    let report: CompactReport;
    try {
      report = await engine.compact({
        dryRun: options.dryRun === true,
        share: options.cpu / 100,
        ...(bytesPerSecond === undefined ? {} : { bytesPerSecond }),
        ...(maxBytes === undefined ? {} : { maxBytes }),
        ...(amplification === undefined ? {} : { amplification }),
        signal: session.io.signal,
        onProgress: ({ phase, done, total, bytesPerSecond }) =>
          view.update({ phase, done, total, unit: 'bytes', bytesPerSecond, files: 0 }),
      });
    } finally {
      view.stop();
    }
    if (session.json) await session.out.json({ type: 'compact', ...report });
    else await print(session, report);
    for (const { message } of report.damage) await warn(session, plainText(message));
    return report.damage.length > 0 ? exitCodes.corrupt : exitCodes.done;
  });
}

async function print(session: Session, report: CompactReport): Promise<void> {
  const { dryRun, reclaimedBytes, removedSegments, copiedBytes, pinned } = report;
  const freed = sizeText(Math.max(0, reclaimedBytes));
  const segments = plural(removedSegments, 'segment');
  if (dryRun) {
    await session.out.line(
      `about ${freed} could be freed: ${segments} emptied, ${sizeText(copiedBytes)} copied`,
    );
  } else {
    await session.out.line(`freed ${freed}: ${segments} emptied, ${sizeText(copiedBytes)} copied`);
    const { before, after, merges } = report.tables;
    await session.out.line(
      `tables: ${countText(before)} before, ${countText(after)} after ${plural(merges, 'merge')}`,
    );
    await session.out.line(`chunk data and index: ${sizeText(report.bytesAfter)}`);
  }
  for (const { by, bytes } of pinned) await session.out.line(`kept by ${by}: ${sizeText(bytes)}`);
}
