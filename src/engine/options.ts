/**
 * The options of openEngine: checked whole before anything is touched. An unknown name is an error, so that a
 * typing mistake never silently keeps a default.
 */
import type { Clock } from '../base/clock.ts';
import { invalid } from '../base/errors.ts';
import { GiB, historyMsMax, inlineBytesMax, KiB, logBytesTarget, MiB, workersMax } from '../base/limits.ts';
import { checkNames } from '../base/names.ts';
import type { Durability } from '../log/group-options.ts';
import { checkScrubbing, type ScrubbingOptions, type ScrubSettings } from './health/scrub-options.ts';
import { type CheckedMemory, checkMemory, type MemoryOptions } from './memory-options.ts';
import { flag, integer, oneOf } from './option-checks.ts';

/** How values are cut into chunks. Fixed when the store is created and kept in its superblock. */
export interface ChunkingOptions {
  /** Default 'sieve': as good as 'fastcdc' at finding duplicates, and faster (docs/TUNING.md). */
  algorithm?: 'fastcdc' | 'sieve';
  /** Bytes; 64 or more. */
  min?: number;
  /** Bytes; the mean chunk size on random data. */
  avg?: number;
  /** Bytes; at most 16 MiB. */
  max?: number;
}

/** How space is reclaimed in the background. */
export interface CleaningOptions {
  /** Segments with much garbage are emptied while the store is in use. Default true. */
  enabled?: boolean;
  /** Bytes it reads and writes a second. Default 64 MiB. */
  bytesPerSecond?: number;
  /** Garbage as a share of all chunk data that is let be, 0.05 to 0.9. Default 0.15. */
  maxGarbage?: number;
}

/** What is kept for change feeds beside what recovery needs. */
export interface ChangesRetention {
  /**
   * Old log files are kept until they hold this many bytes; the log holds each value that lies in its row,
   * and for others what they consist of. Default: 16 MiB, of which only whole files stay that take no more
   * than a 64th of the store together, or 1 MiB. 0 keeps none.
   */
  bytes?: number;
}

/** Where the engine says what it does; silent without one. */
export interface Logger {
  debug?(message: string, fields?: object): void;
  info?(message: string, fields?: object): void;
  warn?(message: string, fields?: object): void;
  error?(message: string, fields?: object): void;
}

/** How much of the past stays readable besides named snapshots and open views. */
export interface HistoryOptions {
  /** So many of the newest superseded versions of each key; a deletion counts as one. Default 0. */
  versions?: number;
  /** Every state of the last so many ms. Default 0. */
  ms?: number;
}

/** Options of openEngine. Everything has a default. */
export interface EngineOptions {
  /**
   * 'full' (default): acknowledged = on disk. `{ groupMs }`: acknowledged = handed to the kernel, on disk
   * within that many ms. 'os': handed to the kernel, so a killed process loses nothing and a power cut may
   * lose the last commits, never one from the middle. Fixed while the engine is open.
   */
  durability?: Durability;
  chunking?: ChunkingOptions;
  /**
   * Values of up to and including this many bytes live in the metadata index. Default 1024; fixed at
   * creation.
   */
  inlineMax?: number;
  /**
   * What scan returns keys as. Default 'utf8': a key that is not valid UTF-8 is then an error of the scan.
   */
  keyEncoding?: 'utf8' | 'bytes';
  /**
   * Threads that cut and hash large values (about 1 MiB and more) and check what is read with `verify`. 0:
   * the calling thread alone. 'auto' (default): as the machine has cores, at most 4. They start
   * where that pays (a value over 64 MiB, or so much in values over 1 MiB; up to 512 MiB where the processor
   * computes SHA-256 by instructions of its own), end when idle, and never change what is stored.
   */
  workers?: 'auto' | number;
  memory?: MemoryOptions;
  /**
   * How much history is kept, of every space that has no policy of its own. Kept in the store: left out, what
   * was asked for last goes on. A reader cannot change it.
   */
  history?: HistoryOptions;
  /** How far back `changes` can begin. Not kept in the store. */
  changesRetention?: ChangesRetention;
  /**
   * Bytes of the log at which a checkpoint begins, should memtables not be full before: what an open after a
   * kill has to read. Default 64 MiB.
   */
  checkpointLogBytes?: number;
  /** A view that is older fails with VARVE_SNAPSHOT_EXPIRED and holds nothing any more. Default 0: never. */
  maxViewAgeMs?: number;
  cleaning?: CleaningOptions;
  /**
   * Checks the files in the background and remembers across restarts which were found sound. Default: not.
   */
  scrub?: ScrubbingOptions;
  /**
   * Free bytes on the disk below which puts are refused with VARVE_NO_SPACE, while deletes and compact go on.
   * Default: what memory still has to write, what segments not yet full hold (an open after a crash copies
   * it), and a 64th of the store (64 MiB at most). 0: none.
   */
  freeSpaceFloorBytes?: number;
  /** Opens without a lock and without writing a byte; the store is seen as it was at that moment. */
  readOnly?: boolean;
  /** Default true. When false a missing store is VARVE_NOT_FOUND. */
  createIfMissing?: boolean;
  /** When true an existing store is VARVE_CONFLICT. */
  errorIfExists?: boolean;
  /** How long to wait for another writer to close, ms. Default 0. */
  lockWaitMs?: number;
  /**
   * Takes the lock from an owner that cannot be proved dead (another host or container), after its record
   * stood still for a minute. Never from a process known to live. Default false.
   */
  breakLock?: boolean;
  /** A damaged store opens read-only ('readonly', default) or not at all ('throw'). */
  onDegraded?: 'readonly' | 'throw';
  logger?: Logger;
  clock?: Clock;
  signal?: AbortSignal;
}

