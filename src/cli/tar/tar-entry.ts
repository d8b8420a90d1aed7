/** What an archive says of each key: one line of JSON, in its manifest and in the header of its member. */
import { decodeUtf8, encodeUtf8, equalBytes, fromHex, isWellFormed, toHex } from '../../base/bytes.ts';
import { corrupt, isVarveError, type Place } from '../../base/errors.ts';
import { decodeMsgpack, encodeMsgpack } from '../../codec/msgpack.ts';
import type { EntryStat, PutOptions } from '../../engine/types.ts';
import type { UserMetadata } from '../../format/metadata.ts';
import { jsonValue } from '../io.ts';
import { keyOfPath, longPathOf } from './tar-paths.ts';

/** First member of every archive, the last two, and what marks the entries. */
export const aboutName = 'VARVE-EXPORT.json';
export const manifestName = 'MANIFEST.jsonl';
export const sumsName = 'SHA256SUMS';
export const commentMark = 'varve 1 ';

/** A key of an archive. */
export interface TarEntry {
  readonly space: string | undefined;
  readonly key: Uint8Array;
  readonly path: string;
  readonly size: number;
  /** Hex. */
  readonly sha256: string;
  readonly contentType?: string;
  readonly tags?: readonly string[];
  readonly metadata?: UserMetadata;
  readonly expiresMs?: number;
}

/** What is known of a key beside its place. */
export interface ArchivedKey {
  readonly space: string | undefined;
  readonly key: Uint8Array;
  readonly path: string;
  readonly sha256: string;
  readonly stat: EntryStat;
}

/** The line of an entry. Metadata is there twice: to be read by people, and exactly. */
export function entryLine({ space, key, path, sha256, stat }: ArchivedKey): string {
  const text = decodeUtf8(key);
  const { size, contentType, tags, metadata, created, modified, expires, seq } = stat;
  const line = {
    path,
    ...(text === undefined ? { keyHex: toHex(key) } : { key: text }),
    space,
    size,
    sha256,
    contentType,
    tags,
    metadata,
    metadataMsgpack:
      metadata === undefined
        ? undefined
        : Buffer.from(encodeMsgpack(metadata, 'metadata')).toString('base64'),
    created,
    modified,
    expires,
    seq,
  };
  return JSON.stringify(line, jsonValue);
}

/** An entry from its line, checked as input of others. VARVE_CORRUPT names what is wrong. */
export function parseEntry(line: string, place: Place): TarEntry {
  const given = parseObject(line, place);
  const { path, size, sha256, space, contentType, tags, expires } = given;
  const fail = (what: string): never => {
    throw corrupt(`entry of ${JSON.stringify(path ?? '')} has ${what}`, place);
  };
  const isText = (value: unknown): value is string => typeof value === 'string';
  if (!isText(path)) return fail('no path');
  if (!Number.isSafeInteger(size) || (size as number) < 0) return fail('no size');
  if (!isText(sha256) || !/^[0-9a-f]{64}$/.test(sha256)) return fail('no SHA-256');
  if (space !== undefined && (!isText(space) || space === '')) return fail('a space that is no name');
  if (contentType !== undefined && !isText(contentType)) return fail('a content type that is no text');
  if (tags !== undefined && !(Array.isArray(tags) && tags.every(isText)))
    return fail('tags that are no texts');
  const expiresMs = isText(expires) ? Date.parse(expires) : undefined;
  if (expires !== undefined && !Number.isFinite(expiresMs)) return fail('an expiry that is no time');
  const key = keyIn(given) ?? fail('no key');
  const named = keyOfPath(path);
  const isNamed =
    named === undefined
      ? path === longPathOf(space, key)
      : named.space === space && equalBytes(named.key, key);
  if (!isNamed) return fail('a path that is not the one of its key');
  const metadata = metadataIn(given.metadataMsgpack, place);
  return {
    space,
    key,
    path,
    size: size as number,
    sha256,
    ...(contentType === undefined ? {} : { contentType }),
    ...(tags === undefined ? {} : { tags }),
    ...(metadata === undefined ? {} : { metadata }),
    ...(expiresMs === undefined ? {} : { expiresMs }),
  };
}

/** An object from JSON of others. VARVE_CORRUPT. */
export function parseObject(text: string, place: Place): Record<string, unknown> {
  let given: unknown;
  try {
    given = JSON.parse(text);
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error;
  }
  if (typeof given !== 'object' || given === null || Array.isArray(given))
    throw corrupt('archive has an entry that is no JSON object', place);
  return given as Record<string, unknown>;
}

function keyIn({ key, keyHex }: Record<string, unknown>): Uint8Array | undefined {
  if (typeof key === 'string' && isWellFormed(key)) return encodeUtf8(key);
  return typeof keyHex === 'string' && /^([0-9a-f]{2})*$/.test(keyHex) ? fromHex(keyHex) : undefined;
}

function metadataIn(base64: unknown, place: Place): UserMetadata | undefined {
  if (base64 === undefined) return undefined;
  const bytes =
    typeof base64 === 'string' ? new Uint8Array(Buffer.from(base64, 'base64')) : new Uint8Array(0);
  try {
    return decodeMsgpack(bytes, place, 0) as UserMetadata;
  } catch (error) {
    if (isVarveError(error)) throw corrupt('entry has metadata of the wrong shape', place);
    throw error;
  }
}

/** Options of a put that brings the entry back; undefined where it has expired. */
export function putOptionsOf(entry: TarEntry, nowMs: number): Omit<PutOptions, 'signal'> | undefined {
  const { contentType, tags, metadata, expiresMs } = entry;
  if (expiresMs !== undefined && expiresMs <= nowMs) return undefined;
  return {
    ...(contentType === undefined ? {} : { contentType }),
    ...(tags === undefined ? {} : { tags }),
    ...(metadata === undefined ? {} : { metadata }),
    ...(expiresMs === undefined ? {} : { ttlMs: expiresMs - nowMs }),
  };
}
