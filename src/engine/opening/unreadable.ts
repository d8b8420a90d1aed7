/**
 * A view of the disk on which what it cannot read (EIO) reads as zeros, so that one bad sector does not keep
 * the rest of a file from being read; a directory it cannot list has no entries, and a file it cannot look at
 * is not there. Each such stretch is told once, and whoever uses the view must not
 * write to the store afterwards: zeros pass for a torn tail, and a log must not be cut for a failed read.
 *
 * Other failures (no descriptors left, no permission) are passed on.
 */
import { VarveError } from '../../base/errors.ts';
import { alteredPort } from '../../fs/altered-port.ts';
import { hasErrno } from '../../fs/dirs.ts';
import type { FsFile, FsPort } from '../../fs/port.ts';

/** Bytes tried alone once a longer read has failed: a sector of today's disks. */
const pieceBytes = 4096;

/** `fs` (borrowed) for reading; `note` gets VARVE_IO with file, offset and errno EIO for each bad stretch. */
export function zerosWhereUnreadable(fs: FsPort, note: (error: VarveError) => void): FsPort {
  return alteredPort(fs, {
    async open(path, mode) {
      if (mode !== 'read') return await fs.open(path, mode);
      try {
        return holed(await fs.open(path, mode), note);
      } catch (error) {
        if (!hasErrno(error, 'EIO')) throw error;
        note(unreadable(path, 0, error));
        return nothingOf(path);
      }
    },
    list: (path) => orElse(path, [], () => fs.list(path), note),
    stat: (path) => orElse(path, null, () => fs.stat(path), note),
  });
}

async function orElse<T>(
  path: string,
  otherwise: T,
  look: () => Promise<T>,
  note: (error: VarveError) => void,
): Promise<T> {
  try {
    return await look();
  } catch (error) {
    if (!hasErrno(error, 'EIO')) throw error;
    note(unreadable(path, 0, error));
    return otherwise;
  }
}

function unreadable(file: string, offset: number, cause: unknown): VarveError {
  const message = `${file} at offset ${offset}: the disk cannot read it (EIO)`;
  return new VarveError('VARVE_IO', message, { file, offset, errno: 'EIO', cause });
}

function holed(file: FsFile, note: (error: VarveError) => void): FsFile {
  const orPieces = async (reading: Promise<number>, buf: Uint8Array, pos: number): Promise<number> => {
    try {
      return await reading;
    } catch (error) {
      if (!hasErrno(error, 'EIO')) throw error;
      return await readPieces(file, buf, pos, note);
    }
  };
  return {
    path: file.path,
    read: (buf, pos) => orPieces(file.read(buf, pos), buf, pos),
    readDirect: (buf, pos) => orPieces(file.readDirect(buf, pos), buf, pos),
    readSync: (buf, pos) => file.readSync(buf, pos),
    write: (buf, pos) => file.write(buf, pos),
    writeDirect: (buf, pos) => file.writeDirect(buf, pos),
    writeSync: (buf, pos) => file.writeSync(buf, pos),
    sync: () => file.sync(),
    dataSync: () => file.dataSync(),
    truncate: (length) => file.truncate(length),
    size: () => file.size(),
    close: () => file.close(),
  };
}

/** Reads around the bad sectors; a stretch of them is told once. */
async function readPieces(
  file: FsFile,
  buf: Uint8Array,
  pos: number,
  note: (error: VarveError) => void,
): Promise<number> {
  const end = Math.min(pos + buf.length, await file.size());
  let badTo = -1;
  for (let at = pos; at < end; ) {
    const to = Math.min(end, (Math.floor(at / pieceBytes) + 1) * pieceBytes);
    const piece = buf.subarray(at - pos, to - pos);
    try {
      const got = await file.read(piece, at);
      if (got < piece.length) return at + got - pos;
    } catch (error) {
      if (!hasErrno(error, 'EIO')) throw error;
      if (badTo !== at) note(unreadable(file.path, at, error));
      piece.fill(0);
      badTo = to;
    }
    at = to;
  }
  return Math.max(0, end - pos);
}

/** A file that does not even open: it has no bytes. */
function nothingOf(path: string): FsFile {
  const refuse = (): never => {
    throw new VarveError('VARVE_IO', `${path}: the disk cannot read it (EIO)`, { file: path, errno: 'EIO' });
  };
  return {
    path,
    read: async () => 0,
    readSync: () => 0,
    readDirect: async () => 0,
    write: async () => refuse(),
    writeSync: refuse,
    writeDirect: async () => refuse(),
    sync: async () => refuse(),
    dataSync: async () => refuse(),
    truncate: async () => refuse(),
    size: async () => 0,
    close: async () => undefined,
  };
}
