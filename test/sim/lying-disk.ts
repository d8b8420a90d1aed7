/** A disk that answers every sync of the log with yes, and does nothing: what the oracle must find out. */
import type { FsCaps, FsEntry, FsFile, FsPort, FsStat, OpenMode } from '../../src/fs/port.ts';

export class LyingDisk implements FsPort {
  readonly root: string;
  readonly caps: FsCaps;
  readonly #disk: FsPort;

  constructor(disk: FsPort) {
    this.#disk = disk;
    this.root = disk.root;
    this.caps = disk.caps;
  }

  async open(path: string, mode: OpenMode): Promise<FsFile> {
    const file = await this.#disk.open(path, mode);
    if (path.startsWith('wal/')) file.dataSync = async () => undefined;
    return file;
  }

  openSync(path: string): FsFile {
    return this.#disk.openSync(path);
  }

  mkdir(path: string): Promise<boolean> {
    return this.#disk.mkdir(path);
  }

  rename(from: string, to: string): Promise<void> {
    return this.#disk.rename(from, to);
  }

  link(from: string, to: string): Promise<void> {
    return this.#disk.link(from, to);
  }

  unlink(path: string): Promise<boolean> {
    return this.#disk.unlink(path);
  }

  rmdir(path: string): Promise<boolean> {
    return this.#disk.rmdir(path);
  }

  list(path: string): Promise<FsEntry[]> {
    return this.#disk.list(path);
  }

  stat(path: string): Promise<FsStat | null> {
    return this.#disk.stat(path);
  }

  syncDir(path: string): Promise<void> {
    return this.#disk.syncDir(path);
  }

  free(): Promise<number | undefined> {
    return this.#disk.free();
  }
}
