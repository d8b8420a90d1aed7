/** The file LOCK: made once, rewritten in place, never renamed over or unlinked. */
import path from 'node:path';
import { lockName } from '../format/file-names.ts';
import { hasErrno } from './dirs.ts';
import type { LockOwner } from './lock-port.ts';
import { encodeLockRecord, lockRecordBytes } from './lock-record.ts';
import {
  closeFd,
  dataSyncFd,
  identityOf,
  identityOfFd,
  openFile,
  openFlags,
  readFd,
  sizeOfFd,
  syncDirectory,
  writeFd,
} from './raw-fs.ts';

export class LockFile {
  readonly #path: string;
  readonly #dir: string;
  readonly #fd: number;

  private constructor(dir: string, fd: number) {
    this.#dir = dir;
    this.#path = path.join(dir, lockName);
    this.#fd = fd;
  }

  /** Opens LOCK, making it when it is missing. */
  static async openOrCreate(dir: string): Promise<LockFile> {
    return new LockFile(dir, await openFile(path.join(dir, lockName), openFlags.create, lockName));
  }

  /** Opens LOCK for reading; null when there is none. */
  static async openExisting(dir: string): Promise<LockFile | null> {
    try {
      return new LockFile(dir, await openFile(path.join(dir, lockName), openFlags.read, lockName));
    } catch (error) {
      if (hasErrno(error, 'ENOENT')) return null;
      throw error;
    }
  }

  /** For flock. */
  get fd(): number {
    return this.#fd;
  }

  /** LOCK in the directory is still this file. */
  async inPlace(): Promise<boolean> {
    const mine = await identityOfFd(this.#fd, lockName);
    const there = await identityOf(this.#path, lockName);
    return there !== null && there.dev === mine.dev && there.ino === mine.ino;
  }

  /** The record's bytes; empty when none was written. */
  async read(): Promise<Uint8Array> {
    const bytes = new Uint8Array(lockRecordBytes);
    return bytes.subarray(0, await readFd(this.#fd, bytes, 0, lockName));
  }

  /** Writes the record; returns its bytes. */
  async write(owner: LockOwner): Promise<Uint8Array> {
    const bytes = encodeLockRecord(owner);
    await writeFd(this.#fd, bytes, 0, lockName);
    return bytes;
  }

  /** Same as `write`; durable when it resolves, with the name of the file. */
  async writeDurably(owner: LockOwner): Promise<Uint8Array> {
    const fresh = (await sizeOfFd(this.#fd, lockName)) === 0;
    const bytes = await this.write(owner);
    await dataSyncFd(this.#fd, lockName);
    if (fresh && process.platform !== 'win32') await syncDirectory(this.#dir, '');
    return bytes;
  }

  close(): Promise<void> {
    return closeFd(this.#fd, lockName);
  }
}