/** The options with every default filled in. */
export interface CheckedOptions {
  readonly durability: Durability;
  /** Undefined where the caller left it to the store (or to the default, at creation). */
  readonly chunking: ChunkingOptions | undefined;
  readonly inlineMax: number | undefined;
  readonly keyEncoding: 'utf8' | 'bytes';
  readonly workers: 'auto' | number;
  readonly memory: CheckedMemory;
  /** Undefined: as the store has it. */
  readonly history: Required<HistoryOptions> | undefined;
  /** Bytes of old log files; undefined: `logHistoryBytes`, as far as the size of the store allows. */
  readonly changesRetention: number | undefined;
  readonly checkpointLogBytes: number;
  readonly maxViewAgeMs: number;
  readonly cleaning: Required<CleaningOptions>;
  /** Undefined: nothing is checked in the background. */
  readonly scrub: ScrubSettings | undefined;
  /** Undefined: by the size of the store. */
  readonly freeSpaceFloorBytes: number | undefined;
  readonly readOnly: boolean;
  readonly createIfMissing: boolean;
  readonly errorIfExists: boolean;
  readonly lockWaitMs: number;
  readonly breakLock: boolean;
  readonly onDegraded: 'readonly' | 'throw';
  readonly logger: Logger;
  readonly clock: Clock | undefined;
  readonly signal: AbortSignal | undefined;
}

/** Used at creation where nothing else is asked for. */
export const defaultChunking: Required<ChunkingOptions> = {
  algorithm: 'sieve',
  min: 4 * KiB,
  avg: 16 * KiB,
  max: 64 * KiB,
};
export const defaultInlineMax = 1024;

const defaultCleaning: Required<CleaningOptions> = {
  enabled: true,
  bytesPerSecond: 64 * MiB,
  maxGarbage: 0.15,
};

const engineNames: readonly (keyof EngineOptions)[] = [
  'durability',
  'chunking',
  'inlineMax',
  'keyEncoding',
  'workers',
  'memory',
  'history',
  'changesRetention',
  'checkpointLogBytes',
  'maxViewAgeMs',
  'cleaning',
  'scrub',
  'freeSpaceFloorBytes',
  'readOnly',
  'createIfMissing',
  'errorIfExists',
  'lockWaitMs',
  'breakLock',
  'onDegraded',
  'logger',
  'clock',
  'signal',
];

