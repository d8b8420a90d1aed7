/** How an audit tells files, calls and versions from each other. */
import { decodeUtf8, encodeUtf8, toHex } from '../../src/base/bytes.ts';
import { xxh64 } from '../../src/codec/checksum.ts';
import { chunkIdBytes } from '../../src/format/chunk-ref.ts';
import { decodeMetadata } from '../../src/format/metadata.ts';
import { parseValueRecord, recordForms, visitRecordRefs } from '../../src/format/value-record.ts';
import type { MemoryFileSystem } from '../../src/fs/memory-file-system.ts';
import { sha256 } from '../../src/kernels/hash/sha256.ts';
import type { Row } from './rows.ts';

/** Checksum of all of a file's bytes. */
export function markOf(disk: MemoryFileSystem, path: string): string {
  const bytes = disk.bytesOf(path);
  return `${bytes.length} ${xxh64(bytes)}`;
}

/**
 * The call that put a row, as its metadata tells; a counter puts none: minus what it counts. Undefined where
 * nobody can have put such a row.
 */
export function idOf(bytes: Uint8Array, from: number, to: number): number | undefined {
  const record = parseValueRecord(bytes, from, to, { file: 'row' });
  const { metadataFrom, metadataTo, form, bodyFrom, size } = record;
  if (metadataTo > metadataFrom) {
    const { metadata } = decodeMetadata(bytes, { file: 'row' }, metadataFrom, metadataTo);
    return metadata!.id as number;
  }
  if (form === recordForms.inline) return -Number(decodeUtf8(bytes.subarray(bodyFrom, bodyFrom + size)));
  let count: number | undefined;
  visitRecordRefs(bytes, from, to, (at) => {
    count = countOf(toHex(bytes.subarray(at, at + chunkIdBytes)));
  });
  return count === undefined ? undefined : -count;
}

const counts = new Map<string, number>();
/** More calls than a plan has. */
const countMax = 400;

/** The number whose decimal text is the chunk of that id. */
function countOf(id: string): number | undefined {
  for (let n = counts.size + 1; n <= countMax; n++) counts.set(toHex(sha256(encodeUtf8(String(n)))), n);
  return counts.get(id);
}

/** A version is named by its key and number. */
export function nameOf({ seq, space, key }: Pick<Row, 'seq' | 'space' | 'key'>): string {
  return `${seq} ${space} ${key}`;
}
