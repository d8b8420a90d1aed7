/** varve archive: the log of a store into a vault, so that any moment can be restored. */
import type { Command } from 'commander';
import type { ArchiveReport } from '../../index.ts';
import { exitCodes } from '../exit-codes.ts';
import { loadVarve } from '../load.ts';
import { examples, jsonOption, wholeNumber } from '../options.ts';
import { type Runner, type Session, wasAborted, writeStore } from '../session.ts';
import { plainText, plural, sizeText } from '../text.ts';

interface Options {
  json?: boolean;
  every?: number;
  limit?: number;
}

export function addArchive(program: Command, runner: Runner): void {
  program
    .command('archive')
    .description('Keep the log of a store in a vault that has a backup of it: any moment can be restored.')
    .argument('<store>', 'directory of the store')
    .argument('<vault>', 'directory of the vault')
    .option('--every <seconds>', 'go on until it is ended, with a round every so many seconds', wholeNumber)
    .option('--limit <bytes>', 'send at most so many bytes a second', wholeNumber)
    .addOption(jsonOption())
    .addHelpText(
      'after',
      `
The store is open for writing meanwhile. A service that has it open calls engine.archive(), or runs
schedules with an archive. What is overwritten between two calls may be gone before it is archived; with
--every it is not. Exit code 4 when values were gone: each is named on stderr.
${examples('varve archive ./data /mnt/vault', 'varve archive ./data /mnt/vault --every 60')}`,
    )
    .action((store: string, vault: string, options: Options) =>
      runner.run(options, (session) =>
        writeStore(session, store, false, async (engine) => {
          const { openVault } = await loadVarve();
          const { every, limit } = options;
          const { signal } = session.io;
          const lines: Promise<void>[] = [];
          let whole = true;
          try {
            await engine.archive(await openVault(vault), {
              signal,
              ...(every === undefined ? {} : { everyMs: every * 1000 }),
              ...(limit === undefined ? {} : { bytesPerSecond: limit }),
              onRound: (report) => {
                whole &&= report.ok;
                // A round without news is told only where it is the only one.
                if (every === undefined || report.objects > 0 || !report.ok)
                  lines.push(tell(session, report));
              },
            });
          } catch (error) {
            if (every === undefined || !wasAborted(error, signal)) throw error;
          } finally {
            await Promise.all(lines);
          }
          return whole ? exitCodes.done : exitCodes.corrupt;
        }),
      ),
    );
}

async function tell(session: Session, report: ArchiveReport): Promise<void> {
  if (session.json) await session.out.json({ type: 'archive', ...report });
  else {
    const { from, to, until, objects, bytes, newBytes, gap, damage } = report;
    for (const { message, keys } of damage) {
      const what = plainText(keys?.join(', ') ?? message);
      await session.err.line(`varve: gone before it was archived: ${what}`);
    }
    const missing = gap === undefined ? '' : `, commits ${gap.from} to ${gap.to} missing`;
    const moments = until === undefined ? '' : `; any moment up to ${until.toISOString()}`;
    const size = `new ${sizeText(bytes + newBytes)} (${plural(objects, 'log object')})`;
    const news = objects === 0 ? 'nothing new' : `commits ${from + 1} to ${to} archived, ${size}`;
    await session.out.line(`${news}${missing}${moments}`);
  }
  await session.out.flush();
}
