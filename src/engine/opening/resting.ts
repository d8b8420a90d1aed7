/** Files that only a writer keeps count of, measured once for a store that is open for reading. */
import { firstLogNo } from '../../format/catalog.ts';
import { filePath, parseFileName } from '../../format/file-names.ts';
import { segmentDataFrom } from '../../format/segment.ts';
import type { FsPort } from '../../fs/port.ts';
import type { Found } from './found.ts';
import { openSegments } from './rescue.ts';
import { zerosWhereUnreadable } from './unreadable.ts';

/** As of the open: a writer beside this reader changes them. */
export interface RestingFiles {
  readonly logBytes: number;
  /** Segments that are not sealed: how many, bytes of the files, bytes of their frames. */
  readonly open: { readonly count: number; readonly bytes: number; readonly dataBytes: number };
}

/** Sizes of the log files and of the segments that are not sealed. */
export async function restingFiles({ env, loaded, replayed, health }: Found): Promise<RestingFiles> {
  const fs = zerosWhereUnreadable(env.fs, (error) => health.note(error));
  const { unsealed, sealed } = loaded.catalog;
  const logFrom = firstLogNo(loaded.catalog);
  let logBytes = 0;
  for (const { name } of await fs.list('wal')) {
    const parsed = parseFileName(name);
    if (parsed?.kind === 'wal' && parsed.no >= logFrom) logBytes += await sizeOf(fs, `wal/${name}`);
  }
  const open = { count: 0, bytes: 0, dataBytes: 0 };
  for (const { no } of openSegments(unsealed, sealed, replayed.named)) {
    const bytes = await sizeOf(fs, filePath('seg', no));
    open.count++;
    open.bytes += bytes;
    open.dataBytes += Math.max(0, bytes - segmentDataFrom);
  }
  return { logBytes, open };
}

async function sizeOf(fs: FsPort, path: string): Promise<number> {
  return (await fs.stat(path))?.size ?? 0;
}
