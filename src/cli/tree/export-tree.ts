/**
 * Writes a stored tree back. Keys are never trusted as paths: what could leave the target is refused, files
 * are made with O_EXCL and O_NOFOLLOW, and every directory written into is one this run has made or looked
 * at.
 *
 * Invariants (test/cli/export-tree.test.ts)
 * - nothing is written outside the target, whatever the keys and links say;
 * - a file is complete or not there: a value that cannot be read whole leaves no file;
 * - the SHA-256 of each chunk is checked before a byte of it is written;
 * - modes and times of a directory are set once everything in it is written.
 */
import { mkdir, readdir, stat } from 'node:fs/promises';
import { emptyBytes } from '../../base/bytes.ts';
import { invalid, isVarveError } from '../../base/errors.ts';
import { deferred } from '../../base/sync.ts';
import { throwIfAborted } from '../../engine/key-args.ts';
import type { Entry, EntryStat, Key, KeyEntry } from '../../engine/types.ts';
import { DirectSupport } from '../../fs/direct-access.ts';
import { sha256Hex } from '../../kernels/hash/sha256.ts';
import { Meter, type OnProgress } from '../progress.ts';
import { errnoOf } from '../text.ts';
import { CallPace } from './call-pace.ts';
import { DirectOutputs } from './direct-output.ts';
import { DirectoryStack } from './directory-stack.ts';
import { WrittenFiles } from './hard-links.ts';
import { parentLength, pathFault } from './paths.ts';
import { type TreeEntry, treeEntryOf } from './tree-metadata.ts';
import { bytesOfKey, type Problem, ProblemList, wholeBytesMax } from './tree-store.ts';
import { WorkPool } from './work-pool.ts';
import { makeHardLink, makeLink, type NewFile, openNewFile } from './write-file.ts';

export interface ExportOptions {
  /** Only keys with this prefix, which is cut off. */
  readonly prefix?: Uint8Array;
  /** Allows a target that is not empty: files of the same name are replaced, others stay. */
  readonly overwrite?: boolean;
  /** Goes over the keys first, so that progress has a total. */
  readonly measure?: boolean;
  readonly signal?: AbortSignal;
  readonly onProgress?: OnProgress;
  /** As process.platform; decides which names are refused. */
  readonly platform?: string;
}

/** What an export did. */
export interface ExportReport {
  readonly ok: boolean;
  /** Keys seen under the prefix. */
  readonly keys: number;
  readonly files: number;
  readonly directories: number;
  readonly links: number;
  /** Names among `files` that were given to a file written under another one. */
  readonly hardLinks: number;
  readonly bytes: number;
  readonly seconds: number;
  readonly failed: readonly Problem[];
  readonly failedCount: number;
  /** A value was damaged. */
  readonly corrupt: boolean;
}

/** What is exported: a store, a space of one, a backup. */
export interface ExportSource {
  scan(options: {
    prefix: Uint8Array;
    values: false;
    stats: true;
    signal: AbortSignal | undefined;
  }): AsyncIterable<Entry<Key>>;
  get(key: Uint8Array): Promise<Uint8Array | undefined>;
  stream(key: Uint8Array, options: { verify: true }): ReadableStream<Uint8Array>;
  /** As `stream`, where the source has a quicker way: pieces are borrowed until the next are asked for. */
  pieces?(key: Uint8Array, options: { verify: true }): AsyncIterable<readonly Uint8Array[]>;
}

const workUnits = 8;
const streamUnits = 2;
/** The target cannot take more: going on would only list every remaining key. */
const fatalErrnos: ReadonlySet<string> = new Set(['ENOSPC', 'EDQUOT', 'EROFS']);

/**
 * Exports to directory `out`, which must be empty or not there unless `overwrite` is given (else
 * VARVE_INVALID_ARGUMENT). VARVE_ABORTED by the signal; what was written until then stays.
 */
