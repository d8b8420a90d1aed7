/** Turning callers' keys and values into bytes, and bytes back into keys. */
import { decodeUtf8, encodeUtf8, toHex } from '../base/bytes.ts';
import { invalid, VarveError } from '../base/errors.ts';
import { keyBytesMax } from '../base/limits.ts';
import { encodeRowPrefix, writeRowPrefix, writeRowPrefixText } from '../format/internal-key.ts';
import { copyOut } from '../value/value-copy.ts';
import type { Bytes, Key } from './types.ts';

/**
 * Bytes of a key: UTF-8 for strings, the array itself (borrowed) else. VARVE_INVALID_ARGUMENT when it is no
 * key.
 */
export function keyBytes(key: Key, what = 'key'): Uint8Array {
  if (typeof key === 'string') return bounded(encodeUtf8(key, what), what);
  if (key instanceof Uint8Array) return bounded(key, what);
  throw invalid(`${what} must be a string or a Uint8Array`);
}

/** Row prefix of a caller's key in a space, a fresh array. */
export function rowPrefix(space: number, key: Key): Uint8Array {
  return encodeRowPrefix(space, keyBytes(key));
}

/** Memory that is used again for one key after the other. */
export interface KeyRoom {
  /** Room for so many bytes; what was there before is lost. */
  scratch(bytes: number): Uint8Array;
}

/** Writes the row prefix of a caller's key to the start of the room and returns its length; makes nothing. */
export function writeKey(room: KeyRoom, space: number, key: Key): number {
  if (typeof key === 'string') {
    return writeRowPrefixText(room.scratch(6 + 3 * Math.min(key.length, keyBytesMax + 1)), 0, space, key);
  }
  if (key instanceof Uint8Array) {
    return writeRowPrefix(room.scratch(6 + 2 * Math.min(key.length, keyBytesMax + 1)), 0, space, key);
  }
  throw invalid('key must be a string or a Uint8Array');
}

function bounded(bytes: Uint8Array, what: string): Uint8Array {
  if (bytes.length > keyBytesMax) {
    throw invalid(`${what} is ${bytes.length} bytes long; at most ${keyBytesMax} are allowed`);
  }
  return bytes;
}

/** A key as scan returns it. With 'utf8', bytes that are not valid UTF-8 are VARVE_INVALID_ARGUMENT. */
export function keyOut(bytes: Uint8Array, encoding: 'utf8' | 'bytes'): Key {
  if (encoding === 'bytes') return bytes;
  const text = decodeUtf8(bytes);
  if (text === undefined) {
    throw invalid(`key ${toHex(bytes.subarray(0, 64))} is not valid UTF-8; open with keyEncoding: 'bytes'`);
  }
  return text;
}

/** `keyOut` of scratch[0..length), which is borrowed; keys of ASCII letters take a short way. */
export function userKeyOut(scratch: Buffer, length: number, encoding: 'utf8' | 'bytes'): Key {
  if (encoding === 'bytes') return copyOut(scratch, 0, length);
  let bits = 0;
  for (let i = 0; i < length; i++) bits |= scratch[i]!;
  if (bits < 0x80) return scratch.toString('latin1', 0, length);
  return keyOut(scratch.subarray(0, length), encoding);
}

/** A value given whole: its bytes (borrowed), or undefined for a stream. */
export function wholeBytes(value: Bytes): Uint8Array | undefined {
  if (value instanceof Uint8Array) return value;
  return typeof value === 'string' ? encodeUtf8(value, 'value') : undefined;
}

/** The pieces of a streamed value; VARVE_INVALID_ARGUMENT when it is not a stream of byte arrays. */
export async function* pieces(value: Bytes, signal: AbortSignal | undefined): AsyncGenerator<Uint8Array> {
  const source = value as AsyncIterable<Uint8Array>;
  if (typeof source !== 'object' || source === null || typeof source[Symbol.asyncIterator] !== 'function') {
    throw invalid(
      'value must be a string, a Uint8Array, an async iterable or a ReadableStream of Uint8Array',
    );
  }
  const iterator = source[Symbol.asyncIterator]();
  /** The source waits for its consumer: leaving now must end it. */
  let isWaiting = true;
  try {
    for (;;) {
      throwIfAborted(signal);
      isWaiting = false;
      const { value: piece, done } = await orAborted(iterator, signal);
      if (done === true) break;
      isWaiting = true;
      if (!(piece instanceof Uint8Array)) throw invalid('a streamed value must consist of Uint8Array pieces');
      yield piece;
    }
    throwIfAborted(signal);
  } finally {
    if (isWaiting) await iterator.return?.();
  }
}

/**
 * The next piece, or VARVE_ABORTED as soon as the signal fires: a source that stalls must not hold the call.
 */
function orAborted(
  iterator: AsyncIterator<Uint8Array>,
  signal: AbortSignal | undefined,
): Promise<IteratorResult<Uint8Array>> {
  if (signal === undefined) return iterator.next();
  return new Promise((resolve, reject) => {
    const onAbort = (): void => {
      reject(abortError(signal));
      // Ends the source once it answers; the call has failed already, so its outcome concerns nobody.
      Promise.resolve(iterator.return?.()).then(undefined, () => undefined);
    };
    signal.addEventListener('abort', onAbort, { once: true });
    const ended = (): void => signal.removeEventListener('abort', onAbort);
    Promise.resolve(iterator.next()).then(
      (step) => {
        ended();
        resolve(step);
      },
      (error: unknown) => {
        ended();
        reject(error);
      },
    );
  });
}

/** VARVE_ABORTED once the signal has fired. */
export function throwIfAborted(signal: AbortSignal | undefined): void {
  if (signal?.aborted) throw abortError(signal);
}

function abortError(signal: AbortSignal): VarveError {
  return new VarveError('VARVE_ABORTED', 'the call was aborted', { cause: signal.reason });
}
