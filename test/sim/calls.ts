/** Pieces of calls: keys and spaces as the engine takes them, errors as the oracle takes them. */
import { decodeUtf8, fromHex } from '../../src/base/bytes.ts';
import { isVarveError } from '../../src/base/errors.ts';
import type { Engine } from '../../src/engine/engine.ts';
import type { BatchOperation } from '../../src/engine/types.ts';
import type { Outcome } from './attempts.ts';
import type { SimOp } from './plan.ts';
import { coversNothing, keyRangeOf } from './ranges.ts';
import type { Scheduler } from './scheduler.ts';
import { givenOf } from './values.ts';

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
    isVarveError(error, 'VARVE_ABORTED', 'VARVE_POISONED', 'VARVE_READ_ONLY', 'VARVE_CLOSED', 'VARVE_QUOTA');
  return isBefore ? 'never' : 'unknown';
}

/** Makes a call whose signal is aborted before it, right after it, or a moment later: its number decides. */
export async function aborted<T>(
  scheduler: Scheduler,
  number: number,
  call: (signal: AbortSignal) => Promise<T>,
): Promise<T> {
  const aborter = new AbortController();
  if (number % 4 === 0) aborter.abort();
  const result = call(aborter.signal);
  // Its error is for who awaits the result.
  result.catch(() => undefined);
  if (number % 4 > 1) await scheduler.turn('abort');
  aborter.abort();
  return await result;
}

/** Operations of the batch that call `id` makes; a condition is the first one's. */
export function operationsOf(
  changes: Extract<SimOp, { kind: 'batch' }>['changes'],
  number: number,
  id: number,
  ifSeq: number | undefined,
): BatchOperation[] {
  return changes.map(({ key, value }, i): BatchOperation => {
    if (value === null) return { type: 'delete', key: keyOf(key, number) };
    const condition = i === 0 && ifSeq !== undefined ? { ifSeq } : {};
    return {
      type: 'put',
      key: keyOf(key, number),
      value: givenOf(value),
      metadata: { id },
      ...condition,
    };
  });
}

export type RangeOp = Extract<SimOp, { kind: 'deleteRange' | 'clear' | 'drop' }>;

/** Makes a call that removes many keys; what became of it, with its commit where the call tells. */
export async function removeRange(
  engine: Engine,
  op: RangeOp,
  more: { signal?: AbortSignal } = {},
): Promise<{ outcome: Outcome; seq?: number }> {
  if (op.kind === 'drop') return { outcome: (await engine.spaces.drop(op.space, more)) ? 'done' : 'nothing' };
  const space = spaceOf(engine, op.space);
  if (op.kind !== 'deleteRange') return { outcome: 'done', ...(await space.clear(more)) };
  const { seq } = await space.deleteRange({ ...keyRangeOf(op.bounds), ...more });
  return coversNothing(op.bounds) ? { outcome: 'nothing' } : { outcome: 'done', seq };
}

/** A call, for messages. */
export function describe(op: SimOp): string {
  const text = JSON.stringify(op);
  return text.length > 300 ? `${text.slice(0, 300)}…` : text;
}
