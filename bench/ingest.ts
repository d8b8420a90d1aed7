/**
 * Whole directories into a repository, once more unchanged, and back, against borg and restic where they are:
 *
 *     npm run bench:ingest -- [--rounds 3] [--subjects new,similar,edited,tree] [--systems varve,borg]
 *                             [--mib 192] [--json]
 *
 * MB/s are 10^6 bytes of the source per second and whole programs, start included; what Varve acknowledges is
 * durable. Each round makes new repositories and takes the systems in turn, so that what else the machine
 * does meets all of them alike. `again` stores the same files once more, every byte read. Every restored byte
 * is compared with its source, outside the time. Ratio: bytes of the source per byte of the repository after
 * the first time. Beside stand, measured before the rounds on the first bytes of the same data, SHA-256 on
 * all cores, a copy in memory and a durable write of them.
 */
import { mkdirSync, mkdtempSync, readFileSync, rmSync, statSync } from 'node:fs';
import { readdir } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, relative } from 'node:path';
import { concatBytes } from '../src/base/bytes.ts';
import { MiB } from '../src/base/limits.ts';
import { copyLimit, diskLimits, hashLimit } from '../src/cli/bench/limits.ts';
import { type Subject, subjects } from './ingest/subjects.ts';
import { type System, systems } from './ingest/systems.ts';
import { countOf, listOf, optionsOf } from './tools/command-line.ts';
import { report, type Spread, show, spreadOf } from './tools/rounds.ts';

/** Seconds of each step, and bytes of the repository after the first. */
interface Round {
  readonly first: number;
  readonly again: number;
  readonly restore: number;
  readonly stored: number;
}

/** MB/s. */
interface Figures {
  readonly system: string;
  readonly first: Spread;
  readonly again: Spread;
  readonly restore: Spread;
  readonly ratio: number;
}

interface Limits {
  readonly sha256: number;
  readonly memoryCopy: number;
  readonly diskWrite: number;
}

const limitBytes = 64 * MiB;

async function filesIn(dir: string): Promise<string[]> {
  const entries = await readdir(dir, { recursive: true, withFileTypes: true });
  return entries.filter((entry) => entry.isFile()).map(({ parentPath, name }) => join(parentPath, name));
}

async function sizeOf(dir: string): Promise<number> {
  return (await filesIn(dir)).reduce((sum, path) => sum + statSync(path).size, 0);
}

/** Throws when a file of `source` is not the same in `copy`, or `copy` has another number of them. */
async function compare(source: string, copy: string): Promise<void> {
  const paths = await filesIn(source);
  const count = (await filesIn(copy)).length;
  if (count !== paths.length) throw new Error(`${count} files came back of ${paths.length}`);
  for (const path of paths) {
    const name = relative(source, path);
    if (Buffer.compare(readFileSync(path), readFileSync(join(copy, name))) !== 0)
      throw new Error(`${name} came back with other bytes`);
  }
}

async function secondsOf(step: () => Promise<void>): Promise<number> {
  const began = performance.now();
  await step();
  return (performance.now() - began) / 1000;
}

async function runRound(system: System, source: string, place: string): Promise<Round> {
  const dir = mkdtempSync(join(place, 'repository-'));
  const out = mkdtempSync(join(place, 'restored-'));
  try {
    const repository = system.open(dir);
    await repository.init();
    const first = await secondsOf(() => repository.ingest(source));
    const stored = await sizeOf(dir);
    const again = await secondsOf(() => repository.ingest(source));
    const restore = await secondsOf(() => repository.restore(out));
    await compare(source, out);
    return { first, again, restore, stored };
  } finally {
    rmSync(dir, { recursive: true });
    rmSync(out, { recursive: true });
  }
}

/** The first bytes of the files of `source`. */
async function sampleOf(source: string): Promise<Uint8Array> {
  const parts: Uint8Array[] = [];
  let left = limitBytes;
  for (const path of await filesIn(source)) {
    if (left <= 0) break;
    const bytes = readFileSync(path).subarray(0, left);
    parts.push(bytes);
    left -= bytes.length;
  }
  return concatBytes(parts);
}

async function limitsOf(source: string, place: string): Promise<Limits> {
  const data = await sampleOf(source);
  const dir = mkdtempSync(join(place, 'limits-'));
  const disk = await diskLimits(data, dir, new AbortController().signal);
  rmSync(dir, { recursive: true });
  const { rate } = await hashLimit(data);
  return { sha256: rate / 1e6, memoryCopy: copyLimit(data) / 1e6, diskWrite: disk.write / 1e6 };
}

