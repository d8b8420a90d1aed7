/**
 * Metadata of one version: a canonical MessagePack array
 * `[contentType | nil, sorted unique tags, user map | nil, system map | nil]`, at most 64 KiB.
 *
 * Nothing is interned, so a record means the same in every store and vault. A version without any metadata
 * has no array at all, hence an array of four empty parts is refused.
 */
import { concatBytes, emptyBytes } from '../base/bytes.ts';
import { corrupt, invalid, type Place, type VarveError } from '../base/errors.ts';
import { metadataBytesMax, metadataDepthMax } from '../base/limits.ts';
import { compareText, decodeMsgpack, encodeMsgpack, type PackMap, type PackValue } from '../codec/msgpack.ts';

/** The caller's own part: a plain object, at most 16 levels deep. */
export type UserMetadata = { readonly [key: string]: PackValue };

/** What a put may carry; every part is optional. */
export interface MetadataInput {
  contentType?: string;
  /** Any order, duplicates allowed. */
  tags?: readonly string[];
  /** The caller's own plain object. */
  metadata?: UserMetadata;
  /** The engine's: sha256, owner, origin. */
  system?: PackMap;
}

/** Decoded metadata; everything in it belongs to the caller. */
export interface Metadata {
  contentType?: string;
  /** Sorted by UTF-8 bytes, each once. */
  tags: string[];
  metadata?: PackMap;
  system?: PackMap;
}

/** Head of a MessagePack array of four. */
const arrayOfFour = Uint8Array.of(0x94);
/** Parts that are not there. */
const nil = Uint8Array.of(0xc0);
const emptyArray = Uint8Array.of(0x90);

/**
 * Encodes metadata into a fresh array; an empty array (no bytes) when there is none. Reads every property of
 * the caller's objects once. VARVE_INVALID_ARGUMENT with the path of what is not acceptable.
 */
export function encodeMetadata(input: MetadataInput): Uint8Array {
  const { contentType, tags, metadata, system } = input;
  if (contentType !== undefined && typeof contentType !== 'string')
    throw invalid('contentType must be a string');
  const tagList = sortedTags(tags);
  if (metadata !== undefined && !isMapLike(metadata)) throw invalid('metadata must be a plain object');
  const systemMap = system !== undefined && Object.keys(system).length > 0 ? system : null;
  if (contentType === undefined && tagList.length === 0 && metadata === undefined && systemMap === null)
    return emptyBytes;
  // Canonical parts in a row are the canonical array; each alone, so that a message names the part at fault.
  const limits = { bytesMax: metadataBytesMax, depthMax: metadataDepthMax };
  const bytes = concatBytes([
    arrayOfFour,
    contentType === undefined ? nil : encodeMsgpack(contentType, 'contentType', limits),
    tagList.length === 0 ? emptyArray : encodeMsgpack(tagList, 'tags', limits),
    metadata === undefined ? nil : encodeMsgpack(metadata, 'metadata', limits),
    systemMap === null ? nil : encodeMsgpack(systemMap, 'system metadata', limits),
  ]);
  if (bytes.length > metadataBytesMax)
    throw invalid(`metadata, contentType and tags take more than ${metadataBytesMax} bytes encoded`);
  return bytes;
}

function isMapLike(value: unknown): boolean {
  const leaf = value instanceof Uint8Array || value instanceof Date;
  return typeof value === 'object' && value !== null && !Array.isArray(value) && !leaf;
}

function sortedTags(tags: unknown): string[] {
  if (tags === undefined) return [];
  if (!Array.isArray(tags)) throw invalid('tags must be an array of strings');
  const unique = new Set<string>();
  for (const tag of tags as unknown[]) {
    if (typeof tag !== 'string') throw invalid('tags must be an array of strings');
    unique.add(tag);
  }
  return [...unique].sort(compareText);
}

/** Decodes `bytes[from..to)`. VARVE_CORRUPT on anything encodeMetadata does not write. */
export function decodeMetadata(
  bytes: Uint8Array,
  place: Place,
  from = 0,
  to: number = bytes.length,
): Metadata {
  const fail = (what: string): VarveError =>
    corrupt(what, { file: place.file, offset: (place.offset ?? 0) + from });
  const parts = decodeMsgpack(bytes, place, from, to, {
    bytesMax: metadataBytesMax,
    // The array around the four parts is one level of its own.
    depthMax: metadataDepthMax + 1,
  });
  if (!Array.isArray(parts) || parts.length !== 4) throw fail('metadata is not an array of four');
  const [contentType, tags, user, system] = parts as PackValue[];
  const out: Metadata = { tags: checkedTags(tags, fail) };
  if (typeof contentType === 'string') out.contentType = contentType;
  else if (contentType !== null) throw fail('content type is not a string');
  const userMap = mapOrNil(user, fail);
  const systemMap = mapOrNil(system, fail);
  if (userMap !== undefined) out.metadata = userMap;
  if (systemMap !== undefined) {
    if (Object.keys(systemMap).length === 0) throw fail('metadata has an empty system map');
    out.system = systemMap;
  }
  if (out.tags.length === 0 && Object.keys(out).length === 1) throw fail('metadata is empty');
  return out;
}

function checkedTags(tags: PackValue | undefined, fail: (what: string) => VarveError): string[] {
  if (!Array.isArray(tags)) throw fail('tags are not an array');
  for (let i = 0; i < tags.length; i++) {
    if (typeof tags[i] !== 'string') throw fail('a tag is not a string');
    if (i > 0 && compareText(tags[i - 1], tags[i]) >= 0) throw fail('tags are not in order');
  }
  return tags as string[];
}

function mapOrNil(value: PackValue | undefined, fail: (what: string) => VarveError): PackMap | undefined {
  if (value === null) return undefined;
  if (!isMapLike(value)) throw fail('metadata part is not a map');
  return value as PackMap;
}
