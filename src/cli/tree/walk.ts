/**
 * Walks a directory tree in the byte order of the keys it becomes. Links are never followed. Names are raw
 * bytes, so those that are not UTF-8 survive.
 *
 * Memory: the names of the directories on the way down to the current one.
 */
import { type BigIntStats, lstatSync } from 'node:fs';
import { lstat, opendir, readdir } from 'node:fs/promises';
import { concatBytes } from '../../base/bytes.ts';
import { invalid, VarveError } from '../../base/errors.ts';
import { throwIfAborted } from '../../engine/key-args.ts';
import { errnoOf } from '../text.ts';
import { CallPace } from './call-pace.ts';
import { compareNames } from './paths.ts';
import { inOrder } from './work-pool.ts';

/** An entry of the tree. `key` is its path below the root; a directory's ends in '/'. */
export interface FoundEntry {
  readonly kind: 'file' | 'directory' | 'symlink' | 'other';
  readonly key: Uint8Array;
  readonly path: Buffer;
  readonly stat: BigIntStats;
}

/** An entry that could not be looked at; with `subtree` all that lies below `key` is unknown. */
export interface FailedEntry {
  readonly kind: 'failed';
  readonly key: Uint8Array;
  readonly subtree: boolean;
  readonly error: unknown;
}

export type WalkItem = FoundEntry | FailedEntry;

/** Identity of a directory that a walk must not enter. */
export interface FileIdentity {
  readonly dev: bigint;
  readonly ino: bigint;
}

export interface WalkOptions {
  /** A directory to leave out, whatever its name: the store itself. */
  readonly exclude?: FileIdentity;
  readonly signal?: AbortSignal;
  /** Shared with others who make calls of the same tree; its own where not given. */
  readonly pace?: CallPace | undefined;
}

const statsAhead = 32;
const slash = Buffer.from('/');

interface Listed {
  readonly name: Buffer;
  readonly isDirectory: boolean;
}

/** Identity of what lies at `path`; undefined when nothing does. */
export async function identityAt(path: string): Promise<FileIdentity | undefined> {
  try {
    const { dev, ino } = await lstat(path, { bigint: true });
    return { dev, ino };
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return undefined;
    throw error;
  }
}

/**
 * Everything below `root`, which itself is not yielded. VARVE_NOT_FOUND when there is no such directory,
 * VARVE_INVALID_ARGUMENT when it is something else, VARVE_IO when it cannot be read.
 */
export async function* walkTree(root: string, options: WalkOptions = {}): AsyncGenerator<WalkItem> {
  for await (const items of walkRuns(root, options)) yield* items;
}

/** `walkTree` with as many entries at a time as are known. A directory is the last of its run. */
export async function* walkRuns(root: string, options: WalkOptions = {}): AsyncGenerator<WalkItem[]> {
  const rootPath = Buffer.from(root);
  const pace = options.pace ?? new CallPace();
  const levels = [new Level(lookAt(rootPath, new Uint8Array(0), await listRoot(rootPath, root), pace))];
  try {
    while (levels.length > 0) {
      throwIfAborted(options.signal);
      const items = await levels.at(-1)!.next();
      const last = items.at(-1);
      if (last === undefined) {
        levels.pop();
        continue;
      }
      if (last.kind === 'directory' && isSame(last.stat, options.exclude)) {
        items[items.length - 1] = { ...last, kind: 'other' };
        yield items;
        continue;
      }
      yield items;
      if (last.kind !== 'directory') continue;
      const listed = await list(last.path);
      if (listed instanceof Error) yield [{ kind: 'failed', key: last.key, subtree: true, error: listed }];
      else levels.push(new Level(lookAt(last.path, last.key, listed, pace)));
    }
  } finally {
    for (const level of levels) await level.end();
  }
}

/** The entries of one directory, in runs that end with a subdirectory. */
class Level {
  readonly #runs: AsyncGenerator<WalkItem[]>;
  #run: readonly WalkItem[] = [];
  #at = 0;

  constructor(runs: AsyncGenerator<WalkItem[]>) {
    this.#runs = runs;
  }

