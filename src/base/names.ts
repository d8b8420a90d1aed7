/** Names of options and fields: one that is not known is an error, never ignored. Pure. */
import { invalid } from './errors.ts';

/**
 * VARVE_INVALID_ARGUMENT when `given` is not an object, has a name that is not in `names`, or a `signal` that
 * is none. `what` is one of the names, in the words of an error: 'scan option'.
 */
export function checkNames(given: object, names: readonly string[], what: string): void {
  if (typeof given !== 'object' || given === null || Array.isArray(given))
    throw invalid(`${what}s must be an object`);
  for (const name of Object.keys(given)) {
    if (!names.includes(name))
      throw invalid(`unknown ${what} ${JSON.stringify(name)}; known: ${names.join(', ')}`);
    if (name === 'signal') checkSignal((given as { signal?: unknown }).signal);
  }
}

/** What is no signal would never abort anything. */
function checkSignal(signal: unknown): void {
  if (signal === undefined) return;
  const { aborted, addEventListener } = (signal ?? {}) as Partial<AbortSignal>;
  if (typeof aborted !== 'boolean' || typeof addEventListener !== 'function')
    throw invalid('signal must be an AbortSignal');
}

/**
 * VARVE_INVALID_ARGUMENT unless each of these options was left out, or is true or false: of a 'yes' nobody
 * knows whether a dry run was meant.
 */
export function checkFlags<T extends object>(given: T, names: readonly (keyof T & string)[]): void {
  for (const name of names) {
    const value: unknown = given[name];
    if (value !== undefined && typeof value !== 'boolean') throw invalid(`${name} must be true or false`);
  }
}

/** VARVE_INVALID_ARGUMENT unless each of these options was left out, or is a function. */
export function checkFunctions<T extends object>(given: T, names: readonly (keyof T & string)[]): void {
  for (const name of names) {
    const value: unknown = given[name];
    if (value !== undefined && typeof value !== 'function') throw invalid(`${name} must be a function`);
  }
}
