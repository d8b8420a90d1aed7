/**
 * Whole directories into a repository, once more unchanged, back, and checked, against borg and restic where
 * they are: `npm run bench:ingest -- --help` says how to call it.
 *
 * Each round makes new repositories and takes the systems in turn, so that what else the machine does meets
 * all of them alike, and measures the limits anew. Every restored byte is compared with its source, outside
 * the time.
 */
import { mkdirSync, mkdtempSync, readFileSync, rmSync, statSync } from 'node:fs';
import { readdir } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, relative } from 'node:path';
import { concatBytes } from '../src/base/bytes.ts';
import { MiB } from '../src/base/limits.ts';
import { copyLimit, diskLimits, hashLimit } from '../src/cli/bench/limits.ts';
import { type Figures, figuresOf, type Limits, limitsOf, linesOf, type Round } from './ingest/figures.ts';
import { subjects } from './ingest/subjects.ts';
import { type System, systems } from './ingest/systems.ts';
import { countOf, listOf, optionsOf } from './tools/command-line.ts';
import { report } from './tools/rounds.ts';

/** Files are held in memory to be compared, in one array each. */
const mibMax = 2000;

const usage = `Directories into a repository, once more unchanged, back, and checked, beside borg and restic.

  --rounds N          rounds, in each of which every system does everything once (3)
  --subjects NAME,... ${subjects.map(({ name }) => name).join(', ')} (all but files)
  --systems NAME,...  ${systems()
    .map(({ name }) => name)
    .join(', ')} (all that are installed)
  --mib N             size of new and edited, up to 2000 (192)
  --files N           number of files of the subject files (100000)
  --json              a line of JSON for the systems and for each subject
  --help              this text

MB/s are 10^6 bytes of the source per second of whole programs, start included; of varve-streams without the
start of Node. What Varve acknowledges is durable. Node is started without NODE_EXTRA_CA_CERTS.

  first    stores the directory
  again    stores the same files once more, every byte read
  restore  writes all of it into an empty directory
  verify   reads all that is stored and checks every byte of it
  ratio    bytes of the source per byte of the repository after the first time
  CPU      seconds of all cores, user and system, for first, again, restore and verify
  peak     the most memory of a process in any of them

Beside stand SHA-256 on all cores, a copy in memory and a durable write, measured in each round on the first
bytes of the same data. The last lines hold Varve against the best of the others in this run.`;
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

async function runRound(system: System, source: string, place: string): Promise<Round> {
  const dir = mkdtempSync(join(place, 'repository-'));
  const out = mkdtempSync(join(place, 'restored-'));
  try {
    const repository = system.open(dir);
    await repository.init();
    const first = await repository.ingest(source);
    const stored = await sizeOf(dir);
    const again = await repository.ingest(source);
    const restore = await repository.restore(out);
    await compare(source, out);
    const verify = await repository.verify?.();
    return { first, again, restore, verify, stored };
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

async function measureLimits(data: Uint8Array, place: string): Promise<Limits> {
  const dir = mkdtempSync(join(place, 'limits-'));
  const disk = await diskLimits(data, dir, new AbortController().signal);
  rmSync(dir, { recursive: true });
  const { rate } = await hashLimit(data);
  return { sha256: rate / 1e6, memoryCopy: copyLimit(data) / 1e6, diskWrite: disk.write / 1e6 };
}

/** Those of `all` that were asked for. */
function chosen<T extends { readonly name: string }>(option: string, all: readonly T[], asked?: string): T[] {
  const names = listOf(
    option,
    asked,
    all.map(({ name }) => name),
  );
  return all.filter(({ name }) => names.includes(name));
}

interface Asked {
  readonly rounds: number;
  readonly taking: readonly System[];
}

/** All rounds of one directory. */
async function measure(source: string, place: string, { rounds, taking }: Asked): Promise<Figures> {
  const data = await sampleOf(source);
  const limits: Limits[] = [];
  const done = new Map<string, Round[]>(taking.map(({ name }) => [name, []]));
  for (let round = 0; round < rounds; round++) {
    limits.push(await measureLimits(data, place));
    // Each system is first, second, … in turn.
    for (let i = 0; i < taking.length; i++) {
      const system = taking[(round + i) % taking.length]!;
      done.get(system.name)!.push(await runRound(system, source, place));
    }
  }
  return figuresOf(
    await sizeOf(source),
    limitsOf(limits),
    taking.map(({ name, isPeer }) => ({ name, isPeer, rounds: done.get(name)! })),
  );
}

async function main(): Promise<void> {
  const { asked, taken, rounds, sizes, json } = optionsOf(
    usage,
    {
      rounds: { type: 'string', default: '3' },
      subjects: { type: 'string', default: 'new,similar,edited,tree' },
      systems: { type: 'string' },
      mib: { type: 'string', default: '192' },
      files: { type: 'string', default: '100000' },
      json: { type: 'boolean', default: false },
    },
    (values) => ({
      rounds: countOf('rounds', values.rounds),
      asked: chosen('systems', systems(), values.systems),
      taken: chosen('subjects', subjects, values.subjects),
      sizes: { mib: countOf('mib', values.mib, 1, mibMax), files: countOf('files', values.files) },
      json: values.json,
    }),
  );
  const present = asked.filter(({ version }) => version !== undefined);
  const missing = asked.filter(({ version }) => version === undefined).map(({ name }) => name);
  const known = present.map(({ name, version, settings }) => ({ name, version, settings }));
  report(json, { systems: known, missing }, [
    ...known.map(({ name, version, settings }) => `${name} (${version}): ${settings}`),
    ...missing.map((name) => `${name}: not installed`),
  ]);
  const place = mkdtempSync(join(tmpdir(), 'varve-ingest-'));
  try {
    for (const { name, what, small, make } of taken) {
      const source = join(place, name);
      mkdirSync(source);
      make(source, sizes);
      const taking = present.filter(({ oneByOne }) => !(small && oneByOne));
      const found = await measure(source, place, { rounds, taking });
      report(json, { subject: name, what, ...found }, [`${name}: ${what}`, ...linesOf(found)]);
      rmSync(source, { recursive: true });
    }
  } finally {
    rmSync(place, { recursive: true, force: true });
  }
}

await main();
