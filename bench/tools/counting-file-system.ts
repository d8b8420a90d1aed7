/** A file system that counts the bytes written to each kind of file: for write amplification. */
import { parseFileName } from '../../src/format/file-names.ts';
import { alteredPort } from '../../src/fs/altered-port.ts';
import type { FsFile, FsPort } from '../../src/fs/port.ts';

/** Bytes written, by kind of file: wal, tab, seg, cat, and other for the few that are none of these. */
export class WrittenBytes {
  readonly byKind: Record<string, number> = { wal: 0, tab: 0, seg: 0, cat: 0, other: 0 };

  total(): number {
    return Object.values(this.byKind).reduce((sum, bytes) => sum + bytes, 0);
  }

  /** `fs` itself but for the counting. */
  around(fs: FsPort): FsPort {
    return alteredPort(fs, { open: async (path, mode) => this.#file(await fs.open(path, mode)) });
  }

  #file(file: FsFile): FsFile {
    const kind = parseFileName(file.path.slice(file.path.lastIndexOf('/') + 1))?.kind ?? 'other';
    const count = (buf: Uint8Array): void => {
      this.byKind[kind]! += buf.length;
    };
    return {
      path: file.path,
      read: (buf, pos) => file.read(buf, pos),
      readSync: (buf, pos) => file.readSync(buf, pos),
      readDirect: (buf, pos) => file.readDirect(buf, pos),
      write: (buf, pos) => {
        count(buf);
        return file.write(buf, pos);
      },
      writeSync: (buf, pos) => {
        count(buf);
        file.writeSync(buf, pos);
      },
      writeDirect: (buf, pos) => {
        count(buf);
        return file.writeDirect(buf, pos);
      },
      sync: () => file.sync(),
      dataSync: () => file.dataSync(),
      truncate: (length) => file.truncate(length),
      size: () => file.size(),
      close: () => file.close(),
    };
  }
}
