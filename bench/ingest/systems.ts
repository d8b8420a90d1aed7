/** Systems that store a directory and give it back, each as its own program, as people run them. */
import { execFile, spawnSync } from 'node:child_process';
import { createReadStream, createWriteStream, mkdirSync } from 'node:fs';
import { readdir } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { openEngine } from '../../src/index.ts';

/** One repository in a directory of its own. */
export interface Repository {
  /** Makes it; not timed. */
  init(): Promise<void>;
  /** Stores all of `source`, reading every byte of it, also when it was stored before. */
  ingest(source: string): Promise<void>;
  /** Writes what was stored last into `out`, which is there and empty. */
  restore(out: string): Promise<void>;
}

export interface System {
  readonly name: string;
  /** Chunk sizes and what else makes figures comparable or not. */
  readonly settings: string;
  /** Undefined when it is not installed. */
  readonly version: string | undefined;
  /** Puts one file after another: left out where there are thousands. */
  readonly oneByOne?: boolean;
  readonly open: (dir: string) => Repository;
}

const run = promisify(execFile);
const sizes = { min: 4096, avg: 16_384, max: 65_536 } as const;
const cli = fileURLToPath(new URL('../../src/cli/main.js', import.meta.url));

function versionOf(command: string, argument: string): string | undefined {
  const found = spawnSync(command, [argument], { encoding: 'utf8' });
  return found.status === 0 ? found.stdout.trim().split('\n')[0] : undefined;
}

function varveCommand(dir: string): Repository {
  const store = join(dir, 'store');
  const varve = (...args: string[]): Promise<unknown> => run(process.execPath, [cli, ...args]);
  return {
    init: async () => {
      await (await openEngine(store, { chunking: sizes })).close();
    },
    ingest: async (source) => {
      await varve('import', store, source);
    },
    restore: async (out) => {
      await varve('export', store, out);
    },
  };
}

/** In this process, without a start of its own: `put` of a stream for each file, and `stream` with checks. */
function varveStreams(dir: string): Repository {
  const store = join(dir, 'store');
  return {
    init: async () => {
      await (await openEngine(store, { chunking: sizes })).close();
    },
    ingest: async (source) => {
      const engine = await openEngine(store);
      for (const { name, parentPath } of await files(source)) {
        const path = join(parentPath, name);
        await engine.put(path.slice(source.length + 1), createReadStream(path, { highWaterMark: 2 ** 20 }));
      }
      await engine.close();
    },
    restore: async (out) => {
      const engine = await openEngine(store, { readOnly: true });
      for await (const { key } of engine.scan<string>({ values: false })) {
        const target = join(out, key!);
        mkdirSync(dirname(target), { recursive: true });
        await pipeline(engine.stream(key!, { verify: true }), createWriteStream(target));
      }
      await engine.close();
    },
  };
}

async function files(dir: string): Promise<{ name: string; parentPath: string }[]> {
  const found = await readdir(dir, { recursive: true, withFileTypes: true });
  return found.filter((entry) => entry.isFile());
}

function borg(dir: string): Repository {
  const repo = join(dir, 'repo');
  const env = { ...process.env, BORG_BASE_DIR: dir, BORG_UNKNOWN_UNENCRYPTED_REPO_ACCESS_IS_OK: 'yes' };
  const call = (cwd: string, ...args: string[]): Promise<unknown> => run('borg', args, { cwd, env });
  const params = ['-C', 'none', '--chunker-params', 'buzhash,12,16,14,4095', '--files-cache', 'disabled'];
  let count = 0;
  return {
    init: async () => {
      await call(dir, 'init', '-e', 'none', repo);
    },
    ingest: async (source) => {
      await call(source, 'create', ...params, `${repo}::a${++count}`, '.');
    },
    restore: async (out) => {
      await call(out, 'extract', `${repo}::a${count}`);
    },
  };
}

function restic(dir: string): Repository {
  const repo = join(dir, 'repo');
  const env = { ...process.env, RESTIC_PASSWORD: 'bench', RESTIC_REPOSITORY: repo };
  const call = (cwd: string, ...args: string[]): Promise<unknown> =>
    run('restic', [...args, '--quiet', '--cache-dir', join(dir, 'cache')], { cwd, env });
  return {
    init: async () => {
      await call(dir, 'init', '--repository-version', '2');
    },
    ingest: async (source) => {
      await call(source, 'backup', '--force', '--compression', 'off', '.');
    },
    restore: async (out) => {
      await call(out, 'restore', 'latest', '--target', out);
    },
  };
}

const ours = 'chunks of 4 to 64 KiB, mean 16 KiB, not compressed, durable';

/** All of them, installed or not. */
export function systems(): System[] {
  const version = `Node ${process.version}`;
  return [
    { name: 'varve', settings: `varve import and export; ${ours}`, version, open: varveCommand },
    {
      name: 'varve-streams',
      settings: `put and stream in the process of the bench; ${ours}`,
      version,
      oneByOne: true,
      open: varveStreams,
    },
    {
      name: 'borg',
      settings: 'the same chunk sizes, not compressed, not encrypted, files cache off',
      version: versionOf('borg', '--version'),
      open: borg,
    },
    {
      name: 'restic',
      settings:
        'chunks of 0.5 to 8 MiB, which cannot be chosen, not compressed, encrypted as always, --force',
      version: versionOf('restic', 'version'),
      open: restic,
    },
  ];
}
