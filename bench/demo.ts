/**
 * The main job, on real data: `npm start [-- DIR]` stores a directory tree, stores a slightly changed copy
 * beside it, writes both back and compares every byte. Nothing is canned; it ends with 1 when anything
 * differs.
 */
import { join, resolve } from 'node:path';
import process from 'node:process';
import Table from 'cli-table3';
import { Command, CommanderError } from 'commander';
import { exitCodeOf, exitCodes } from '../src/cli/exit-codes.ts';
import type { CliIo } from '../src/cli/io.ts';
import { isTerminal, painter } from '../src/cli/io.ts';
import { lineView, type OnProgress, type ProgressView, progressView } from '../src/cli/progress.ts';
import { countText, errorText, keyText, plural, sizeText } from '../src/cli/text.ts';
import { exportTree } from '../src/cli/tree/export-tree.ts';
import { type ImportReport, importTree } from '../src/cli/tree/import-tree.ts';
import { type FileIdentity, identityAt, measureTree, requireDirectory } from '../src/cli/tree/walk.ts';
import { type Engine, openEngine } from '../src/index.ts';
import { type Comparison, compareTrees } from './demo/compare-trees.ts';
import { type CopyReport, copyChanged } from './demo/copy-tree.ts';
import { freeBytes, makeWorkplace, removeTree } from './demo/workplace.ts';

interface Options {
  keep?: boolean;
  seed: string;
  work?: string;
}

/** What is shown of one version. */
interface Version {
  readonly name: string;
  readonly source: string;
  readonly report: ImportReport;
  /** Growth of the store on disk. */
  readonly grown: number;
  readonly peakBytes: number;
  exportRate: number;
  comparison: Comparison | undefined;
}

const controller = new AbortController();
process.on('SIGINT', () => {
  if (controller.signal.aborted) process.exit(exitCodes.interrupted);
  controller.abort('SIGINT');
});

const io: CliIo = {
  stdin: process.stdin,
  stdout: process.stdout,
  stderr: process.stderr,
  env: process.env,
  signal: controller.signal,
};
const paint = painter(process.stdout, process.env);
const say = (text = ''): void => {
  process.stdout.write(`${text}\n`);
};

async function main(): Promise<number> {
  const program = new Command('npm start --')
    .description('Store a directory tree and a changed copy, write both back, compare every byte.')
    .argument('[dir]', 'the tree to store', 'node_modules')
    .option('--keep', 'keep the store and both restored trees to look at')
    .option('--seed <n>', 'which files of the copy are changed, and how', '1')
    .option('--work <dir>', 'where to work instead of the directory for temporary files')
    .exitOverride();
  try {
    program.parse();
    return await run(resolve(program.args[0] ?? 'node_modules'), program.opts<Options>());
  } catch (error) {
    if (error instanceof CommanderError) return error.exitCode === 0 ? exitCodes.done : exitCodes.usage;
    if (controller.signal.aborted) {
      process.stderr.write('interrupted\n');
      return exitCodes.interrupted;
    }
    process.stderr.write(`demo: ${errorText(error)}\n`);
    return exitCodeOf(error);
  }
}

async function run(dir: string, options: Options): Promise<number> {
  await requireDirectory(dir);
  const work = await makeWorkplace(options.work);
  let keep = false;
  try {
    const demo = new Demo(dir, work, options, (await identityAt(work))!);
    const same = await demo.run();
    keep = options.keep === true;
    return same ? exitCodes.done : exitCodes.failed;
  } finally {
    if (!keep) await removeTree(work);
  }
}

class Demo {
  readonly #dir: string;
  readonly #work: string;
  readonly #options: Options;
  /** A tree that holds the workplace must not store itself. */
  readonly #exclude: FileIdentity;
  readonly #store: string;
  #total = 0;

  constructor(dir: string, work: string, options: Options, exclude: FileIdentity) {
    this.#dir = dir;
    this.#work = work;
    this.#options = options;
    this.#exclude = exclude;
    this.#store = join(work, 'store');
  }

