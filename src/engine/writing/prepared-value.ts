/** Values on their way into a transaction. */
import type { PutGuard } from '../../chunk/put-guard.ts';
import { decodeMetadata, encodeMetadata } from '../../format/metadata.ts';
import { sha256 } from '../../kernels/hash/sha256.ts';
import type { NamedChunks } from '../../value/value-ingest.ts';
import { inlineBody, type ValueBody } from '../../value/value-writer.ts';
import type { WholeIngest } from '../../value/whole-ingest.ts';

/** A value ready to be named by a transaction. */
export interface Prepared {
  readonly body: ValueBody;
  readonly named: NamedChunks | undefined;
  readonly sha256: Uint8Array | undefined;
  readonly newChunks: number;
  readonly newBytes: number;
  readonly release: () => void;
}

/** The same metadata with the digest of the whole value; as encoded where there is none. */
export function withSha256(
  encoded: Uint8Array | undefined,
  whole: Uint8Array | undefined,
): Uint8Array | undefined {
  if (whole === undefined) return encoded;
  const given = encoded === undefined ? {} : decodeMetadata(encoded, { file: 'metadata given to put' });
  return encodeMetadata({ ...given, system: { sha256: whole } });
}

/** An inline value; `bytes` is taken. */
export function inlineValue(bytes: Uint8Array, wantsSha256: boolean): Prepared {
  const whole = wantsSha256 ? sha256(bytes) : undefined;
  return {
    body: inlineBody(bytes),
    named: undefined,
    sha256: whole,
    newChunks: 0,
    newBytes: 0,
    release: () => undefined,
  };
}

/**
 * A value of a few chunks, stored in this very turn; `bytes` is borrowed for the call. Undefined, with
 * nothing stored, for a longer one and where it has to wait. Errors as WholeIngest.take.
 */
export function wholeValue(
  ingest: WholeIngest,
  guard: PutGuard,
  bytes: Uint8Array,
  wantsSha256: boolean,
): Prepared | undefined {
  if (bytes.length > ingest.bytesMax) return undefined;
  const claims = guard.begin();
  try {
    const stored = ingest.take(bytes, claims);
    if (stored === undefined) return undefined;
    const whole = wantsSha256 ? sha256(bytes) : undefined;
    return { ...stored, sha256: whole, release: () => claims.release() };
  } catch (error) {
    claims.release();
    throw error;
  }
}

/** The pieces kept so far, then the rest of their source. */
export async function* chain(
  head: readonly Uint8Array[],
  rest: AsyncIterable<Uint8Array>,
): AsyncGenerator<Uint8Array> {
  yield* head;
  yield* rest;
}
