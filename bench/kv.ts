/**
 * Varve beside lmdb, classic-level and better-sqlite3, on the same keys and values:
 *
 *     node dist/bench/kv.js [--rounds 3] [--quick] [--only get100,put,...] [--systems varve,lmdb,...]
 *                           [--install] [--out <directory>] [--dir <directory>] [--profile <directory>]
 *                           [--json] [--help]
 *
 * A process of its own for every system, round and group of rows; the systems alternate within a round, and
 * who begins changes from round to round. Only calls to the store are timed, and every answer is compared.
 * The peers are installed by `--install` into the cache directory of the benches, not into the project. All
 * systems run with their defaults but for durability: acknowledged means on disk in the `durable` rows,
 * handed to the kernel in the others (SQLite: WAL, FULL or NORMAL; lmdb: `flushed` awaited, or noSync;
 * LevelDB: sync on or off). Reads are from a store that was closed and opened again and lies in the page
 * cache.
 *
 * `--out` says where kv.svg is written (default: a directory of its own in the system's temporary one),
 * `--dir` where the stores are, `--profile` where CPU profiles of the processes go. Exit code 1 when a system
 * gave a wrong answer.
 */
import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, writeFileSync } from 'node:fs';
import { cpus, tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { installedVersion, installPeers, peerVersions } from './peers/install.ts';
import { systems } from './peers/systems.ts';
import { countOf, listOf, optionsOf } from './tools/command-line.ts';
import { plotOf } from './tools/kv-plot.ts';
import { loadAndDie, type RoundFigures, type RoundTask, runRound, timeOpen } from './tools/kv-round.ts';
import { fullScale, quickScale, type Row, rowsNamed, type Scale } from './tools/kv-rows.ts';
import { cellsOf, tableOf } from './tools/kv-table.ts';

interface Options {
  readonly rounds: number;
  readonly rows: readonly Row[];
  readonly systems: readonly string[];
  readonly scale: Scale;
  readonly dir: string;
  readonly profile: string | undefined;
  readonly isSilent: boolean;
}

/** System, then row, then one figure a round. */
type Figures = Record<string, Record<string, number[]>>;

const self = fileURLToPath(import.meta.url);

const rowNames = rowsNamed([]).map(({ name }) => name);

const usage = `Varve beside lmdb, classic-level and better-sqlite3, every answer compared.

  --rounds N         processes of each system for each group of rows (3; with --quick 1)
  --quick            smaller stores, shorter rows: to see that it runs
  --only ROW,...     these rows only
  --systems NAME,... these systems only
  --install          installs the peers into the cache directory of the benches first
  --out DIRECTORY    where kv.svg is written
  --dir DIRECTORY    where the stores are made
  --profile DIRECTORY  where CPU profiles of the processes go
  --json             one line of JSON instead of the table
  --help             this text

rows: ${rowNames.join(', ')}
systems: ${Object.keys(systems).join(', ')}`;

function runInProcess(options: Options, system: string, group: string, round: number): RoundFigures {
  const { scale, dir, profile } = options;
  const rows = options.rows.filter((row) => row.group === group).map(({ name }) => name);
  const task: RoundTask = { system, group, rows, scale, dir, self };
  const profiling = [
    '--cpu-prof',
    `--cpu-prof-dir=${profile}`,
    `--cpu-prof-name=${system}-${group}-${round}.cpuprofile`,
  ];
  const args = [...(profile === undefined ? [] : profiling), self, 'round', JSON.stringify(task)];
  const output = execFileSync(process.execPath, args, {
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  return JSON.parse(output) as RoundFigures;
}

/** All rounds; a system that fails a group is named in `failures` and has no figure for it. */
function runRounds(options: Options): { figures: Figures; failures: string[] } {
  const figures: Figures = Object.fromEntries(options.systems.map((system) => [system, {}]));
  const failures: string[] = [];
  const groups = [...new Set(options.rows.map((row) => row.group))];
  for (let round = 0; round < options.rounds; round++) {
    for (const group of groups) {
      for (let i = 0; i < options.systems.length; i++) {
        const system = options.systems[(i + round) % options.systems.length]!;
        if (!options.isSilent) process.stderr.write(`round ${round + 1}: ${group}, ${system}\n`);
        try {
          const measured = runInProcess(options, system, group, round);
          for (const [name, figure] of Object.entries(measured)) {
            figures[system]![name] ??= [];
            figures[system]![name].push(figure);
          }
        } catch (error) {
          failures.push(`${system} failed in ${group}: ${(error as Error).message.split('\n')[0]}`);
        }
      }
    }
  }
  return { figures, failures };
}

/** The systems wanted that are there, and a line for each that is not. */
function present(wanted: readonly string[]): { names: string[]; missing: string[] } {
  const isThere = (name: string): boolean =>
    peerVersions[name] === undefined || installedVersion(name) !== undefined;
  const missing = wanted
    .filter((name) => !isThere(name))
    .map((name) => `missing: ${name} (npm run bench:kv -- --install)`);
  return { names: wanted.filter(isThere), missing };
}

function compare(): void {
  const values = optionsOf(
    usage,
    {
      rounds: { type: 'string' },
      quick: { type: 'boolean', default: false },
      only: { type: 'string' },
      systems: { type: 'string' },
      install: { type: 'boolean', default: false },
      out: { type: 'string' },
      dir: { type: 'string', default: tmpdir() },
      profile: { type: 'string' },
      json: { type: 'boolean', default: false },
    },
    (given) => ({
      ...given,
      rounds: countOf('rounds', given.rounds ?? (given.quick ? '1' : '3')),
      rows: rowsNamed(listOf('only', given.only, rowNames)),
      asked: listOf('systems', given.systems, Object.keys(systems)),
    }),
  );
  if (values.install) installPeers();
  const { names, missing } = present(values.asked);
  const options: Options = {
    rounds: values.rounds,
    rows: values.rows,
    systems: names,
    scale: values.quick ? quickScale : fullScale,
    dir: resolve(values.dir),
    profile: values.profile === undefined ? undefined : resolve(values.profile),
    isSilent: values.json,
  };
  const { figures, failures } = runRounds(options);
  const cells = cellsOf(options.rows, names, figures);
  const out = values.out ?? mkdtempSync(join(tmpdir(), 'varve-kv-plot-'));
  mkdirSync(out, { recursive: true });
  const plot = resolve(out, 'kv.svg');
  const machine = `Node ${process.versions.node}, ${cpus().length} cores`;
  const versions = Object.fromEntries(names.map((name) => [name, installedVersion(name) ?? 'this tree']));
  const rounds = `${options.rounds} round(s)`;
  const title = `Share of the best system of each row; longer is better. ${machine}, ${rounds}`;
  writeFileSync(plot, plotOf(cells, names, title));
  if (values.json) {
    const { scale } = options;
    const head = { machine, versions, scale, rounds: options.rounds };
    console.log(JSON.stringify({ ...head, cells, missing, failures, plot }));
  } else {
    const named = names.map((name) => `${name} ${versions[name]}`).join(', ');
    console.log([`${machine}; ${named}; ${rounds}`, ...tableOf(cells, names)].join('\n'));
    for (const line of [...missing, ...failures, `plot: ${plot}`]) console.log(line);
  }
  process.exitCode = failures.length === 0 ? 0 : 1;
}

async function main(): Promise<void> {
  const [mode, first, dir, count] = process.argv.slice(2);
  if (mode === 'round') console.log(JSON.stringify(await runRound(JSON.parse(first!) as RoundTask)));
  else if (mode === 'load-and-die') await loadAndDie(first!, dir!, Number(count));
  else if (mode === 'time-open') console.log(await timeOpen(first!, dir!, Number(count)));
  else compare();
}

await main();
