/**
 * Objects as files of a directory, over the file-system port. An object is written under `tmp/`, synced, and
 * only then given its name: by a link where the name must be free, which no two writers can both make, by a
 * rename otherwise. Names are durable before a call resolves.
 *
 * Invariants (test/backup/blob-store.test.ts)
 * - A name has whole bytes or none, also after a power cut ("a power cut at any operation leaves an object
 *   whole or not there").
 * - What a put or delete has answered survives a power cut (the same test).
 */

import { toHex } from '../base/bytes.ts';
import { corrupt, isVarveError } from '../base/errors.ts';
import { MiB } from '../base/limits.ts';
import { createFile, ensureDir, forgetDirs, hasErrno, readWhole } from '../fs/dirs.ts';
import { parentPath } from '../fs/fs-path.ts';
import type { FsFile, FsPort } from '../fs/port.ts';
import {
  type BlobCaps,
  type BlobData,
  type BlobEntry,
  type BlobStore,
  checkBlobName,
  checkBlobPrefix,
  noSuchBlob,
  type OpenBlob,
  piecesOf,
} from './blob-store.ts';

const tempDir = 'tmp';
/** Bytes handed to the disk at once. */
const writeBytes = 4 * MiB;
/** A draft that nobody has touched for so long is nobody's any more, ms. */
const draftAgeMs = 48 * 3600 * 1000;

export class DirectoryBlobs implements BlobStore {
  readonly root: string;
  readonly caps: BlobCaps;
  readonly #fs: FsPort;
  readonly #random: (bytes: number) => Uint8Array;

  private constructor(fs: FsPort, random: (bytes: number) => Uint8Array, links: boolean) {
    this.#fs = fs;
    this.#random = random;
    this.root = fs.root;
    this.caps = { conditionalPut: links, local: true };
  }

  /**
   * Objects of the directory that `fs` stands on. Finds out whether its disk has links: without them
   * `conditionalPut` is false. `readOnly`: nothing is written, nor found out.
   */
  static async open(
    fs: FsPort,
    random: (bytes: number) => Uint8Array,
    options: { readonly readOnly?: boolean } = {},
  ): Promise<DirectoryBlobs> {
    if (options.readOnly === true) return new DirectoryBlobs(fs, random, true);
    forgetDirs(fs);
    return new DirectoryBlobs(fs, random, await hasLinks(fs, random));
  }

  async put(name: string, data: BlobData, options: { readonly ifAbsent?: boolean } = {}): Promise<boolean> {
    checkBlobName(name);
    const fs = this.#fs;
    const ifAbsent = options.ifAbsent === true;
    if (ifAbsent && (await this.size(name)) !== undefined) return false;
    const draft = `${tempDir}/${toHex(this.#random(12))}`;
    const file = await createFile(fs, draft);
    try {
      try {
        let pos = 0;
        for await (const piece of piecesOf(data)) {
          for (let at = 0; at < piece.length; at += writeBytes) {
            const part = piece.subarray(at, at + writeBytes);
            await file.writeDirect(part, pos);
            pos += part.length;
          }
        }
        await file.sync();
      } finally {
        await file.close();
      }
      return await this.#publish(draft, name, ifAbsent);
    } catch (error) {
      // The failure matters more than the draft, which is removed when it is old enough.
      await fs.unlink(draft).then(
        () => undefined,
        () => undefined,
      );
      throw error;
    }
  }

