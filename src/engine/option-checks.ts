/** Checks of single options, which name the option that is wrong. */
import { invalid } from '../base/errors.ts';

/** VARVE_INVALID_ARGUMENT unless it is an integer from `least` to `most`. */
export function integer(name: string, value: number, least: number, most: number): number {
  if (!Number.isInteger(value) || value < least || value > most) {
    throw invalid(`${name} must be an integer from ${least} to ${most}`, { actual: value });
  }
  return value;
}

/** True or false, `byDefault` where it was left out; VARVE_INVALID_ARGUMENT on anything else. */
export function flag(name: string, value: boolean | undefined, byDefault: boolean): boolean {
  if (value !== undefined && typeof value !== 'boolean') throw invalid(`${name} must be true or false`);
  return value ?? byDefault;
}

/** VARVE_INVALID_ARGUMENT unless it is one of `allowed`. */
export function oneOf<T extends string>(name: string, value: T, allowed: readonly T[]): T {
  if (!allowed.includes(value))
    throw invalid(`${name} must be one of ${allowed.join(', ')}`, { actual: value });
  return value;
}
