/**
 * Stores a directory tree: paths below it become keys, what a path is becomes metadata. Small files go
 * through batches, large ones are streamed side by side.
 *
 * Invariants (test/cli/import-tree.test.ts)
 * - a file is stored as it was at one moment or not at all: one that changes while it is read is tried again,
 *   then reported, and its earlier version stays;
 * - one bad file never ends the import: it is reported and the rest goes on;
 * - at most 64 MiB of file contents are held: 80 small files read or being read, a batch being filled and 2
 *   being written, 4 streams.
 */
import type { BigIntStats } from 'node:fs';
import { readlink } from 'node:fs/promises';
import { concatBytes, emptyBytes } from '../../base/bytes.ts';
import { invalid } from '../../base/errors.ts';
import { keyBytesMax, MiB } from '../../base/limits.ts';
import { throwIfAborted } from '../../engine/key-args.ts';
import type { BatchOperation } from '../../engine/types.ts';
import type { UserMetadata } from '../../format/metadata.ts';
import { Meter, type OnProgress } from '../progress.ts';
import { errnoOf } from '../text.ts';
import { CallPace } from './call-pace.ts';
import { deleteMissing } from './delete-missing.ts';
import { SharedFiles } from './hard-links.ts';
import {
  changedError,
  directFile,
  FileRoom,
  openRegular,
  readWholeFile,
  type WholeFile,
} from './read-file.ts';
import { looksUnchanged, treeMetadata } from './tree-metadata.ts';
import { type Problem, ProblemList, type TreeStore, wholeBytesMax } from './tree-store.ts';
import { type FileIdentity, type FoundEntry, measureTree, type WalkItem, walkRuns } from './walk.ts';
import { inOrder, WorkPool } from './work-pool.ts';

export interface ImportOptions {
  /** Put before every path as it is; give 'name/' for a directory of its own. */
  readonly prefix?: Uint8Array;
  /** Files whose size, mode and time are those stored are not read again. */
  readonly trustMtime?: boolean;
  /** Afterwards deletes keys under the prefix that are not in the tree. */
  readonly deleteMissing?: boolean;
  /** A directory to leave out: the store itself. */
  readonly exclude?: FileIdentity;
  /** Counts the tree first, so that progress has a total. */
  readonly measure?: boolean;
  readonly signal?: AbortSignal;
  readonly onProgress?: OnProgress;
}

/** What an import did. Counts are of this run. */
export interface ImportReport {
  /** Nothing failed. Skipped entries are no failure. */
  readonly ok: boolean;
  readonly files: number;
  readonly directories: number;
  readonly links: number;
  /** Names of files that share one with a name before them; each is stored as a file, its chunks once. */
  readonly hardLinks: number;
  /** Files that were not read because they look unchanged; not among `files`. */
  readonly unchanged: number;
  /** Bytes of the files read. */
  readonly bytes: number;
  /** Chunk bytes that were not in the store before, and how many chunks. */
  readonly newBytes: number;
  readonly newChunks: number;
  readonly deleted: number;
  readonly seconds: number;
  readonly skipped: readonly Problem[];
  readonly skippedCount: number;
  readonly failed: readonly Problem[];
  readonly failedCount: number;
}

const readsAhead = 16;
const streamsMax = 4;
const batchesMax = 2;
const batchBytesTarget: number = 4 * MiB;
const batchEntriesMax = 1000;

/** An entry with the content of a small file, its metadata as of the moment it was read. */
interface Prepared {
  readonly item: WalkItem;
  readonly operation?: Extract<BatchOperation, { type: 'put' }>;
  readonly bytes?: number;
  readonly unchanged?: boolean;
  /** Of a large file. */
  readonly hardLink?: Uint8Array | undefined;
  readonly error?: unknown;
}

/**
 * Imports the tree below `root`. VARVE_NOT_FOUND and VARVE_INVALID_ARGUMENT when there is no such directory,
 * VARVE_ABORTED by the signal, and whatever the store throws; what was stored until then stays.
 */
export async function importTree(
  store: TreeStore,
  root: string,
  options: ImportOptions = {},
): Promise<ImportReport> {
  const { exclude, signal, onProgress } = options;
  const prefix = options.prefix ?? emptyBytes;
  if (prefix.length > keyBytesMax / 2) throw invalid(`the prefix has more than ${keyBytesMax / 2} bytes`);
  const total = options.measure === true ? await measured(root, options) : undefined;
  const pace = new CallPace();
  const run = new ImportRun(store, prefix, options, new Meter('import', total, onProgress), pace);
  const before = store.stats().chunks;
  try {
    const walk = walkRuns(root, { exclude, signal, pace });
    for await (const entries of inOrder(walk, readsAhead, run.prepare)) {
      for (const entry of entries) {
        throwIfAborted(signal);
        const busy = run.take(entry);
        if (busy !== undefined) await busy;
      }
    }
    await run.finish();
  } catch (error) {
    await run.settle();
    throw error;
  }
  const deleted =
    options.deleteMissing === true ? await deleteMissing(store, root, prefix, { exclude, signal }) : 0;
  const after = store.stats().chunks;
  return {
    ...run.counts(),
    deleted,
    newBytes: after.storedBytes - before.storedBytes,
    newChunks: after.stored - before.stored,
  };
}

