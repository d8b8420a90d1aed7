/**
 * The lease of this process, the one file it writes. Where it cannot be written the reader goes on without:
 * then a writer beside it may remove files it reads, which it is told as VARVE_SNAPSHOT_EXPIRED.
 */
import { toHex } from '../../base/bytes.ts';
import { leaseSuffix, readersDir } from '../../format/file-names.ts';
import { encodeLease } from '../../format/lease.ts';
import type { FsFile } from '../../fs/port.ts';
import type { Env } from '../env.ts';

export class LeaseFile {
  readonly path: string;
  readonly #env: Env;
  readonly #file: FsFile;
  #beats = 0;
  #generation = 0;
  #dbUuid: Uint8Array = new Uint8Array(16);

  private constructor(env: Env, path: string, file: FsFile) {
    this.#env = env;
    this.path = path;
    this.#file = file;
  }

  /** Makes a lease that holds everything, before anything is read. VARVE_IO, VARVE_NO_SPACE. */
  static async create(env: Env): Promise<LeaseFile> {
    const path = `${readersDir}/${toHex(env.random(16))}${leaseSuffix}`;
    await env.fs.mkdir(readersDir);
    const file = await env.fs.open(path, 'create');
    const lease = new LeaseFile(env, path, file);
    try {
      await lease.beat();
      return lease;
    } catch (error) {
      await lease.end();
      throw error;
    }
  }

  /** The oldest state in use is the one of that generation. */
  async raise(generation: number, dbUuid: Uint8Array): Promise<void> {
    this.#generation = generation;
    this.#dbUuid = dbUuid;
    await this.beat();
  }

  /** Says that this process lives; false when a writer has taken it for dead. */
  async beat(): Promise<boolean> {
    const { fs } = this.#env;
    const lease = { dbUuid: this.#dbUuid, generation: this.#generation, beats: ++this.#beats };
    await this.#file.write(encodeLease(lease), 0);
    return (await fs.stat(this.path)) !== null;
  }

  /** Lets go of everything. */
  async end(): Promise<void> {
    await this.#file.close();
    await this.#env.fs.unlink(this.path);
  }
}
