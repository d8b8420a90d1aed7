/** Metadata of a version that comes from another: what an update does not name stays as it was. */
import { decodeMetadata, encodeMetadata } from '../../format/metadata.ts';
import type { ValueRecord } from '../../format/value-record.ts';
import type { PutOptions } from '../types.ts';
import { encodedMetadata } from './batch-plan.ts';

/**
 * Encoded metadata; undefined when there is none. What the engine itself noted of the old bytes (their
 * SHA-256) does not go with other bytes.
 */
export function keptMetadata(given: PutOptions, old: ValueRecord | undefined): Uint8Array | undefined {
  if (old === undefined || old.metadataFrom === old.metadataTo) return encodedMetadata(given);
  const place = { file: 'key tree' };
  const { contentType, tags, metadata } = decodeMetadata(old.buf, place, old.metadataFrom, old.metadataTo);
  return encodeMetadata({
    tags: given.tags ?? tags,
    ...(given.contentType === undefined ? {} : { contentType: given.contentType }),
    ...(given.contentType !== undefined || contentType === undefined ? {} : { contentType }),
    ...(given.metadata === undefined ? {} : { metadata: given.metadata }),
    ...(given.metadata !== undefined || metadata === undefined ? {} : { metadata }),
  });
}
