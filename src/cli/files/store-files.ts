/** The files of a store: what each is, and its records. Takes no lock and needs no whole superblock. */
import type { FileNo } from '../../base/brands.ts';
import { invalid, VarveError } from '../../base/errors.ts';
import { initChecksum } from '../../codec/checksum.ts';
import {
  filePath,
  lockName,
  type NumberedKind,
  parseFileName,
  reserveName,
  storeDirs,
  superName,
} from '../../format/file-names.ts';
import { openNodeFileSystem } from '../../fs/node-file-system.ts';
import type { FsFile, FsPort } from '../../fs/port.ts';
import { catalogRecords } from './catalog-records.ts';
import type { Detail, Emit, FileRecord } from './file-record.ts';
import { logRecords } from './log-records.ts';
import { segmentRecords } from './segment-records.ts';
import { lockRecords, superRecords } from './super-records.ts';
import { tableRecords } from './table-records.ts';

/** A file below a store's directory. */
export interface StoreFile {
  readonly path: string;
  readonly kind: 'superblock' | 'lock' | 'reserve' | 'catalog' | 'log' | 'table' | 'segment' | 'other';
  readonly no: FileNo | undefined;
  readonly size: number;
}

const kindNames: Readonly<Record<NumberedKind, StoreFile['kind']>> = {
  cat: 'catalog',
  wal: 'log',
  tab: 'table',
  seg: 'segment',
};

/** The directory of a store as a read-only port. VARVE_NOT_FOUND when there is no store in it. */
export async function openStoreFiles(dir: string): Promise<FsPort> {
  await initChecksum();
  const fs = await openNodeFileSystem(dir, { readOnly: true });
  const names = new Set((await fs.list('')).map(({ name }) => name));
  if (!names.has(superName) && !storeDirs.some((name) => names.has(name)))
    throw new VarveError('VARVE_NOT_FOUND', `${dir}: there is no store in this directory`, { file: dir });
  return fs;
}

/** Every file below the store's directory, by path. */
export async function* listStoreFiles(fs: FsPort, dir = ''): AsyncGenerator<StoreFile> {
  for (const { name, kind } of await fs.list(dir)) {
    // The port takes plain names only; a file with another one is nothing of ours.
    if (/[\\:]/.test(name)) continue;
    const path = dir === '' ? name : `${dir}/${name}`;
    if (kind === 'directory') yield* listStoreFiles(fs, path);
    else if (kind === 'file') yield await fileAt(fs, path);
  }
}

/**
 * The file an argument names: its path in the store, or only its last part. VARVE_NOT_FOUND when there is
 * none, VARVE_INVALID_ARGUMENT when it is no path inside the store.
 */
export async function findStoreFile(fs: FsPort, argument: string): Promise<StoreFile> {
  const parsed = parseFileName(argument);
  const path = parsed === null ? argument : filePath(parsed.kind, parsed.no);
  const plain = path.split('/').every((name) => name !== '' && name !== '.' && name !== '..');
  if (!plain || /[\\:\0]/.test(path))
    throw invalid('give the path of a file inside the store, as inspect lists it');
  const found = await fs.stat(path);
  if (found?.kind !== 'file')
    throw new VarveError('VARVE_NOT_FOUND', `${argument}: no such file in the store`);
  return await fileAt(fs, path);
}

async function fileAt(fs: FsPort, path: string): Promise<StoreFile> {
  const size = (await fs.stat(path))?.size ?? 0;
  if (path === superName) return { path, kind: 'superblock', no: undefined, size };
  if (path === lockName) return { path, kind: 'lock', no: undefined, size };
  if (path === reserveName) return { path, kind: 'reserve', no: undefined, size };
  const parsed = parseFileName(path.slice(path.lastIndexOf('/') + 1));
  // A file of ours at another place (quarantine/) still has its kind.
  if (parsed === null) return { path, kind: 'other', no: undefined, size };
  return { path, kind: kindNames[parsed.kind], no: parsed.no, size };
}

/** Emits the records of a file. Damage is a record; VARVE_IO when the file cannot be read at all. */
export async function fileRecords(fs: FsPort, file: StoreFile, detail: Detail, emit: Emit): Promise<void> {
  const { path, kind, no } = file;
  if (kind === 'log') return await logRecords(fs, path, no!, detail, emit);
  if (kind === 'segment') return await segmentRecords(fs, path, no!, detail, emit);
  if (kind === 'other' || kind === 'reserve')
    return await emit({ offset: 0, what: 'file', fields: { bytes: file.size } });
  const opened = await fs.open(path, 'read');
  try {
    await ownRecords(opened, file, detail, emit);
  } finally {
    await opened.close();
  }
}

async function ownRecords(opened: FsFile, file: StoreFile, detail: Detail, emit: Emit): Promise<void> {
  if (file.kind === 'superblock') await superRecords(opened, emit);
  else if (file.kind === 'lock') await lockRecords(opened, emit);
  else if (file.kind === 'catalog') await catalogRecords(opened, file.no!, detail, emit);
  else await tableRecords(opened, file.no!, detail, emit);
}

/** The first thing wrong with a file, or undefined. Headers and ends are read, and all frames of a log. */
export async function checkFile(fs: FsPort, file: StoreFile): Promise<FileRecord | undefined> {
  let first: FileRecord | undefined;
  await fileRecords(fs, file, 'check', async (record) => {
    if (record.error !== undefined) first ??= record;
  });
  return first;
}
