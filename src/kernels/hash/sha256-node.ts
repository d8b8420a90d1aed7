/**
 * SHA-256 by node:crypto.
 *
 * The one-shot `crypto.hash` with a 'latin1' result (32 characters, one per byte) costs 0.3 us a call; a
 * Buffer result costs 0.4 us more and `createHash` 0.8 us more, which shows at chunks of 4 KiB. Where a
 * runtime lacks one of the two functions this takes, the next slower form is used.
 */
import crypto from 'node:crypto';
import { assert } from '../../base/assert.ts';
import { type IncrementalSha256, type Sha256Provider, sha256Bytes } from './sha256.ts';

type IntoForm = Sha256Provider['into'];
/** Writes `text` into the array it is called on, one byte per character; returns the bytes written. */
type Latin1Write = (this: Uint8Array, text: string, at: number, length: number) => number;

/** SHA-256 by node:crypto, in the fastest form the runtime has. */
export const nodeSha256: Sha256Provider = {
  name: 'node:crypto',
  into: chooseForm(),
  incremental: () => new NodeIncremental(),
  ...(typeof crypto.hash === 'function' ? { hex: (bytes) => crypto.hash('sha256', bytes, 'hex') } : {}),
};

/** The form for runtimes without the one-shot function; exported for the tests to cover. */
export function intoByCreateHash(
  buf: Uint8Array,
  from: number,
  to: number,
  out: Uint8Array,
  at: number,
): void {
  out.set(crypto.createHash('sha256').update(buf.subarray(from, to)).digest(), at);
}

/** The one-shot form for runtimes whose Buffer has no latin1Write; exported for the tests to cover. */
export function intoByCharCodes(
  buf: Uint8Array,
  from: number,
  to: number,
  out: Uint8Array,
  at: number,
): void {
  const text = oneShot(buf.subarray(from, to));
  for (let i = 0; i < sha256Bytes; i++) out[at + i] = text.charCodeAt(i);
}

/** The digest as a string of 32 characters U+0000 to U+00FF. */
function oneShot(bytes: Uint8Array): string {
  // 'latin1' is an encoding Node documents for buffers and accepts here; its types list only text encodings.
  return crypto.hash('sha256', bytes, 'latin1' as 'binary');
}

function chooseForm(): IntoForm {
  if (typeof crypto.hash !== 'function') return intoByCreateHash;
  const latin1Write: unknown = Reflect.get(Buffer.prototype, 'latin1Write');
  if (typeof latin1Write !== 'function') return intoByCharCodes;
  return intoByLatin1Write(latin1Write as Latin1Write);
}

function intoByLatin1Write(latin1Write: Latin1Write): IntoForm {
  return (buf, from, to, out, at) => {
    const written = latin1Write.call(out, oneShot(buf.subarray(from, to)), at, sha256Bytes);
    assert(written === sha256Bytes, 'a digest is written whole');
  };
}

class NodeIncremental implements IncrementalSha256 {
  readonly #hash = crypto.createHash('sha256');

  update(bytes: Uint8Array): void {
    this.#hash.update(bytes);
  }

  digest(): Uint8Array {
    return new Uint8Array(this.#hash.digest());
  }
}
