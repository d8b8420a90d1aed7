/**
 * Space: what cleaning, the scan it begins with, verify and repair cost, and what stays flat.
 *
 *     npm run bench:space -- [--gib 1] [--entries 5000000] [--phase NAME] [--dir DIR] [--json]
 *
 * A store of `--gib` GiB of random values is halved at random, cleaned, halved and cleaned again beside puts,
 * verified, damaged and repaired; cleaning is also measured at a quarter and half of that size, so that its
 * memory can be compared. Each phase is a process of its own. Memory is what was resident at most less what
 * was before, in cleaning behind the first 64 MiB. Times are wall clock and, in brackets, seconds of CPU; on
 * a machine that does other things compare those. MB are 10^6 bytes. Needs twice the size as room on the
 * disk, in the temporary directory unless `--dir` says where.
 *
 *   --gib N      size of the largest store; 0: none
 *   --entries N  entries of the liveness scan, over tables in files; 0: none
 *   --trends     also churn and queue: amplification after 20 rounds, size and latency of a queue
 *   --json       the figures as one line of JSON
 */
import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { type Figure, lineOf } from './space/figures.ts';
import { phases } from './space/phases.ts';
import { scanOf } from './space/scan.ts';

const GiB = 2 ** 30;
const usage =
  'npm run bench:space -- [--gib 1] [--entries 5000000] [--trends] [--dir DIR] [--json] [--help]\n';

/** Phases of a store, and of those that are only made for the memory of cleaning. */
const whole = ['fill', 'halfDead', 'clean', 'cleanBesidePuts', 'verify', 'repairing'];
const smaller = ['fill', 'halfDead', 'clean'];
const trends = ['churn', 'queue'];

const { values } = parseArgs({
  options: {
    gib: { type: 'string', default: '1' },
    entries: { type: 'string', default: '5000000' },
    trends: { type: 'boolean', default: false },
    dir: { type: 'string', default: tmpdir() },
    json: { type: 'boolean', default: false },
    help: { type: 'boolean', default: false },
    /** For the processes this one starts: a phase, or `scan`, and what it works on. */
    phase: { type: 'string' },
    store: { type: 'string' },
    bytes: { type: 'string' },
  },
});

/** Runs a phase in a process of its own; prints its figures. */
function inProcess(phase: string, store: string, amount: number): Figure[] {
  const args = ['--phase', phase, '--store', store, '--bytes', `${amount}`];
  const printed = execFileSync(process.execPath, [fileURLToPath(import.meta.url), ...args], {
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const figures = JSON.parse(printed) as Figure[];
  if (!values.json) for (const figure of figures) console.log(lineOf(figure));
  return figures;
}

async function ofPhase(phase: string, store: string, amount: number): Promise<Figure[]> {
  if (!phase.startsWith('scan')) return await phases[phase]!({ dir: store, bytes: amount });
  return [{ kind: 'scan', figure: await scanOf(store, amount, Number(phase.slice('scan'.length))) }];
}

function measureAll(gib: number, entries: number): Figure[] {
  mkdirSync(values.dir, { recursive: true });
  const dir = mkdtempSync(join(values.dir, 'varve-bench-space-'));
  const figures: Figure[] = [];
  const run = (names: readonly string[], amount: number): void => {
    const store = join(dir, 'store');
    for (const name of names) figures.push(...inProcess(name, store, amount));
    rmSync(store, { recursive: true, force: true });
  };
  try {
    if (entries > 0) for (const runs of [1, 4]) run([`scan${runs}`], entries);
    if (gib > 0) {
      for (const share of [0.25, 0.5]) run(smaller, Math.round(gib * share * GiB));
      run(whole, Math.round(gib * GiB));
    }
    if (values.trends) for (const name of trends) run([name], 0);
  } finally {
    rmSync(dir, { recursive: true, force: true });
  }
  return figures;
}

function numberOf(name: 'gib' | 'entries'): number {
  const value = Number(values[name]);
  if (!(Number.isFinite(value) && value >= 0)) throw new Error(`--${name} takes a number`);
  return value;
}

if (values.help) process.stdout.write(usage);
else if (values.phase !== undefined) {
  console.log(JSON.stringify(await ofPhase(values.phase, values.store!, Number(values.bytes))));
} else {
  const figures = measureAll(numberOf('gib'), numberOf('entries'));
  if (values.json) console.log(JSON.stringify(figures.map(({ kind, figure }) => ({ kind, ...figure }))));
}
