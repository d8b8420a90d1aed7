/** Errors of the file-system port: one mapping from the operating system's names to the engine's codes. */
import os from 'node:os';
import { readOperations, VarveError } from '../base/errors.ts';

const noSpace: ReadonlySet<string> = new Set(['ENOSPC', 'EDQUOT', 'EFBIG']);

const otherOperations =
  'write|sync|dataSync|truncate|create|chmod|mkdir|rename|link|unlink|rmdir|close|statfs';
const operations = new RegExp(`^(${readOperations.join('|')}|${otherOperations})\\b`);

/**
 * The error of a refused operation: VARVE_NO_SPACE for ENOSPC, EDQUOT and EFBIG, VARVE_IO otherwise.
 * `what` completes "<path>: <what>"; the operation it begins with is kept.
 */
export function fsError(errno: string | undefined, what: string, path: string, cause?: unknown): VarveError {
  const full = errno !== undefined && noSpace.has(errno);
  const operation = operations.exec(what)?.[0];
  const name = errno === undefined ? '' : ` (${errno})`;
  return new VarveError(full ? 'VARVE_NO_SPACE' : 'VARVE_IO', `${path === '' ? '.' : path}: ${what}${name}`, {
    file: path,
    ...(operation === undefined ? {} : { operation }),
    ...(errno === undefined ? {} : { errno }),
    ...(cause === undefined ? {} : { cause }),
  });
}

/** The operating system's name of a Node error (ENOENT, …), undefined for anything else. */
export function errnoOf(error: unknown): string | undefined {
  if (!(error instanceof Error) || !('code' in error)) return undefined;
  const code: unknown = error.code;
  if (typeof code !== 'string') return undefined;
  if (/^E[A-Z0-9]+$/.test(code)) return code;
  // Node has no name for some, EDQUOT among them; the number is the system's, negated.
  if (!code.startsWith('Unknown system error') || !('errno' in error)) return undefined;
  const { errno } = error;
  return Object.entries(os.constants.errno).find(([, number]) => number === -Number(errno))?.[0];
}

/** VARVE_READ_ONLY: a port opened read-only was asked to change something. */
export function readOnlyPort(what: string, path: string): VarveError {
  return new VarveError('VARVE_READ_ONLY', `${path}: ${what} refused, the directory was opened read-only`, {
    file: path,
  });
}
