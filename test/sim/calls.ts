/** Pieces of calls: keys and spaces as the engine takes them, errors as the oracle takes them. */
import { decodeUtf8, fromHex } from '../../src/base/bytes.ts';
import { isVarveError } from '../../src/base/errors.ts';
import type { Engine } from '../../src/engine/engine.ts';
import type { Outcome } from './oracle.ts';
import type { SimOp } from './plan.ts';

/** What a stream throws that breaks off. */
export class StreamBroke extends Error {}

/** The space of an engine by name. */
export const spaceOf = (engine: Engine, name: string): Engine => (name === '' ? engine : engine.space(name));

/** A key as callers give it: as text where it is text and the call's number is even. */
export function keyOf(hex: string, n: number): string | Uint8Array {
  const bytes = fromHex(hex);
  return n % 2 === 0 ? (decodeUtf8(bytes) ?? bytes) : bytes;
}

/** An error with its stack and its causes. */
export function inFull(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  const text = error.stack ?? error.message;
  return error.cause === undefined ? text : `${text}\nbecause of ${inFull(error.cause)}`;
}

/** What became of a call that writes, by the error it ended with. */
export function outcomeOf(error: unknown): Outcome {
  if (isVarveError(error, 'VARVE_CONFLICT')) return 'conflict';
  const isBefore =
    error instanceof StreamBroke ||
    isVarveError(error, 'VARVE_ABORTED', 'VARVE_POISONED', 'VARVE_READ_ONLY', 'VARVE_CLOSED');
  return isBefore ? 'never' : 'unknown';
}

/** A call, for messages. */
export function describe(op: SimOp): string {
  const text = JSON.stringify(op);
  return text.length > 300 ? `${text.slice(0, 300)}…` : text;
}