async function measured(root: string, { exclude, signal, onProgress }: ImportOptions): Promise<number> {
  const startedAt = performance.now();
  const { bytes } = await measureTree(root, { exclude, signal }, (files, found) => {
    const seconds = (performance.now() - startedAt) / 1000;
    const bytesPerSecond = seconds === 0 ? 0 : found / seconds;
    onProgress?.({ phase: 'scan', done: files, total: undefined, unit: 'files', bytesPerSecond, files });
  });
  return bytes;
}

class ImportRun {
  readonly #store: TreeStore;
  readonly #prefix: Uint8Array;
  readonly #options: ImportOptions;
  readonly #meter: Meter;
  readonly #pace: CallPace;
  readonly #streams = new WorkPool(streamsMax);
  readonly #batches = new WorkPool(batchesMax);
  readonly #skipped = new ProblemList();
  readonly #failed = new ProblemList();
  readonly #shared = new SharedFiles();
  readonly #room = new FileRoom();
  #operations: BatchOperation[] = [];
  #operationBytes = 0;
  #directories = 0;
  #links = 0;
  #unchanged = 0;

  constructor(store: TreeStore, prefix: Uint8Array, options: ImportOptions, meter: Meter, pace: CallPace) {
    this.#pace = pace;
    this.#store = store;
    this.#prefix = prefix;
    this.#options = options;
    this.#meter = meter;
  }

  /** Reads what fits into a batch. Neither throws nor rejects: an error is part of the result. */
  readonly prepare = (item: WalkItem): Prepared | Promise<Prepared> => {
    if (item.kind === 'failed') return { item, error: item.error };
    const failed = (error: unknown): Prepared => ({ item, error });
    try {
      const prepared = this.#prepare(item);
      return prepared instanceof Promise ? prepared.catch(failed) : prepared;
    } catch (error) {
      return failed(error);
    }
  };