  async run(): Promise<boolean> {
    const { signal } = controller;
    const measured = await measureTree(this.#dir, { exclude: this.#exclude, signal });
    this.#total = measured.bytes;
    say(paint('bold', `varve: two versions of ${this.#dir}`));
    say(`${plural(measured.files, 'file')}, ${sizeText(measured.bytes)}; working in ${this.#work}`);
    await this.#requireRoom();
    const versions: Version[] = [];
    const engine = await openEngine(this.#store, { keyEncoding: 'bytes' });
    let copied: CopyReport;
    const copy = join(this.#work, 'copy');
    try {
      versions.push(await this.#import(engine, 'v1', this.#dir));
      copied = await this.#shown((onProgress) =>
        copyChanged(this.#dir, copy, Number(this.#options.seed), {
          exclude: this.#exclude,
          signal,
          total: this.#total,
          onProgress,
        }),
      );
      versions.push(await this.#import(engine, 'v2', copy));
    } finally {
      await engine.close();
    }
    const disk = await this.#verify(versions);
    this.#print(versions, copied, disk);
    return versions.every((version) => version.comparison?.differences === 0);
  }

  /** The copy, the store and one restored tree at a time (both with --keep). */
  async #requireRoom(): Promise<void> {
    const needed = this.#total * (this.#options.keep === true ? 4 : 3);
    const free = await freeBytes(this.#work);
    if (free < needed)
      throw new Error(
        `${this.#work} has ${sizeText(free)} free, ${sizeText(needed)} may be needed; see --work`,
      );
  }

  async #import(engine: Engine, name: string, source: string): Promise<Version> {
    const before = engine.stats().disk.totalBytes;
    const report = await this.#shown((onProgress) =>
      importTree(engine, source, {
        prefix: Buffer.from(`${name}/`),
        exclude: this.#exclude,
        measure: true,
        signal: controller.signal,
        onProgress: (progress) => onProgress({ ...progress, phase: `${name} ${progress.phase}` }),
      }),
    );
    await engine.flush();
    const grown = engine.stats().disk.totalBytes - before;
    return { name, source, report, grown, peakBytes: peakBytes(), exportRate: 0, comparison: undefined };
  }

  /** Exports and compares every version through a fresh read-only opening; the store's bytes on disk. */
  async #verify(versions: Version[]): Promise<number> {
    const engine = await openEngine(this.#store, { readOnly: true, keyEncoding: 'bytes' });
    try {
      for (const version of versions) {
        const out = join(this.#work, `restored-${version.name}`);
        const exported = await this.#shown((onProgress) =>
          exportTree(engine, out, {
            prefix: Buffer.from(`${version.name}/`),
            signal: controller.signal,
            onProgress: (progress) =>
              onProgress({ ...progress, total: version.report.bytes, phase: `${version.name} export` }),
          }),
        );
        version.exportRate = exported.bytes / exported.seconds;
        const failed = new Set(version.report.failed.map(({ path }) => keyText(path)));
        version.comparison = await this.#shown((onProgress) =>
          compareTrees(version.source, out, {
            exclude: this.#exclude,
            signal: controller.signal,
            total: version.report.bytes,
            isExcused: (key) => failed.has(keyText(key)),
            onProgress: (progress) => onProgress({ ...progress, phase: `${version.name} compare` }),
          }),
        );
        for (const { path, reason } of exported.failed.slice(0, 20))
          say(paint('red', `${version.name}: ${keyText(path)} was not written: ${reason}`));
        if (this.#options.keep !== true) await removeTree(out);
      }
      return engine.stats().disk.totalBytes;
    } finally {
      await engine.close();
    }
  }

  /** Shows progress while `work` runs: a bar on a terminal, a line every two seconds elsewhere. */
  async #shown<T>(work: (onProgress: OnProgress) => Promise<T>): Promise<T> {
    const view: ProgressView = isTerminal(process.stderr)
      ? await progressView(io, false)
      : lineView((line) => process.stderr.write(`  ${line}\n`), 2000);
    try {
      return await work(view.update);
    } finally {
      view.stop();
    }
  }

  #print(versions: readonly Version[], copied: CopyReport, disk: number): void {
    const table = new Table({
      head: ['', ...versions.map(({ name }) => paint('bold', name))],
      style: { head: [], border: [] },
      colAligns: ['left', ...versions.map(() => 'right' as const)],
    });
    const row = (name: string, show: (version: Version) => string): void => {
      table.push([name, ...versions.map(show)]);
    };
    row('files', ({ report }) => countText(report.files));
    row('directories, links', ({ report }) => `${countText(report.directories)}, ${countText(report.links)}`);
    row('bytes', ({ report }) => sizeText(report.bytes));
    row('new chunks stored', ({ report }) => sizeText(report.newBytes));
    row('store grew by', ({ grown }) => sizeText(grown));
    row(
      'bytes per byte stored',
      ({ report, grown }) => `${(report.bytes / Math.max(1, grown)).toFixed(2)} : 1`,
    );
    row('import', ({ report }) => `${sizeText(report.bytes / report.seconds)}/s`);
    row('export', ({ exportRate }) => `${sizeText(exportRate)}/s`);
    row('peak memory so far', (version) => sizeText(version.peakBytes));
    row('written back', ({ comparison }) => verdict(comparison!));
    say();
    say(table.toString());
    this.#printSummary(versions, copied, disk);
  }

  #printSummary(versions: readonly Version[], copied: CopyReport, disk: number): void {
    const { edited, added, removed, left } = copied;
    say(`v2 is v1 with ${plural(edited, 'file')} edited, ${added} added, ${removed} removed.`);
    if (left > 0)
      say(`${plural(left, 'entry', 'entries')} could not be copied (pipes, sockets, no permission).`);
    const bytes = versions.reduce((sum, { report }) => sum + report.bytes, 0);
    say(`Both versions, ${sizeText(bytes)}, take ${sizeText(disk)} on disk.`);
    say(`Peak memory ${sizeText(peakBytes())}.`);
    for (const { name, report, comparison } of versions) {
      for (const { path, reason } of report.failed.slice(0, 20))
        say(paint('yellow', `${name}: ${keyText(path)} was not stored: ${reason}`));
      for (const example of comparison!.examples) say(paint('red', `${name}: ${example}`));
    }
    if (versions.some(({ comparison }) => comparison!.differences > 0))
      say('If the tree is in use, a difference may be a change made during the run.');
    say();
    this.#printNext();
  }

  #printNext(): void {
    const varve = 'node dist/lib/main.js';
    if (this.#options.keep === true) {
      say('What to try next:');
      say(`  ${varve} ls ${this.#store} --prefix v1/ --delimiter /`);
      say(`  ${varve} stats ${this.#store}`);
      say(`  ${varve} inspect ${this.#store}`);
      say(`  ${varve} export ${this.#store} ./restored --prefix v2/`);
      say(`  rm -r ${this.#work}     when you are done`);
      return;
    }
    say('What to try next:');
    say('  npm start -- ~/Pictures            your own data');
    say('  npm start -- --keep                keep the store to look at');
    say(`  ${varve} import ./my-store ~/notes && ${varve} ls ./my-store`);
  }
}

function verdict({ differences, entries }: Comparison): string {
  const good = `${countText(entries)} equal`;
  return differences === 0 ? paint('green', good) : paint('red', `${countText(differences)} DIFFER`);
}

function peakBytes(): number {
  return process.resourceUsage().maxRSS * 1024;
}

process.exitCode = await main();