export async function exportTree(
  store: ExportSource,
  out: string,
  options: ExportOptions = {},
): Promise<ExportReport> {
  await prepareTarget(out, options.overwrite === true);
  const prefix = options.prefix ?? emptyBytes;
  const scan = { prefix, values: false, stats: true, signal: options.signal } as const;
  let total: number | undefined;
  if (options.measure === true) {
    total = 0;
    for await (const entry of store.scan(scan)) if (entry.key !== undefined) total += entry.size;
  }
  const run = new ExportRun(store, out, options, total);
  try {
    for await (const entry of store.scan(scan)) {
      if (entry.key === undefined) continue;
      throwIfAborted(options.signal);
      await run.take(entry, bytesOfKey(entry.key), prefix.length);
    }
    await run.finish();
  } catch (error) {
    await run.settle();
    throw error;
  }
  return run.report();
}

async function prepareTarget(out: string, overwrite: boolean): Promise<void> {
  if (out === '' || out.includes('\0')) throw invalid('the target directory needs a path');
  await mkdir(out, { recursive: true }).catch((error: unknown) => {
    if (errnoOf(error) !== 'EEXIST') throw error;
  });
  if (!(await stat(out)).isDirectory()) throw invalid(`${out} is not a directory`, { file: out });
  if (!overwrite && (await readdir(out)).length > 0)
    throw invalid(`${out} is not empty: give a new directory, or --overwrite`, { file: out });
}

class ExportRun {
  readonly #store: ExportSource;
  readonly #overwrite: boolean;
  readonly #platform: string;
  readonly #directories: DirectoryStack;
  readonly #pool = new WorkPool(workUnits);
  readonly #meter: Meter;
  readonly #pace = new CallPace();
  readonly #outputs = new DirectOutputs(new DirectSupport());
  readonly #failed = new ProblemList();
  readonly #written = new WrittenFiles();
  #keys = 0;
  #directoryCount = 0;
  #links = 0;
  #hardLinks = 0;
  #corrupt = false;

  constructor(store: ExportSource, out: string, options: ExportOptions, total: number | undefined) {
    this.#store = store;
    this.#overwrite = options.overwrite === true;
    this.#platform = options.platform ?? process.platform;
    this.#directories = new DirectoryStack(Buffer.from(out), (path, error) => this.#fail(path, error));
    this.#meter = new Meter('export', total, options.onProgress);
  }