  #prepare(item: FoundEntry): Prepared | Promise<Prepared> {
    const key = this.#keyOf(item);
    if (item.kind === 'directory') return { item, operation: putOf(key, item) };
    if (item.kind === 'symlink') return prepareLink(key, item);
    if (item.kind === 'other') return { item };
    // Before the first wait: names are counted in their order.
    const hardLink = this.#shared.firstKeyOf(item.stat, key);
    return this.#options.trustMtime === true
      ? this.#prepareChanged(key, item, hardLink)
      : this.#prepareFile(key, item, hardLink);
  }

  /** Takes the next entry in order; a promise while too much is under way. Fails with what the store does. */
  take({ item, operation, bytes, unchanged, hardLink, error }: Prepared): Promise<void> | undefined {
    if (error !== undefined) this.#fail(item.key, error);
    else if (unchanged === true) {
      this.#unchanged++;
      this.#meter.skip(Number((item as FoundEntry).stat.size));
    } else if (operation !== undefined) {
      if (item.kind === 'directory') this.#directories++;
      else if (item.kind === 'symlink') this.#links++;
      else {
        this.#meter.add(bytes ?? 0);
        this.#meter.addFile();
      }
      return this.#add(operation, bytes ?? 0);
    } else if (item.kind === 'file') return this.#streams.start(1, () => this.#putLarge(item, hardLink));
    else if (item.kind === 'other') this.#skipped.add({ path: item.key, reason: skipReason(item) });
    return undefined;
  }

  async finish(): Promise<void> {
    await this.#commit();
    await this.#streams.drain();
    await this.#batches.drain();
  }

  async settle(): Promise<void> {
    await this.#streams.settle();
    await this.#batches.settle();
  }

  counts(): Omit<ImportReport, 'newBytes' | 'newChunks' | 'deleted'> {
    return {
      ok: this.#failed.count === 0,
      files: this.#meter.files,
      directories: this.#directories,
      links: this.#links,
      hardLinks: this.#shared.count,
      unchanged: this.#unchanged,
      bytes: this.#meter.bytes,
      seconds: this.#meter.seconds,
      skipped: this.#skipped.items,
      skippedCount: this.#skipped.count,
      failed: this.#failed.items,
      failedCount: this.#failed.count,
    };
  }

  async #prepareChanged(
    key: Uint8Array,
    item: FoundEntry,
    hardLink: Uint8Array | undefined,
  ): Promise<Prepared> {
    const stored = await this.#store.stat(key);
    const isUnchanged =
      stored !== undefined && looksUnchanged(stored.metadata, stored.size, item.stat, hardLink);
    return isUnchanged ? { item, unchanged: true } : await this.#prepareFile(key, item, hardLink);
  }

  /** Reads the file, and once more where it changed meanwhile; a large one is left to be streamed. */
  #prepareFile(
    key: Uint8Array,
    item: FoundEntry,
    hardLink: Uint8Array | undefined,
  ): Prepared | Promise<Prepared> {
    if (item.stat.size > BigInt(wholeBytesMax)) return { item, hardLink };
    const read = (): WholeFile | Promise<WholeFile> =>
      readWholeFile(item.path, item.stat, wholeBytesMax, this.#pace, this.#room);
    const again = (error: unknown): WholeFile | Promise<WholeFile> => {
      if (!isChange(error)) throw error;
      return read();
    };
    const prepared = ({ bytes: value, stat }: WholeFile): Prepared => {
      const metadata = fileMetadata(stat, item, hardLink);
      return { item, operation: { type: 'put', key, value, metadata }, bytes: value.length };
    };
    let file: WholeFile | Promise<WholeFile>;
    try {
      file = read();
    } catch (error) {
      file = again(error);
    }
    return file instanceof Promise ? file.catch(again).then(prepared) : prepared(file);
  }

  #keyOf(item: FoundEntry): Uint8Array {
    return this.#prefix.length === 0 ? item.key : concatBytes([this.#prefix, item.key]);
  }

  /** A promise where a batch is full and others are under way. */
  #add(operation: BatchOperation, bytes: number): Promise<void> | undefined {
    this.#operations.push(operation);
    this.#operationBytes += bytes;
    const full = this.#operations.length >= batchEntriesMax || this.#operationBytes >= batchBytesTarget;
    return full ? this.#commit() : undefined;
  }

  async #commit(): Promise<void> {
    const operations = this.#operations;
    if (operations.length === 0) return;
    this.#operations = [];
    this.#operationBytes = 0;
    await this.#batches.start(1, async () => {
      await this.#store.batch(operations);
    });
  }

  async #putLarge(item: FoundEntry, hardLink: Uint8Array | undefined): Promise<void> {
    const source: { error?: unknown } = {};
    try {
      await twice(() => this.#stream(item, hardLink, source));
      this.#meter.addFile();
    } catch (error) {
      // Only what the file did is the file's failure; what the store did ends the import.
      if (source.error === undefined) throw error;
      this.#fail(item.key, source.error);
    }
  }

  async #stream(
    item: FoundEntry,
    hardLink: Uint8Array | undefined,
    source: { error?: unknown },
  ): Promise<void> {
    source.error = undefined;
    const file = await noting(source, () => openRegular(item.path));
    let read = 0;
    const onBytes = (bytes: number): void => {
      read += bytes;
      this.#meter.add(bytes);
    };
    const onError = (error: unknown): void => {
      source.error = error;
    };
    try {
      const key = this.#keyOf(item);
      const metadata = fileMetadata(file.stat, item, hardLink);
      const value = directFile(file, onBytes, onError);
      await this.#store.put(key, value, { metadata, signal: this.#options.signal });
    } catch (error) {
      this.#meter.bytes -= read;
      throw source.error ?? error;
    } finally {
      await file.handle.close();
    }
  }

  #fail(path: Uint8Array, error: unknown): void {
    const reason = error instanceof Error ? error.message : String(error);
    this.#failed.add({ path, reason, code: errnoOf(error) });
  }
}

async function prepareLink(key: Uint8Array, item: FoundEntry): Promise<Prepared> {
  const target = await readlink(item.path, { encoding: 'buffer' });
  return { item, operation: putOf(key, item, target) };
}

function putOf(key: Uint8Array, item: FoundEntry, target?: Uint8Array): Prepared['operation'] {
  const type = item.kind === 'directory' ? 'directory' : 'symlink';
  return { type: 'put', key, value: emptyBytes, metadata: treeMetadata(type, item.stat, { target }) };
}

/** What lies under the name now need not be the file that was met, and then shares nothing with others. */
function fileMetadata(stat: BigIntStats, item: FoundEntry, hardLink: Uint8Array | undefined): UserMetadata {
  const isSame = stat.dev === item.stat.dev && stat.ino === item.stat.ino;
  return treeMetadata('file', stat, isSame ? { hardLink } : {});
}

function skipReason(item: FoundEntry): string {
  const { stat } = item;
  if (stat.isFIFO()) return 'a named pipe';
  if (stat.isSocket()) return 'a socket';
  if (stat.isBlockDevice() || stat.isCharacterDevice()) return 'a device';
  return stat.isDirectory() ? 'the store itself' : 'neither file, directory nor link';
}

function isChange(error: unknown): boolean {
  return error instanceof Error && error.message === changedError().message;
}

/** Runs `attempt`, and once more when the file changed under it. */
async function twice<T>(attempt: () => Promise<T>): Promise<T> {
  try {
    return await attempt();
  } catch (error) {
    if (!isChange(error)) throw error;
    return await attempt();
  }
}

async function noting<T>(source: { error?: unknown }, call: () => Promise<T>): Promise<T> {
  try {
    return await call();
  } catch (error) {
    source.error = error;
    throw error;
  }
}
