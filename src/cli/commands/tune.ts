/** varve tune: which chunk sizes fit some files, as a table, JSON or a page with plots. */
import { writeFile } from 'node:fs/promises';
import Table from 'cli-table3';
import { type Command, InvalidArgumentError, Option } from 'commander';
import type { TuneReport } from '../../index.ts';
import { reportHtml } from '../../tune/report-html.ts';
import { sizeName } from '../../tune/size-name.ts';
import { exitCodes } from '../exit-codes.ts';
import { loadVarve } from '../load.ts';
import { examples, jsonOption, wholeNumber } from '../options.ts';
import { progressView } from '../progress.ts';
import type { Runner, Session } from '../session.ts';
import { plainTable } from '../table.ts';
import { countText, plainText, plural, sizeText } from '../text.ts';

interface TuneArguments {
  json?: boolean;
  sizes?: number[];
  algorithm?: 'fastcdc' | 'sieve';
  sample?: number;
  versions?: boolean;
  compress: boolean;
  seed: number;
  html?: string;
}

export function addTune(program: Command, runner: Runner): void {
  program
    .command('tune')
    .description('Measure which chunk sizes fit your files, and say why. Stores nothing.')
    .argument('<path...>', 'files and directories')
    .option('--sizes <list>', 'mean sizes, as 4k,16k,64k', sizeList)
    .addOption(new Option('--algorithm <name>', 'only this one').choices(['fastcdc', 'sieve']))
    .option('--sample <size>', 'measure at most so much of each version, as 512m or all', sampleSize)
    .option('--versions', 'the paths are versions of one thing, oldest first')
    .option('--no-compress', 'do not compress the chunks')
    .option('--seed <n>', 'of the sample and the edits', wholeNumber, 1)
    .option('--html <file>', 'also write a page with plots')
    .addOption(jsonOption())
    .addHelpText(
      'after',
      examples(
        'varve tune ~/backups/monday.tar ~/backups/tuesday.tar --versions --html tune.html',
        'varve tune ./photos --sizes 16k,64k,256k --sample all',
      ),
    )
    .action((paths: string[], options: TuneArguments) =>
      runner.run(options, (session) => run(session, paths, options)),
    );
}

async function run(session: Session, paths: string[], options: TuneArguments): Promise<number> {
  const { sizes, algorithm, sample, versions = false, compress, seed, html } = options;
  const view = await progressView(session.io, session.json);
  let report: TuneReport;
  try {
    const { tune } = await loadVarve();
    report = await tune(paths, {
      ...(sizes === undefined ? {} : { sizes }),
      ...(algorithm === undefined ? {} : { algorithms: [algorithm] }),
      ...(sample === undefined ? {} : { sampleBytes: sample }),
      versions,
      compress,
      seed,
      signal: session.io.signal,
      onProgress: ({ phase, done, total, unit, bytesPerSecond }) => {
        if (unit === 'bytes') view.update({ phase, done, total, unit, bytesPerSecond, files: 0 });
      },
    });
  } finally {
    view.stop();
  }
  if (html !== undefined) await writeFile(html, reportHtml(report, 'Chunk sizes for your data'));
  if (session.json) await session.out.json({ type: 'tune', ...report });
  else await print(session, report, html);
  return exitCodes.done;
}

async function print({ out, paint }: Session, report: TuneReport, html?: string): Promise<void> {
  const { results, recommended, files, logicalBytes, sampled } = report;
  const codecs = results[0]!.compressed.map(({ codec }) => codec);
  const heads = ['chunks', 'dedup', ...codecs, 'stored', 'new chunks', 'per edit', 'memory/TB', 'cut+hash'];
  const table = new Table({
    ...plainTable(paint, heads),
    colAligns: ['left', ...heads.slice(1).map(() => 'right' as const)],
  });
  for (const one of results) {
    const chosen = one.algorithm === recommended.algorithm && one.avg === recommended.avg;
    const name = `${chosen ? '*' : ' '} ${one.algorithm} ${sizeName(one.avg)}`;
    table.push([
      chosen ? paint('green', name) : name,
      one.dedupRatio.toFixed(3),
      ...one.compressed.map(({ ratio }) => ratio.toFixed(2)),
      sizeText(one.storedBytes),
      countText(one.uniqueChunks),
      one.bytesPerEdit === undefined ? '' : sizeText(Math.round(one.bytesPerEdit)),
      sizeText(one.memoryPerTB),
      `${sizeText(one.hashedRate)}/s`,
    ]);
  }
  const part = sampled < 1 ? `, ${(100 * sampled).toFixed(1)} % of what was given` : '';
  await out.line(`${plural(files, 'file')}, ${sizeText(logicalBytes)}${part}`);
  await out.line(table.toString());
  await out.line('');
  await out.line(recommended.reason);
  await out.line(paint('bold', recommended.option));
  if (html !== undefined) await out.line(`plots: ${plainText(html)}`);
}

const units: Readonly<Record<string, number>> = { '': 1, k: 1024, m: 1024 ** 2, g: 1024 ** 3 };

function sizeOf(text: string): number {
  const match = /^(\d+)([kmg]?)$/i.exec(text.trim());
  const size = match === null ? 0 : Number(match[1]) * units[match[2]!.toLowerCase()]!;
  if (!Number.isSafeInteger(size) || size === 0)
    throw new InvalidArgumentError('A size is like 4096, 16k or 1m.');
  return size;
}

function sizeList(text: string): number[] {
  return text.split(',').map(sizeOf);
}

function sampleSize(text: string): number {
  return text === 'all' ? Number.POSITIVE_INFINITY : sizeOf(text);
}
