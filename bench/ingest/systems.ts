/** Systems that store a directory and give it back, each as its own program, as people run them. */
import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { type Ran, runProgram, type Spent } from './run-program.ts';

/** One repository in a directory of its own. */
export interface Repository {
  /** Makes it; not timed. */
  init(): Promise<unknown>;
  /** Stores all of `source`, reading every byte of it, also when it was stored before. */
  ingest(source: string): Promise<Spent>;
  /** Writes what was stored last into `out`, which is there and empty. */
  restore(out: string): Promise<Spent>;
  /** Reads all that is stored and checks every byte of it; undefined: another row has that figure. */
  verify?(): Promise<Spent>;
}

export interface System {
  readonly name: string;
  /** Whose figures the others are held against. */
  readonly isPeer: boolean;
  /** Chunk sizes and what else makes figures comparable or not. */
  readonly settings: string;
  /** Undefined when it is not installed. */
  readonly version: string | undefined;
  /** Puts one file after another: left out where there are thousands. */
  readonly oneByOne?: boolean;
  readonly open: (dir: string) => Repository;
}

/** Node reads the certificates this variable names at each start, which has nothing to do with a store. */
const nodeEnv: NodeJS.ProcessEnv = { ...process.env, NODE_EXTRA_CA_CERTS: undefined };
const runNode = (...args: string[]): Promise<Ran> => runProgram(process.execPath, args, { env: nodeEnv });
const cli = fileURLToPath(new URL('../../lib/main.js', import.meta.url));
const streams = fileURLToPath(new URL('./streams.js', import.meta.url));

function versionOf(command: string, argument: string): string | undefined {
  const found = spawnSync(command, [argument], { encoding: 'utf8' });
  return found.status === 0 ? found.stdout.trim().split('\n')[0] : undefined;
}

function varveCommand(dir: string): Repository {
  const store = join(dir, 'store');
  const varve = (...args: string[]) => runNode(cli, ...args);
  return {
    init: () => runNode(streams, 'make', store),
    ingest: (source) => varve('import', store, source),
    restore: (out) => varve('export', store, out),
    verify: () => varve('verify', store, '--level', 'full'),
  };
}

function varveStreams(dir: string): Repository {
  const store = join(dir, 'store');
  const call = async (...args: string[]): Promise<Spent> => {
    const ran = await runNode(streams, ...args);
    return { ...ran, seconds: (JSON.parse(ran.stdout) as { seconds: number }).seconds };
  };
  return {
    init: () => call('make', store),
    ingest: (source) => call('put', store, source),
    restore: (out) => call('get', store, out),
  };
}

function borg(dir: string): Repository {
  const repo = join(dir, 'repo');
  const env = { ...process.env, BORG_BASE_DIR: dir, BORG_UNKNOWN_UNENCRYPTED_REPO_ACCESS_IS_OK: 'yes' };
  const call = (cwd: string, ...args: string[]) => runProgram('borg', args, { cwd, env });
  const params = ['-C', 'none', '--chunker-params', 'buzhash,12,16,14,4095', '--files-cache', 'disabled'];
  let count = 0;
  return {
    init: () => call(dir, 'init', '-e', 'none', repo),
    ingest: (source) => call(source, 'create', ...params, `${repo}::a${++count}`, '.'),
    restore: (out) => call(out, 'extract', `${repo}::a${count}`),
    verify: () => call(dir, 'check', '--verify-data', repo),
  };
}

function restic(dir: string): Repository {
  const repo = join(dir, 'repo');
  const env = { ...process.env, RESTIC_PASSWORD: 'bench', RESTIC_REPOSITORY: repo };
  const call = (cwd: string, ...args: string[]) =>
    runProgram('restic', [...args, '--quiet', '--cache-dir', join(dir, 'cache')], { cwd, env });
  return {
    init: () => call(dir, 'init', '--repository-version', '2'),
    ingest: (source) => call(source, 'backup', '--force', '--compression', 'off', '.'),
    restore: (out) => call(out, 'restore', 'latest', '--target', out),
    verify: () => call(dir, 'check', '--read-data'),
  };
}

const ours = 'chunks of 4 to 64 KiB, mean 16 KiB, not compressed, durable';

/** All of them, installed or not. */
export function systems(): System[] {
  const version = `Node ${process.version}`;
  return [
    {
      name: 'varve',
      isPeer: false,
      settings: `varve import, export and verify --level full; ${ours}`,
      version,
      open: varveCommand,
    },
    {
      name: 'varve-streams',
      isPeer: false,
      settings: `put and stream with verify, from open to close without the start of Node; ${ours}`,
      version,
      oneByOne: true,
      open: varveStreams,
    },
    {
      name: 'borg',
      isPeer: true,
      settings: 'the same chunk sizes, not compressed, not encrypted, files cache off; check --verify-data',
      version: versionOf('borg', '--version'),
      open: borg,
    },
    {
      name: 'restic',
      isPeer: true,
      settings:
        'chunks of 0.5 to 8 MiB, which cannot be chosen, not compressed, encrypted as always, --force; ' +
        'check --read-data',
      version: versionOf('restic', 'version'),
      open: restic,
    },
  ];
}