  /** Takes the next key in order. Only failures that concern every key are thrown. */
  async take(entry: KeyEntry<Key>, key: Uint8Array, prefixBytes: number): Promise<void> {
    this.#keys++;
    const path = key.subarray(prefixBytes);
    const tree = treeEntryOf(entry.stat?.metadata);
    // The directory whose key is the prefix: the target stands for it.
    if (path.length === 0 && tree?.type === 'directory') return;
    const isDirectory = path.at(-1) === 0x2f;
    try {
      const fault =
        pathFault(path, this.#platform) ??
        (isDirectory && tree?.type !== 'directory'
          ? "the path ends in '/' and is no directory"
          : undefined) ??
        (!isDirectory && tree?.type === 'directory' ? "a directory's key must end in '/'" : undefined);
      if (fault !== undefined) throw invalid(fault);
      await this.#write(key, path, entry, tree);
    } catch (error) {
      this.#fail(path, error);
    }
  }

  async finish(): Promise<void> {
    await this.#pool.drain();
    await this.#directories.finish();
  }

  async settle(): Promise<void> {
    await this.#pool.settle();
    await this.#directories.finish();
  }

  report(): ExportReport {
    return {
      ok: this.#failed.count === 0,
      keys: this.#keys,
      files: this.#meter.files,
      directories: this.#directoryCount,
      links: this.#links,
      hardLinks: this.#hardLinks,
      bytes: this.#meter.bytes,
      seconds: this.#meter.seconds,
      failed: this.#failed.items,
      failedCount: this.#failed.count,
      corrupt: this.#corrupt,
    };
  }

  async #write(
    key: Uint8Array,
    path: Uint8Array,
    { size, stat }: KeyEntry<Key>,
    tree: TreeEntry | undefined,
  ): Promise<void> {
    if (tree?.type === 'directory') {
      await this.#directories.enter(path, tree);
      this.#directoryCount++;
      return;
    }
    const directory = await this.#directories.enter(path.subarray(0, parentLength(path)), undefined);
    const target = this.#directories.pathOf(path);
    if (tree?.type === 'symlink') {
      await makeLink(target, tree, this.#overwrite);
      this.#links++;
      return;
    }
    const name = stat === undefined ? undefined : tree?.hardLink;
    if (name !== undefined && (await this.#linked(target, name, stat!))) return;
    // Opened in key order, so that of two keys that collide it is always the second that fails.
    const file = await openNewFile(target, tree, this.#overwrite, this.#pace);
    const whole = deferred<boolean>();
    if (name !== undefined)
      this.#written.set(name, { path: target, digest: stat!.digest, whole: whole.promise });
    directory.retain();
    await this.#pool.start(size > wholeBytesMax ? streamUnits : 1, async () => {
      try {
        await this.#fill(file, key, size, stat);
        this.#meter.addFile();
        whole.resolve(true);
      } catch (error) {
        whole.resolve(false);
        this.#fail(path, error);
      } finally {
        await directory.release();
      }
    });
  }

  /**
   * True when `target` became another name of a file that was written: the same file once, and the same
   * content.
   */
  async #linked(target: Buffer, name: Uint8Array, { size, digest }: EntryStat): Promise<boolean> {
    const first = this.#written.find(name, digest);
    if (first === undefined || !(await first.whole)) return false;
    if (!(await makeHardLink(first.path, target, this.#overwrite))) return false;
    this.#hardLinks++;
    this.#meter.skip(size);
    this.#meter.addFile();
    return true;
  }

  /** Writes the value and closes the file; takes the file away when that fails. */
  async #fill(file: NewFile, key: Uint8Array, size: number, stat: EntryStat | undefined): Promise<void> {
    try {
      const whole = stat === undefined ? undefined : await this.#whole(key, stat);
      if (whole !== undefined) {
        await file.write(whole);
        this.#meter.add(whole.length);
      } else {
        await this.#copy(key, size, file);
      }
      await file.finish();
    } catch (error) {
      await file.discard();
      throw error;
    }
  }

  /** Writes a value of any length from where it was read; what lies behind is read and checked meanwhile. */
  async #copy(key: Uint8Array, size: number, file: NewFile): Promise<void> {
    const { pieces } = this.#store;
    if (pieces === undefined) return await this.#pipe(key, file);
    file.expect(size, this.#outputs);
    for await (const some of pieces.call(this.#store, key, { verify: true }))
      this.#meter.add(await file.writeAll(some));
  }

  /** Writes a value of any length; the next bytes are read and checked while those before are written. */
  async #pipe(key: Uint8Array, file: NewFile): Promise<void> {
    let writing: Promise<void> | undefined;
    try {
      for await (const piece of this.#store.stream(key, { verify: true })) {
        await writing;
        writing = file.write(piece).then(() => this.#meter.add(piece.length));
        // Told by the await of the next turn or of the end.
        writing.catch(() => undefined);
      }
    } finally {
      await writing;
    }
  }

  /**
   * A value without chunks, or of one small chunk whose SHA-256 is right: a stream for each of many files
   * costs more than all else. Undefined: read it as a stream, which tells what is wrong.
   */
  async #whole(key: Uint8Array, { chunks, size, digest }: EntryStat): Promise<Uint8Array | undefined> {
    if (chunks > 1 || (chunks === 1 && size > wholeBytesMax)) return undefined;
    if (chunks === 0) {
      const value = await this.#store.get(key);
      if (value === undefined) throw invalid('the key was deleted meanwhile');
      return value;
    }
    const value = await this.#store.get(key).catch(streamTells);
    // The digest of a value of one chunk is the SHA-256 of its bytes; another value was put meanwhile.
    return value !== undefined && sha256Hex(value) === digest ? value : undefined;
  }

  #fail(path: Uint8Array, error: unknown): void {
    const errno = errnoOf(error);
    if (isVarveError(error, 'VARVE_ABORTED', 'VARVE_CLOSED')) throw error;
    if (errno !== undefined && fatalErrnos.has(errno) && !isVarveError(error)) throw error;
    if (isVarveError(error, 'VARVE_CORRUPT')) this.#corrupt = true;
    const reason = error instanceof Error ? error.message : String(error);
    const code = isVarveError(error) ? error.code : errno;
    this.#failed.add({ path: path.slice(), reason, code });
  }
}

/** Damage is met again by the stream, which says more of it. */
function streamTells(error: unknown): undefined {
  if (!isVarveError(error, 'VARVE_CORRUPT', 'VARVE_IO')) throw error;
  return undefined;
}
