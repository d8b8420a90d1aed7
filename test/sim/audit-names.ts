/** How an audit tells files, calls and versions from each other. */
import { xxh64 } from '../../src/codec/checksum.ts';
import { decodeMetadata } from '../../src/format/metadata.ts';
import { parseValueRecord } from '../../src/format/value-record.ts';
import type { MemoryFileSystem } from '../../src/fs/memory-file-system.ts';
import type { Row } from './rows.ts';

/** Checksum of all of a file's bytes. */
export function markOf(disk: MemoryFileSystem, path: string): string {
  const bytes = disk.bytesOf(path);
  return `${bytes.length} ${xxh64(bytes)}`;
}

/** The call that put a row: its metadata tells. */
export function idOf(bytes: Uint8Array, from: number, to: number): number {
  const record = parseValueRecord(bytes, from, to, { file: 'row' });
  const { metadata } = decodeMetadata(bytes, { file: 'row' }, record.metadataFrom, record.metadataTo);
  return metadata!.id as number;
}

/** A version is named by its key and number. */
export function nameOf({ seq, space, key }: Pick<Row, 'seq' | 'space' | 'key'>): string {
  return `${seq} ${space} ${key}`;
}