/** VARVE_INVALID_ARGUMENT names the first option that is unknown or out of range. */
export function checkOptions(options: EngineOptions = {}): CheckedOptions {
  checkNames(options, engineNames, 'option');
  const chunking = options.chunking;
  if (chunking !== undefined) checkNames(chunking, ['algorithm', 'min', 'avg', 'max'], 'chunking option');
  if (options.readOnly === true && options.errorIfExists === true) {
    throw invalid('errorIfExists and readOnly exclude each other');
  }
  return {
    durability: checkDurability(options.durability),
    chunking,
    inlineMax:
      options.inlineMax === undefined
        ? undefined
        : integer('inlineMax', options.inlineMax, 0, inlineBytesMax),
    keyEncoding: oneOf('keyEncoding', options.keyEncoding ?? 'utf8', ['utf8', 'bytes']),
    workers: checkWorkers(options.workers ?? 'auto'),
    memory: checkMemory(options.memory ?? {}),
    changesRetention: checkRetention(options.changesRetention ?? {}),
    checkpointLogBytes: integer(
      'checkpointLogBytes',
      options.checkpointLogBytes ?? logBytesTarget,
      64 * KiB,
      GiB,
    ),
    history: options.history === undefined ? undefined : checkHistory(options.history),
    maxViewAgeMs: integer('maxViewAgeMs', options.maxViewAgeMs ?? 0, 0, historyMsMax),
    cleaning: checkCleaning(options.cleaning ?? {}),
    scrub: options.scrub === undefined ? undefined : checkScrubbing(options.scrub),
    freeSpaceFloorBytes:
      options.freeSpaceFloorBytes === undefined
        ? undefined
        : integer('freeSpaceFloorBytes', options.freeSpaceFloorBytes, 0, Number.MAX_SAFE_INTEGER),
    readOnly: flag('readOnly', options.readOnly, false),
    createIfMissing: flag('createIfMissing', options.createIfMissing, true),
    errorIfExists: flag('errorIfExists', options.errorIfExists, false),
    lockWaitMs: integer('lockWaitMs', options.lockWaitMs ?? 0, 0, 2 ** 31 - 1),
    breakLock: flag('breakLock', options.breakLock, false),
    onDegraded: oneOf('onDegraded', options.onDegraded ?? 'readonly', ['readonly', 'throw']),
    logger: options.logger ?? {},
    clock: options.clock,
    signal: options.signal,
  };
}

/** A byte range: `end` exclusive. VARVE_INVALID_ARGUMENT unless 0 <= start <= end are integers. */
export function checkRange(
  start: number | undefined,
  end: number | undefined,
): { start: number; end: number | undefined } {
  const from = integer('start', start ?? 0, 0, Number.MAX_SAFE_INTEGER);
  if (end !== undefined) integer('end', end, from, Number.MAX_SAFE_INTEGER);
  return { start: from, end };
}

function checkWorkers(given: 'auto' | number): 'auto' | number {
  return given === 'auto' ? given : integer("workers (other than 'auto')", given, 0, workersMax);
}

function checkDurability(given: Durability | undefined): Durability {
  if (given === undefined || given === 'full') return 'full';
  if (given === 'os') return given;
  if (typeof given === 'object' && given !== null) {
    checkNames(given, ['groupMs'], 'durability option');
    return { groupMs: integer('durability.groupMs', given.groupMs, 1, 60_000) };
  }
  throw invalid("durability must be 'full', 'os' or { groupMs }");
}

/** VARVE_INVALID_ARGUMENT names what is unknown or out of range. */
export function checkHistory(given: HistoryOptions): Required<HistoryOptions> {
  checkNames(given, ['versions', 'ms'], 'history option');
  return {
    versions: integer('history.versions', given.versions ?? 0, 0, 2 ** 32 - 1),
    ms: integer('history.ms', given.ms ?? 0, 0, historyMsMax),
  };
}

function checkRetention(given: ChangesRetention): number | undefined {
  checkNames(given, ['bytes'], 'changesRetention option');
  if (given.bytes === undefined) return undefined;
  return integer('changesRetention.bytes', given.bytes, 0, 1024 * GiB);
}

function checkCleaning(given: CleaningOptions): Required<CleaningOptions> {
  checkNames(given, Object.keys(defaultCleaning), 'cleaning option');
  const { bytesPerSecond, maxGarbage } = { ...defaultCleaning, ...given };
  if (typeof maxGarbage !== 'number' || !(maxGarbage >= 0.05 && maxGarbage <= 0.9)) {
    throw invalid('cleaning.maxGarbage must be a number from 0.05 to 0.9', { actual: maxGarbage });
  }
  return {
    enabled: flag('cleaning.enabled', given.enabled, defaultCleaning.enabled),
    bytesPerSecond: integer('cleaning.bytesPerSecond', bytesPerSecond, 64 * KiB, 1024 * GiB),
    maxGarbage,
  };
}
