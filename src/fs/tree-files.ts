/** Files under a path of the machine, for reading: whole trees in the order of names. Links are left out. */
import path from 'node:path';
import { VarveError } from '../base/errors.ts';
import { MiB } from '../base/limits.ts';
import { openNodeFileSystem } from './node-file-system.ts';
import type { FsPort } from './port.ts';

/** A file found. */
export interface TreeFile {
  /** Below the path that was given, with `/` between names. */
  readonly name: string;
  readonly size: number;
  /** Pieces of up to 1 MiB, each borrowed until the next; `most` bytes of the front where given. */
  read(most?: number): AsyncIterable<Uint8Array>;
}

/** VARVE_NOT_FOUND when nothing is there, VARVE_IO when it cannot be read. */
export async function treeFiles(given: string): Promise<TreeFile[]> {
  const whole = path.resolve(given);
  const parent = await openNodeFileSystem(path.dirname(whole), { readOnly: true });
  const base = path.basename(whole);
  if (base === '') return await filesOf(await openNodeFileSystem(whole, { readOnly: true }), '');
  const stat = await parent.stat(base);
  if (stat === null) throw new VarveError('VARVE_NOT_FOUND', `${given}: no such file or directory`);
  if (stat.kind === 'file') return [fileOf(parent, base, base, stat.size)];
  return await filesOf(await openNodeFileSystem(whole, { readOnly: true }), '');
}

async function filesOf(fs: FsPort, dir: string): Promise<TreeFile[]> {
  const files: TreeFile[] = [];
  const entries = await fs.list(dir);
  for (const { name, kind } of entries.toSorted((a, b) => (a.name < b.name ? -1 : 1))) {
    const at = dir === '' ? name : `${dir}/${name}`;
    if (kind === 'directory') files.push(...(await filesOf(fs, at)));
    if (kind !== 'file') continue;
    const stat = await fs.stat(at);
    if (stat !== null) files.push(fileOf(fs, at, at, stat.size));
  }
  return files;
}

function fileOf(fs: FsPort, at: string, name: string, size: number): TreeFile {
  return { name, size, read: (most = Number.POSITIVE_INFINITY) => piecesOf(fs, at, most) };
}

async function* piecesOf(fs: FsPort, at: string, most: number): AsyncGenerator<Uint8Array> {
  const file = await fs.open(at, 'read');
  try {
    const buf = new Uint8Array(MiB);
    for (let pos = 0; pos < most; ) {
      const got = await file.read(buf.subarray(0, Math.min(buf.length, most - pos)), pos);
      if (got === 0) return;
      yield buf.subarray(0, got);
      pos += got;
    }
  } finally {
    await file.close();
  }
}
