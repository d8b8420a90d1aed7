/**
 * The one error class of the engine and its stable codes.
 *
 * Callers match on `code`; messages may change. `retryable` says that the same call may succeed later
 * without anything being repaired (a lock released, a conflict resolved by re-reading).
 */

/** Every code the engine throws. Codes are never renamed or reused; docs/GLOSSARY.md lists their meaning. */
export const errorCodes = {
  VARVE_LOCKED: 'another process or engine has the store open for writing',
  VARVE_CORRUPT: 'bytes on disk fail a check; file, offset, expected and actual say where',
  VARVE_NOT_FOUND: 'no such key, store or file',
  VARVE_CONFLICT: 'a condition given with the write (ifSeq, errorIfExists) does not hold',
  VARVE_CLOSED: 'the engine is closed or closing',
  VARVE_INVALID_ARGUMENT: 'an argument or option is not acceptable; nothing was written',
  VARVE_NO_SPACE: 'the disk or a configured bound is full',
  VARVE_QUOTA: 'the values of a space would take more than its quota; nothing was written',
  VARVE_IO: 'the operating system refused a file operation; errno says why',
  VARVE_POISONED: 'an earlier write or sync failed: reads go on, writes need the store reopened',
  VARVE_READ_ONLY: 'the store is open read-only, or degraded after damage (see cause)',
  VARVE_FORMAT_VERSION: 'the store uses a format or feature this build does not know',
  VARVE_COMMIT_UNKNOWN: 'the commit was handed to the disk and its sync failed: it may or may not survive',
  VARVE_HISTORY_GONE: 'the asked-for point in time is no longer readable',
  VARVE_SNAPSHOT_EXPIRED: 'a view is too old, or the files a reader opened with are gone: open it again',
  VARVE_NOT_READY: 'what the call needs is still being made in the background, as an index is',
  VARVE_ABORTED: 'the AbortSignal given to the call fired; nothing became visible',
} as const;

/** A stable error code. */
export type VarveErrorCode = keyof typeof errorCodes;

/** Fields that locate an error, all optional. */
export interface VarveErrorFields {
  cause?: unknown;
  retryable?: boolean;
  /** Path relative to the store directory (or as given by the caller). */
  file?: string;
  /** Byte offset in `file`. */
  offset?: number;
  expected?: unknown;
  actual?: unknown;
  /** Operating system error name such as ENOSPC, for VARVE_IO and VARVE_NO_SPACE. */
  errno?: string;
  /** The file operation that was refused, such as read or write, for VARVE_IO and VARVE_NO_SPACE. */
  operation?: string;
}

const retryableByDefault: ReadonlySet<VarveErrorCode> = new Set([
  'VARVE_LOCKED',
  'VARVE_CONFLICT',
  'VARVE_NOT_READY',
]);

/** The only class the engine throws. `code` is stable; `file` and `offset` locate damage. */
export class VarveError extends Error {
  override readonly name: string = 'VarveError';
  readonly code: VarveErrorCode;
  readonly retryable: boolean;
  readonly file?: string;
  readonly offset?: number;
  readonly expected?: unknown;
  readonly actual?: unknown;
  readonly errno?: string;
  readonly operation?: string;

  constructor(code: VarveErrorCode, message: string, fields: VarveErrorFields = {}) {
    super(message, fields.cause === undefined ? undefined : { cause: fields.cause });
    this.code = code;
    this.retryable = fields.retryable ?? retryableByDefault.has(code);
    if (fields.file !== undefined) this.file = fields.file;
    if (fields.offset !== undefined) this.offset = fields.offset;
    if (fields.expected !== undefined) this.expected = fields.expected;
    if (fields.actual !== undefined) this.actual = fields.actual;
    if (fields.errno !== undefined) this.errno = fields.errno;
    if (fields.operation !== undefined) this.operation = fields.operation;
  }
}

/** Where bytes came from, for error messages. */
export interface Place {
  file: string;
  /** Absolute offset of the structure in `file`; 0 when omitted. */
  offset?: number;
}

/** VARVE_CORRUPT at `place`. */
export function corrupt(what: string, place: Place, expected?: unknown, actual?: unknown): VarveError {
  const at = place.offset === undefined ? '' : ` at offset ${place.offset}`;
  const detail = expected === undefined ? '' : ` (expected ${show(expected)}, found ${show(actual)})`;
  return new VarveError('VARVE_CORRUPT', `${place.file}${at}: ${what}${detail}`, {
    file: place.file,
    ...(place.offset === undefined ? {} : { offset: place.offset }),
    expected,
    actual,
  });
}

/** VARVE_INVALID_ARGUMENT with a message that says what is acceptable. */
export function invalid(message: string, fields: VarveErrorFields = {}): VarveError {
  return new VarveError('VARVE_INVALID_ARGUMENT', message, fields);
}

/** True when `error` is a VarveError with one of `codes` (any code when none is given). */
export function isVarveError(error: unknown, ...codes: VarveErrorCode[]): error is VarveError {
  return error instanceof VarveError && (codes.length === 0 || codes.includes(error.code));
}

/** Operations that change nothing: one that fails says that the disk does not give back what is there. */
export const readOperations: readonly string[] = ['open', 'read', 'stat', 'fstat', 'lookup', 'list', 'size'];

/** The disk cannot read what is there. A write it refuses says nothing of a file: whoever wrote was told. */
function isUnreadable({ errno, operation }: VarveError): boolean {
  return errno === 'EIO' && (operation === undefined || readOperations.includes(operation));
}

/**
 * An error of the moment (no descriptors left, no permission, a write refused), not of the file: nothing is
 * damaged by it.
 */
export function isPassing(error: unknown): boolean {
  return isVarveError(error, 'VARVE_IO') && error.errno !== 'ENOENT' && !isUnreadable(error);
}

/** Damage of a file: its bytes fail a check, or the disk cannot read them (EIO). */
export function isDamage(error: unknown): error is VarveError {
  return isVarveError(error, 'VARVE_CORRUPT') || (isVarveError(error, 'VARVE_IO') && isUnreadable(error));
}

/** Damage because a file is not there, as an error whose cause says so. */
export function isGoneFile(error: unknown): error is VarveError {
  return isVarveError(error, 'VARVE_CORRUPT') && isVarveError(error.cause) && error.cause.errno === 'ENOENT';
}

const hexByte = (byte: number): string => byte.toString(16).padStart(2, '0');

function show(value: unknown): string {
  if (typeof value === 'bigint') return `0x${value.toString(16)}`;
  if (value instanceof Uint8Array) return Array.from(value.subarray(0, 32), hexByte).join('');
  return String(value);
}
