/**
 * An open file of the operating system.
 *
 * Invariants
 * - The descriptor is closed once, after its last operation (handle-gate.test, port-contract.test: "close
 *   waits …").
 * - A sync that resolves says that every byte the file had when it began is on disk: syncs do not overlap,
 *   and none succeeds after one that failed (sync-gate.test).
 */
import { assert } from '../base/assert.ts';
import type { DirectAccess } from './direct-access.ts';
import { readOnlyPort } from './fs-errors.ts';
import { HandleGate } from './handle-gate.ts';
import type { FsFile } from './port.ts';
import {
  closeFd,
  dataSyncFd,
  readFd,
  readFdSync,
  sizeOfFd,
  syncFd,
  truncateFd,
  writeFd,
  writeFdSync,
} from './raw-fs.ts';
import { SyncGate } from './sync-gate.ts';

export class NodeFile implements FsFile {
  readonly path: string;
  readonly #fd: number;
  readonly #readOnly: boolean;
  readonly #direct: DirectAccess;
  readonly #gate = new HandleGate();
  readonly #syncs = new SyncGate();

  /** Takes `fd`, and `direct`, a way to the same file. */
  constructor(fd: number, path: string, readOnly: boolean, direct: DirectAccess) {
    this.#fd = fd;
    this.path = path;
    this.#readOnly = readOnly;
    this.#direct = direct;
  }

  read(buf: Uint8Array, pos: number): Promise<number> {
    checkPosition(pos);
    return this.#gate.run(() => readFd(this.#fd, buf, pos, this.path));
  }

  readSync(buf: Uint8Array, pos: number): number {
    checkPosition(pos);
    this.#gate.check();
    return readFdSync(this.#fd, buf, pos, this.path);
  }

  readDirect(buf: Uint8Array, pos: number): Promise<number> {
    checkPosition(pos);
    return this.#gate.run(async () => {
      const { from, to } = await this.#direct.read(this.#fd, buf, pos);
      if (from > 0) {
        const got = await readFd(this.#fd, buf.subarray(0, from), pos, this.path);
        if (got < from) return got;
      }
      return to === buf.length ? to : to + (await readFd(this.#fd, buf.subarray(to), pos + to, this.path));
    });
  }

  write(buf: Uint8Array, pos: number): Promise<void> {
    checkPosition(pos);
    return this.#gate.run(async () => {
      this.#mayChange('write');
      await writeFd(this.#fd, buf, pos, this.path);
    });
  }

  writeSync(buf: Uint8Array, pos: number): void {
    checkPosition(pos);
    this.#gate.check();
    this.#mayChange('write');
    writeFdSync(this.#fd, buf, pos, this.path);
  }

  writeDirect(buf: Uint8Array, pos: number): Promise<void> {
    checkPosition(pos);
    return this.#gate.run(async () => {
      this.#mayChange('write');
      const put = (bytes: Uint8Array, at: number): Promise<void> => writeFd(this.#fd, bytes, at, this.path);
      await this.#direct.writeAll(this.#fd, buf, pos, put);
    });
  }

  sync(): Promise<void> {
    return this.#gate.run(async () => {
      this.#mayChange('sync');
      await this.#syncs.run(() => syncFd(this.#fd, this.path));
    });
  }

  dataSync(): Promise<void> {
    return this.#gate.run(async () => {
      this.#mayChange('dataSync');
      await this.#syncs.run(() => dataSyncFd(this.#fd, this.path));
    });
  }

  truncate(length: number): Promise<void> {
    checkPosition(length);
    return this.#gate.run(async () => {
      this.#mayChange('truncate');
      await truncateFd(this.#fd, length, this.path);
    });
  }

  size(): Promise<number> {
    return this.#gate.run(() => sizeOfFd(this.#fd, this.path));
  }

  close(): Promise<void> {
    return this.#gate.close(async () => {
      try {
        await this.#direct.close();
      } finally {
        await closeFd(this.#fd, this.path);
      }
    });
  }

  #mayChange(what: string): void {
    if (this.#readOnly) throw readOnlyPort(what, this.path);
  }
}

// Node reads a position that is not a whole number as "wherever the descriptor stands".
function checkPosition(pos: number): void {
  assert(Number.isSafeInteger(pos) && pos >= 0, 'position is a whole number');
}