  /** The next ones; none at the end. */
  async next(): Promise<WalkItem[]> {
    if (this.#at === this.#run.length) {
      const { value, done } = await this.#runs.next();
      if (done === true) return [];
      this.#run = value;
      this.#at = 0;
    }
    const from = this.#at;
    while (this.#at < this.#run.length && this.#run[this.#at++]!.kind !== 'directory');
    return this.#run.slice(from, this.#at);
  }

  async end(): Promise<void> {
    await this.#runs.return(undefined);
  }
}

/** Counts the regular files of a tree and their bytes. Entries that cannot be looked at do not count. */
export async function measureTree(
  root: string,
  options: WalkOptions = {},
  onFile?: (files: number, bytes: number) => void,
): Promise<{ files: number; bytes: number }> {
  let files = 0;
  let bytes = 0;
  for await (const item of walkTree(root, options)) {
    if (item.kind !== 'file') continue;
    files++;
    bytes += Number(item.stat.size);
    onFile?.(files, bytes);
  }
  return { files, bytes };
}

function isSame(stat: BigIntStats, identity: FileIdentity | undefined): boolean {
  return identity !== undefined && stat.dev === identity.dev && stat.ino === identity.ino;
}

/** The entries of one directory with their stats, a few fetched ahead. */
function lookAt(
  parent: Buffer,
  parentKey: Uint8Array,
  listed: readonly Listed[],
  pace: CallPace,
): AsyncGenerator<WalkItem[]> {
  return inOrder([listed], statsAhead, ({ name, isDirectory }): WalkItem | Promise<WalkItem> => {
    const path = Buffer.concat([parent, slash, name]);
    const key = concatBytes(isDirectory ? [parentKey, name, slash] : [parentKey, name]);
    const failed = (error: unknown): FailedEntry => ({ kind: 'failed', key, subtree: isDirectory, error });
    const found = (stat: BigIntStats): WalkItem => {
      const kind = kindOf(stat);
      if ((kind === 'directory') === isDirectory) return { kind, key, path, stat };
      return failed(new VarveError('VARVE_IO', 'became something else while its directory was read'));
    };
    try {
      const stat = pace.run(
        () => lstatSync(path, { bigint: true }),
        () => lstat(path, { bigint: true }),
      );
      return stat instanceof Promise ? stat.then(found, failed) : found(stat);
    } catch (error) {
      return failed(error);
    }
  });
}

function kindOf(stat: BigIntStats): FoundEntry['kind'] {
  if (stat.isFile()) return 'file';
  if (stat.isDirectory()) return 'directory';
  return stat.isSymbolicLink() ? 'symlink' : 'other';
}

async function list(path: Buffer): Promise<Listed[] | Error> {
  try {
    return await readSorted(path);
  } catch (error) {
    return error instanceof Error ? error : new Error(String(error));
  }
}

function listRoot(path: Buffer, root: string): Promise<Listed[]> {
  return asRoot(root, () => readSorted(path));
}

/** Rejects as walkTree does when `root` is no directory that can be read. */
export async function requireDirectory(root: string): Promise<void> {
  await asRoot(root, async () => {
    const directory = await opendir(root);
    await directory.close();
  });
}

async function asRoot<T>(root: string, read: () => Promise<T>): Promise<T> {
  if (root === '' || root.includes('\0')) throw invalid('a directory needs a path');
  try {
    return await read();
  } catch (error) {
    const errno = errnoOf(error);
    if (errno === 'ENOENT')
      throw new VarveError('VARVE_NOT_FOUND', `${root}: no such directory`, { file: root });
    if (errno === 'ENOTDIR') throw invalid(`${root} is not a directory`, { file: root });
    throw new VarveError('VARVE_IO', `${root} cannot be read: ${errno}`, { cause: error, file: root, errno });
  }
}

async function readSorted(path: Buffer): Promise<Listed[]> {
  const entries = await readdir(path, { encoding: 'buffer', withFileTypes: true });
  const listed = entries.map((entry) => ({
    name: entry.name,
    isDirectory: entry.isDirectory(),
  }));
  return listed.sort((a, b) => compareNames(a.name, a.isDirectory, b.name, b.isDirectory));
}
