/** What an unfinished restore has left in its target: the note of what it was, and sealed segments. */
import type { FileNo } from '../base/brands.ts';
import { equalBytes, toHex } from '../base/bytes.ts';
import { corrupt, isVarveError, VarveError } from '../base/errors.ts';
import { KiB } from '../base/limits.ts';
import { decodeMsgpack, encodeMsgpack, type PackMap } from '../codec/msgpack.ts';
import { ChunkFrame, frameBytes } from '../format/chunk-frame.ts';
import { decodeFileHeader, fileHeader } from '../format/file-header.ts';
import { lockName, parseFileName, storeDirs, superName } from '../format/file-names.ts';
import { decodeSegmentFooter, decodeTrailer, segmentFooter } from '../format/segment.ts';
import { hasErrno, readExact, readWhole, writeNewFile } from '../fs/dirs.ts';
import type { FsPort } from '../fs/port.ts';
import { checkWholeFrame } from './pack-reader.ts';
import { idAtFrame, type StoreBuilder } from './store-builder.ts';

export const restoreNoteName = 'tmp/restore';
const noteBytesMax = 4 * KiB;

/** What a restore is of: one that goes on must be the same. */
export interface RestoreNote {
  readonly vaultId: Uint8Array;
  readonly backupId: Uint8Array;
  /** Of the store being made. */
  readonly dbUuid: Uint8Array;
  /** Which keys, as text that is equal for equal choices. */
  readonly choice: string;
}

/**
 * The note of the restore that goes on in `fs`; undefined where the directory is empty. VARVE_CONFLICT when a
 * store, another restore or anything else is there.
 */
export async function unfinishedRestore(
  fs: FsPort,
  wanted: Omit<RestoreNote, 'dbUuid'>,
): Promise<RestoreNote | undefined> {
  const names = (await fs.list('')).map(({ name }) => name);
  const refuse = (why: string): VarveError =>
    new VarveError('VARVE_CONFLICT', `${fs.root} ${why}: give a new or empty directory`, {
      retryable: false,
    });
  if (names.includes(superName)) throw refuse('holds a store');
  const foreign = names.find((name) => name !== lockName && !storeDirs.some((dir) => dir === name));
  if (foreign !== undefined) throw refuse(`holds other files (${foreign})`);
  const note = await readNote(fs);
  if (note === undefined) {
    for (const dir of storeDirs) {
      if (names.includes(dir) && (await fs.list(dir)).some(({ name }) => dir !== 'tmp' || name !== 'restore'))
        throw refuse('holds files of a store');
    }
    return undefined;
  }
  const same =
    equalBytes(note.vaultId, wanted.vaultId) &&
    equalBytes(note.backupId, wanted.backupId) &&
    note.choice === wanted.choice;
  if (!same) throw refuse(`holds an unfinished restore of another backup, ${toHex(note.backupId)}`);
  return note;
}

async function readNote(fs: FsPort): Promise<RestoreNote | undefined> {
  let bytes: Uint8Array;
  try {
    bytes = await readWhole(fs, restoreNoteName, noteBytesMax);
  } catch (error) {
    if (hasErrno(error, 'ENOENT')) return undefined;
    throw error;
  }
  try {
    const map = decodeMsgpack(bytes, { file: restoreNoteName }, 0, bytes.length) as PackMap;
    const { vaultId, backupId, dbUuid, choice } = map;
    const isNote =
      vaultId instanceof Uint8Array && backupId instanceof Uint8Array && typeof choice === 'string';
    if (!isNote || !(dbUuid instanceof Uint8Array) || dbUuid.length !== 16) return undefined;
    return { vaultId, backupId, dbUuid, choice };
  } catch (error) {
    // Cut off by the crash that ended that run: it had written nothing else yet.
    if (isVarveError(error, 'VARVE_CORRUPT')) return undefined;
    throw error;
  }
}

/** Writes the note, before anything else is written. */
export async function writeNote(fs: FsPort, note: RestoreNote): Promise<void> {
  if (await fs.unlink(restoreNoteName)) await fs.syncDir('tmp');
  await writeNewFile(fs, restoreNoteName, encodeMsgpack({ ...note }, 'note'));
}

/**
 * Takes sealed segments into `builder` after reading every byte of them, and removes everything else: that
 * first, since `builder` may make tables of its own for what it takes.
 */
export async function takeLeftovers(fs: FsPort, dbUuid: Uint8Array, builder: StoreBuilder): Promise<number> {
  const segments: { path: string; no: FileNo }[] = [];
  for (const dir of ['seg', 'tab', 'cat', 'wal', 'tmp'] as const) {
    for await (const path of filesBelow(fs, dir)) {
      if (path === restoreNoteName) continue;
      const parsed = parseFileName(path.slice(path.lastIndexOf('/') + 1));
      if (parsed !== null) builder.raiseFileNo(parsed.no);
      if (parsed?.kind === 'seg') segments.push({ path, no: parsed.no });
      else await fs.unlink(path);
    }
  }
  let taken = 0;
  for (const { path, no } of segments) {
    if (await takeSegment(fs, path, no, dbUuid, builder)) taken++;
    else await fs.unlink(path);
  }
  return taken;
}

async function* filesBelow(fs: FsPort, dir: string): AsyncGenerator<string> {
  for (const { name, kind } of await fs.list(dir)) {
    const path = `${dir}/${name}`;
    if (kind === 'directory') yield* filesBelow(fs, path);
    else if (kind === 'file') yield path;
  }
}

/** False when the segment is not sealed or not whole. */
async function takeSegment(
  fs: FsPort,
  path: string,
  no: number,
  dbUuid: Uint8Array,
  builder: StoreBuilder,
): Promise<boolean> {
  const file = await fs.open(path, 'read');
  try {
    const size = await file.size();
    if (size < fileHeader.size + segmentFooter.size) return false;
    const head = new Uint8Array(fileHeader.size);
    await readExact(file, head, 0);
    const header = decodeFileHeader(head, { kind: 'segment', fileNo: no, dbUuid }, path);
    const tail = new Uint8Array(segmentFooter.size);
    await readExact(file, tail, size - tail.length);
    const footer = decodeSegmentFooter(tail, header.seed, size, path);
    const entries = new Uint8Array(footer.trailerLen);
    await readExact(file, entries, footer.trailerOff);
    const trailer = decodeTrailer(entries, footer, path);
    const found = new ChunkFrame();
    const frames = [];
    for (let i = 0; i < trailer.count; i++) {
      const [off8, storedLen] = [trailer.off8[i]!, trailer.storedLen[i]!];
      const bytes = new Uint8Array(frameBytes(storedLen));
      await readExact(file, bytes, off8 * 8);
      checkWholeFrame(bytes, 0, path, off8 * 8, found);
      const id = idAtFrame(trailer.ids, i);
      if (!equalBytes(bytes.subarray(found.idAt, found.idAt + 32), id))
        throw corrupt('another chunk', { file: path });
      const { rawLen, kind, codec } = found;
      frames.push({ id, off8, storedLen, rawLen, kind, codec });
    }
    await file.sync();
    const { dataLen, trailerChecksum } = footer;
    const sealed = { no, class: header.subKind, size, frames: trailer.count, dataLen, trailerChecksum };
    await builder.adoptSegment(sealed, frames);
    return true;
  } catch (error) {
    if (isVarveError(error, 'VARVE_CORRUPT', 'VARVE_FORMAT_VERSION')) return false;
    throw error;
  } finally {
    await file.close();
  }
}
