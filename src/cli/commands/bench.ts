/** varve bench: how fast Varve is on this machine and disk, beside what they can do at most. */
import Table from 'cli-table3';
import { type Command, InvalidArgumentError } from 'commander';
import type { ChunkingOptions } from '../../index.ts';
import type { BenchResult } from '../bench/phases.ts';
import { type BenchReport, runBench } from '../bench/run-bench.ts';
import { exitCodes } from '../exit-codes.ts';
import { loadVarve } from '../load.ts';
import { examples, jsonOption } from '../options.ts';
import { progressView } from '../progress.ts';
import type { Runner, Session } from '../session.ts';
import { plainTable } from '../table.ts';
import { countText, sizeText } from '../text.ts';

interface Options {
  json?: boolean;
  seconds: number;
}

export function addBench(program: Command, runner: Runner): void {
  program
    .command('bench')
    .description('Measure ingest, reading and commits on the disk of a store, beside what the disk can do.')
    .argument('<store>', 'a store, whose chunk sizes are taken, or a directory on the disk to measure')
    .option('--seconds <n>', 'roughly how long it may take', secondsOf, 20)
    .addOption(jsonOption())
    .addHelpText(
      'after',
      `
Works in a new directory below the one given, which it removes; of the store only the chunk sizes are asked.
${examples('varve bench ./data', 'varve bench /mnt/disk --seconds 60 --json')}`,
    )
    .action((store: string, options: Options) =>
      runner.run(options, (session) => bench(session, store, options)),
    );
}

function secondsOf(text: string): number {
  const value = Number(text);
  if (!(value > 0 && value <= 3600)) throw new InvalidArgumentError('Give seconds, up to 3600.');
  return value;
}

async function bench(session: Session, dir: string, { seconds }: Options): Promise<number> {
  const chunking = await chunkingOf(dir);
  const view = await progressView(session.io, session.json);
  let report: BenchReport;
  try {
    report = await runBench({
      dir,
      seconds,
      chunking,
      signal: session.io.signal,
      onStep: (phase, done, total) =>
        view.update({ phase, done, total, unit: 'steps', bytesPerSecond: 0, files: 0 }),
    });
  } finally {
    view.stop();
  }
  if (session.json) await session.out.json({ type: 'bench', ok: true, dir, ...report });
  else await print(session, report);
  return exitCodes.done;
}

/** Of the store in `dir`; the default where there is none. */
async function chunkingOf(dir: string): Promise<ChunkingOptions> {
  const { isVarveError, openEngine } = await loadVarve();
  try {
    const engine = await openEngine(dir, { readOnly: true });
    const { algorithm, min, avg, max } = engine.stats().chunking;
    await engine.close();
    return { algorithm, min, avg, max };
  } catch (error) {
    if (isVarveError(error, 'VARVE_NOT_FOUND')) return {};
    throw error;
  }
}

async function print({ out, paint }: Session, report: BenchReport): Promise<void> {
  const { results, bytes, cores, chunking, seconds } = report;
  const heads = ['', 'varve', 'limit', '', 'share'];
  const table = new Table({
    ...plainTable(paint, heads),
    colAligns: ['left', 'right', 'left', 'right', 'right'],
  });
  for (const one of results) {
    const share = one.share < 0.001 ? '< 0.1 %' : `${(100 * one.share).toFixed(one.share < 0.1 ? 1 : 0)} %`;
    table.push([
      one.name,
      rateText(one.value, one.unit),
      one.limit,
      rateText(one.limitValue, one.unit),
      share,
    ]);
  }
  const { algorithm, avg } = chunking;
  const cut = `${algorithm} at ${sizeText(avg)}`;
  await out.line(`${sizeText(bytes)} of random data, ${cut}, ${cores} cores, ${seconds.toFixed(0)} s`);
  await out.line(table.toString());
}

function rateText(value: number, unit: BenchResult['unit']): string {
  return unit === 'bytes' ? `${sizeText(value)}/s` : `${countText(Math.round(value))}/s`;
}