  async get(name: string, bytesMax: number): Promise<Uint8Array> {
    checkBlobName(name);
    return await readWhole(this.#fs, name, bytesMax).catch((error: unknown) => {
      throw missing(error) ? noSuchBlob(name) : error;
    });
  }

  async getRange(name: string, from: number, length: number): Promise<Uint8Array> {
    const file = await this.#openFile(name);
    try {
      const size = await file.size();
      const bytes = new Uint8Array(Math.max(0, Math.min(length, size - from)));
      const got = await file.read(bytes, from);
      if (got !== bytes.length) throw corrupt('object is cut off', { file: name, offset: from + got });
      return bytes;
    } finally {
      await file.close();
    }
  }

  async readInto(name: string, from: number, into: Uint8Array): Promise<number> {
    const file = await this.#openFile(name);
    try {
      return await file.read(into, from);
    } finally {
      await file.close();
    }
  }

  async open(name: string): Promise<OpenBlob> {
    const file = await this.#openFile(name);
    return {
      readInto: (from, into) => file.read(into, from),
      readBack: (from, into) => file.readDirect(into, from),
      close: () => file.close(),
    };
  }

  async size(name: string): Promise<number | undefined> {
    checkBlobName(name);
    try {
      const stat = await this.#fs.stat(name);
      return stat?.kind === 'file' ? stat.size : undefined;
    } catch (error) {
      if (missing(error)) return undefined;
      throw error;
    }
  }

  async delete(name: string): Promise<boolean> {
    checkBlobName(name);
    try {
      if (!(await this.#fs.unlink(name))) return false;
    } catch (error) {
      if (missing(error)) return false;
      throw error;
    }
    await this.#fs.syncDir(parentPath(name));
    return true;
  }

  async *list(prefix: string): AsyncGenerator<BlobEntry> {
    checkBlobPrefix(prefix);
    const dir = prefix.slice(0, -1);
    yield* this.#listDir(dir, dir === '');
  }

  /** Removes drafts that a dead process left; `now` in ms since 1970. Returns how many. */
  async removeOldDrafts(now: number): Promise<number> {
    let removed = 0;
    for (const { name, kind } of await this.#entries(tempDir)) {
      const path = `${tempDir}/${name}`;
      const stat = kind === 'file' ? await this.#fs.stat(path) : null;
      if (stat !== null && now - stat.mtimeMs > draftAgeMs && (await this.#fs.unlink(path))) removed++;
    }
    if (removed > 0) await this.#fs.syncDir(tempDir);
    return removed;
  }

  async #openFile(name: string): Promise<FsFile> {
    checkBlobName(name);
    return await this.#fs.open(name, 'read').catch((error: unknown) => {
      throw missing(error) ? noSuchBlob(name) : error;
    });
  }

  async #publish(draft: string, name: string, ifAbsent: boolean): Promise<boolean> {
    const fs = this.#fs;
    const dir = parentPath(name);
    await ensureDir(fs, dir);
    if (!ifAbsent || !this.caps.conditionalPut) {
      await fs.rename(draft, name);
      await fs.syncDir(dir);
      return true;
    }
    let made = true;
    try {
      await fs.link(draft, name);
    } catch (error) {
      if (!hasErrno(error, 'EEXIST')) throw error;
      made = false;
    }
    if (made) await fs.syncDir(dir);
    await fs.unlink(draft);
    return made;
  }

  async *#listDir(dir: string, isRoot: boolean): AsyncGenerator<BlobEntry> {
    for (const { name, kind } of await this.#entries(dir)) {
      if (isRoot && name === tempDir) continue;
      const path = dir === '' ? name : `${dir}/${name}`;
      if (kind === 'directory') yield* this.#listDir(path, false);
      else if (kind === 'file') {
        const size = await this.size(path);
        if (size !== undefined) yield { name: path, size };
      }
    }
  }

  /** Entries of a directory with plain names; none where it is not there. */
  async #entries(dir: string) {
    try {
      const entries = await this.#fs.list(dir);
      return entries.filter(({ name }) => /^[A-Za-z0-9._-]+$/.test(name));
    } catch (error) {
      if (missing(error)) return [];
      throw error;
    }
  }
}

function missing(error: unknown): boolean {
  return hasErrno(error, 'ENOENT') || hasErrno(error, 'ENOTDIR');
}

/** Tries a link; a disk without them refuses it. */
async function hasLinks(fs: FsPort, random: (bytes: number) => Uint8Array): Promise<boolean> {
  const probe = `${tempDir}/${toHex(random(12))}`;
  const file = await createFile(fs, probe);
  await file.close();
  try {
    await fs.link(probe, `${probe}.link`);
    await fs.unlink(`${probe}.link`);
    return true;
  } catch (error) {
    if (isVarveError(error, 'VARVE_IO')) return false;
    throw error;
  } finally {
    await fs.unlink(probe);
  }
}
