/** varve scrub: checks what was not checked for longest, and remembers it. */
import { type Command, Option } from 'commander';
import type { ScrubReport, VerifyLevel } from '../../index.ts';
import { exitCodes } from '../exit-codes.ts';
import { days, examples, jsonOption, percent, wholeNumber } from '../options.ts';
import { progressView } from '../progress.ts';
import { type Runner, type Session, writeStore } from '../session.ts';
import { printVerified } from './verify.ts';

interface ScrubArguments {
  json?: boolean;
  level: VerifyLevel;
  olderThanDays: number;
  sample: number;
  cpu: number;
  maxSeconds?: number;
}

export function addScrub(program: Command, runner: Runner): void {
  program
    .command('scrub')
    .description('Check the files that were not checked for longest, and remember which were sound.')
    .argument('<store>', 'directory of the store')
    .addOption(
      new Option('--level <level>', 'index: tables and log; chunks: and all chunk frames; full: and SHA-256')
        .choices(['index', 'chunks', 'full'])
        .default('full'),
    )
    .option('--older-than-days <n>', 'leave out what was checked within so many days', days, 0)
    .option('--sample <percent>', 'check so many of 100 files', percent, 100)
    .option('--cpu <percent>', 'work so much of the time', percent, 100)
    .option('--max-seconds <n>', 'stop after so long; another scrub goes on', wholeNumber)
    .addOption(jsonOption())
    .addHelpText(
      'after',
      `
Nobody else may have the store open for writing: a program that has scrubs by itself (option scrub). Writes
nothing but the file checks. Exit code 4 when anything is damaged.
${examples('varve scrub ./data --older-than-days 7 --max-seconds 600', 'varve scrub ./data --sample 10')}`,
    )
    .action((store: string, options: ScrubArguments) =>
      runner.run(options, (session) => scrub(session, store, options)),
    );
}

async function scrub(session: Session, store: string, options: ScrubArguments): Promise<number> {
  const { level, olderThanDays, sample, cpu, maxSeconds } = options;
  return await writeStore(session, store, false, async (engine) => {
    const view = await progressView(session.io, session.json);
    let report: ScrubReport;
    try {
      report = await engine.scrub({
        level,
        olderThanMs: olderThanDays * 86_400_000,
        sample: sample / 100,
        share: cpu / 100,
        ...(maxSeconds === undefined ? {} : { maxMs: maxSeconds * 1000 }),
        onProgress: (progress) => view.update({ ...progress, files: 0 }),
        signal: session.io.signal,
      });
    } finally {
      view.stop();
    }
    const { cursor: _cursor, checkedSince, ...rest } = report;
    const since = checkedSince === undefined ? {} : { checkedSince: checkedSince.toISOString() };
    if (session.json) await session.out.json({ type: 'scrub', ...rest, ...since });
    else {
      await printVerified(session, rest);
      const { skipped } = rest.checked;
      if (skipped > 0)
        await session.out.line(`left out: ${skipped} that were checked before, or are not of the sample`);
      if (!rest.done) await session.out.line('not finished: another scrub goes on');
      else if (checkedSince !== undefined)
        await session.out.line(`every file was checked since ${checkedSince.toISOString()}`);
    }
    return report.ok ? exitCodes.done : exitCodes.corrupt;
  });
}