function figuresOf(system: string, bytes: number, rounds: readonly Round[]): Figures {
  const rates = (seconds: (round: Round) => number): Spread =>
    spreadOf(rounds.map((round) => bytes / seconds(round) / 1e6));
  return {
    system,
    first: rates((round) => round.first),
    again: rates((round) => round.again),
    restore: rates((round) => round.restore),
    ratio: bytes / rounds.at(-1)!.stored,
  };
}

function lines(subject: Subject, bytes: number, limits: Limits, found: readonly Figures[]): string[] {
  const rate = (mbs: number): string => `${mbs.toFixed(0)} MB/s`;
  return [
    `${subject.name}: ${subject.what}, ${(bytes / 1e6).toFixed(0)} MB`,
    `  limits: SHA-256 of all cores ${rate(limits.sha256)}, memory copy ${rate(limits.memoryCopy)}, ` +
      `disk write and fsync ${rate(limits.diskWrite)}`,
    ...found.map(({ system, first, again, restore, ratio }) => {
      const share = `${((100 * again.median) / limits.sha256).toFixed(0)} % of SHA-256`;
      return (
        `  ${system.padEnd(15)} first ${show(first)}, again ${show(again)} = ${share}, ` +
        `restore ${show(restore)} MB/s, ratio ${ratio.toFixed(3)}`
      );
    }),
  ];
}

const usage = `Directories into a repository, once more unchanged, and back, beside borg and restic.

  --rounds N          rounds of all systems (3)
  --subjects NAME,... ${subjects.map(({ name }) => name).join(', ')}
  --systems NAME,...  ${systems()
    .map(({ name }) => name)
    .join(', ')}
  --mib N             size of a subject (192)
  --json              a line of JSON for each subject
  --help              this text`;

/** Those of `all` that were asked for. */
function chosen<T extends { readonly name: string }>(option: string, all: readonly T[], asked?: string): T[] {
  const names = listOf(
    option,
    asked,
    all.map(({ name }) => name),
  );
  return all.filter(({ name }) => names.includes(name));
}

async function main(): Promise<void> {
  const options = optionsOf(
    usage,
    {
      rounds: { type: 'string', default: '3' },
      subjects: { type: 'string' },
      systems: { type: 'string' },
      mib: { type: 'string', default: '192' },
      json: { type: 'boolean', default: false },
    },
    (values) => ({
      rounds: countOf('rounds', values.rounds),
      asked: chosen('systems', systems(), values.systems),
      taken: chosen('subjects', subjects, values.subjects),
      mib: countOf('mib', values.mib),
      json: values.json,
    }),
  );
  const { asked, json } = options;
  const present = asked.filter(({ version }) => version !== undefined);
  const missing = asked.filter(({ version }) => version === undefined).map(({ name }) => name);
  const known = present.map(({ name, version, settings }) => ({ name, version, settings }));
  report(json, { systems: known, missing }, [
    ...known.map(({ name, version, settings }) => `${name} (${version}): ${settings}`),
    ...missing.map((name) => `${name}: not installed`),
  ]);
  const place = mkdtempSync(join(tmpdir(), 'varve-ingest-'));
  try {
    for (const subject of options.taken) {
      const source = join(place, subject.name);
      mkdirSync(source);
      subject.make(source, options.mib);
      const bytes = await sizeOf(source);
      const limits = await limitsOf(source, place);
      const taking = present.filter(({ oneByOne }) => !(subject.small && oneByOne));
      const rounds = new Map<string, Round[]>(taking.map(({ name }) => [name, []]));
      for (let round = 0; round < options.rounds; round++) {
        // Each system is first, second, … in turn.
        for (let i = 0; i < taking.length; i++) {
          const system = taking[(round + i) % taking.length]!;
          rounds.get(system.name)!.push(await runRound(system, source, place));
        }
      }
      const found = taking.map(({ name }) => figuresOf(name, bytes, rounds.get(name)!));
      const { name, what } = subject;
      const figures = { subject: name, what, bytes, limits, found };
      report(json, figures, lines(subject, bytes, limits, found));
      rmSync(source, { recursive: true });
    }
  } finally {
    rmSync(place, { recursive: true, force: true });
  }
}

await main();
