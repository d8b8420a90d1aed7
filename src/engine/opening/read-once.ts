/**
 * A view of the disk on which small files are read once, however often they are opened: recovery looks at
 * each log file up to three times. Only for files that nobody changes, or whose state at the first look
 * counts.
 */
import { isDamage } from '../../base/errors.ts';
import { KiB, MiB } from '../../base/limits.ts';
import { alteredPort } from '../../fs/altered-port.ts';
import { readExact } from '../../fs/dirs.ts';
import type { FsFile, FsPort } from '../../fs/port.ts';

/** Larger files are opened each time. */
const fileBytesMax = 64 * KiB;
/** Of all files together. */
const keptBytesMax = MiB;

/**
 * `fs` (borrowed) for reading: `list`, `stat` and `open(path, 'read')`; files that were read are kept as long
 * as the view, 1 MiB at most. A file the disk cannot read whole is given as it is.
 */
export function readingOnce(fs: FsPort): FsPort {
  const kept = new Map<string, Uint8Array>();
  let keptBytes = 0;
  return alteredPort(fs, {
    async open(path, mode) {
      const known = mode === 'read' ? kept.get(path) : undefined;
      if (known !== undefined) return keptFile(path, known);
      const file = await fs.open(path, mode);
      if (mode !== 'read') return file;
      const bytes = await wholeOf(file, keptBytesMax - keptBytes);
      if (bytes === undefined) return file;
      await file.close();
      keptBytes += bytes.length;
      kept.set(path, bytes);
      return keptFile(path, bytes);
    },
  });
}

/** Undefined for a file that is large, or that the disk cannot read; closed when anything else fails. */
async function wholeOf(file: FsFile, bytesMax: number): Promise<Uint8Array | undefined> {
  try {
    const size = await file.size();
    if (size > Math.min(fileBytesMax, bytesMax)) return undefined;
    const bytes = new Uint8Array(size);
    await readExact(file, bytes, 0);
    return bytes;
  } catch (error) {
    if (isDamage(error)) return undefined;
    await file.close();
    throw error;
  }
}

function keptFile(path: string, bytes: Uint8Array): FsFile {
  const readSync = (buf: Uint8Array, pos: number): number => {
    const piece = bytes.subarray(Math.min(pos, bytes.length), pos + buf.length);
    buf.set(piece);
    return piece.length;
  };
  const refuse = (): never => {
    throw new TypeError(`${path} is open for reading only`);
  };
  return {
    path,
    read: async (buf, pos) => readSync(buf, pos),
    readSync,
    readDirect: async (buf, pos) => readSync(buf, pos),
    write: async () => refuse(),
    writeSync: refuse,
    writeDirect: async () => refuse(),
    sync: async () => refuse(),
    dataSync: async () => refuse(),
    truncate: async () => refuse(),
    size: async () => bytes.length,
    close: async () => undefined,
  };
}
