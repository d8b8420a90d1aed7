/**
 * The file-system port: the only way the engine reaches a disk, so that a twin in memory can stand in and
 * every crash point be enumerated. Paths are relative to the store directory, with '/', no '.' or '..'.
 *
 * Errors: VARVE_NO_SPACE for ENOSPC, EDQUOT and EFBIG, VARVE_IO for everything else; `errno` has the
 * operating system's name and `file` the path. Durability is written per method.
 */
export interface FsPort {
  /** For messages: the store directory. */
  readonly root: string;
  readonly caps: FsCaps;

  /**
   * 'read' and 'rw' open an existing regular file (links and other kinds are refused), 'create' makes a new
   * one and fails with errno EEXIST where one is. A new name is durable only after `syncDir` of its parent.
   */
  open(path: string, mode: OpenMode): Promise<FsFile>;
  /** `open(path, 'read')` on the calling thread: for reads that must not wait. */
  openSync(path: string): FsFile;
  /** Makes one directory level, mode 0700. False when it was there. Durable after `syncDir` of the parent. */
  mkdir(path: string): Promise<boolean>;
  /** Durable after `syncDir` of both parents. */
  rename(from: string, to: string): Promise<void>;
  /**
   * Gives a file a second name; VARVE_IO with errno EEXIST where one is, EPERM or ENOTSUP where the disk has
   * no links. Durable after `syncDir` of the new parent.
   */
  link(from: string, to: string): Promise<void>;
  /** False when there was no such file. Durable after `syncDir` of the parent. */
  unlink(path: string): Promise<boolean>;
  /** Removes an empty directory. False when it is not there or not empty. */
  rmdir(path: string): Promise<boolean>;
  /**
   * Entries of a directory, sorted by name; VARVE_IO with errno ENOENT when it is not there. '' is the root.
   */
  list(path: string): Promise<FsEntry[]>;
  /** Does not follow links. Null when nothing is there. */
  stat(path: string): Promise<FsStat | null>;
  /** Makes the names in the directory durable. Nothing where the platform refuses it (caps.syncDir). */
  syncDir(path: string): Promise<void>;
  /** Free bytes for this user, where the platform tells. */
  free(): Promise<number | undefined>;
}

export type OpenMode = 'read' | 'rw' | 'create';

export interface FsCaps {
  /** Directories can be synced (not on Windows). */
  readonly syncDir: boolean;
  /** A file may be renamed over or unlinked while open (not on Windows). */
  readonly replaceOpen: boolean;
}

export interface FsEntry {
  readonly name: string;
  readonly kind: 'file' | 'directory' | 'other';
}

export interface FsStat {
  readonly kind: 'file' | 'directory' | 'other';
  readonly size: number;
  readonly mtimeMs: number;
}

/**
 * One open file. Owns its descriptor: `close` waits for every operation under way, and nothing may be
 * called after it. Buffers are borrowed until the call settles.
 */
export interface FsFile {
  readonly path: string;
  /** Reads up to `buf.length` bytes at `pos`; fewer only at the end of the file. */
  read(buf: Uint8Array, pos: number): Promise<number>;
  readSync(buf: Uint8Array, pos: number): number;
  /**
   * As `read`, past the system's cache where the platform can and `buf` allows it, which is from
   * `alignedBytes` and begins as far behind a block as `pos` does: for what is read once.
   */
  readDirect(buf: Uint8Array, pos: number): Promise<number>;
  /** Writes all of `buf` at `pos` or rejects. Not durable before `sync` or `dataSync`. */
  write(buf: Uint8Array, pos: number): Promise<void>;
  writeSync(buf: Uint8Array, pos: number): void;
  /**
   * As `write`, past the system's cache where that is possible, as `readDirect`: for what is not read soon.
   * Until a sync no more durable than what `write` wrote.
   */
  writeDirect(buf: Uint8Array, pos: number): Promise<void>;
  /** Bytes, size and times on disk. After a rejection nothing may be assumed of this file, ever. */
  sync(): Promise<void>;
  /** Bytes, and the size where it is needed to read them. The same rule after a rejection. */
  dataSync(): Promise<void>;
  truncate(length: number): Promise<void>;
  size(): Promise<number>;
  close(): Promise<void>;
}
