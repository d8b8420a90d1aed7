/**
 * Long files, written past the system's cache: gathered in memory that direct writes can take, one piece of
 * which goes to the disk while the next one is filled.
 *
 * Invariants (test/cli/direct-output.test.ts)
 * - the file has what was appended, whatever the pieces, also where nothing can be written directly ("a file
 *   has the bytes that were appended").
 */
import { alignedBytes } from '../../base/aligned-bytes.ts';
import { MiB } from '../../base/limits.ts';
import { copyBehind } from '../../base/shared-copy.ts';
import { DirectAccess, type DirectSupport } from '../../fs/direct-access.ts';

/** Shorter files are better written through the cache, which gives them to the disk in its own time. */
export const directFileBytes: number = 16 * MiB;
/** Bytes of one write. */
const stageBytes = 2 * MiB;

/** Memory of one export for the files it writes, and what is known of its file system. */
export class DirectOutputs {
  readonly #support: DirectSupport;
  readonly #spare: Uint8Array[] = [];

  constructor(support: DirectSupport) {
    this.#support = support;
  }

  /** For a new file behind `fd` that `path` names; `put` writes what cannot be written directly. */
  open(fd: number, path: string, put: PutBytes): DirectOutput {
    const stages = [this.#take(), this.#take()] as const;
    const give = (): void => void this.#spare.push(...stages);
    return new DirectOutput(fd, new DirectAccess(this.#support, path, false), put, stages, give);
  }

  #take(): Uint8Array {
    return this.#spare.pop() ?? alignedBytes(stageBytes);
  }
}

/** Writes all of `bytes`, borrowed until it resolves, to `pos` of the file. */
export type PutBytes = (bytes: Uint8Array, pos: number) => Promise<void>;

/** One call at a time. */
export class DirectOutput {
  readonly #fd: number;
  readonly #access: DirectAccess;
  readonly #put: PutBytes;
  readonly #give: () => void;
  #filling: Uint8Array;
  #other: Uint8Array;
  #filled = 0;
  /** Where `#filling` belongs in the file. */
  #base = 0;
  /** Writes `#other`. */
  #writing: Promise<void> | undefined;

  constructor(
    fd: number,
    access: DirectAccess,
    put: PutBytes,
    stages: readonly [Uint8Array, Uint8Array],
    give: () => void,
  ) {
    this.#fd = fd;
    this.#access = access;
    this.#put = put;
    [this.#filling, this.#other] = stages;
    this.#give = give;
  }

  /** Appends `bytes`, which are copied. Rejects with what a write before this one failed with. */
  async append(bytes: Uint8Array): Promise<void> {
    for (let at = 0; at < bytes.length; ) {
      const taken = Math.min(bytes.length - at, stageBytes - this.#filled);
      copyBehind(this.#filling, this.#filled, bytes, at, at + taken);
      at += taken;
      this.#filled += taken;
      if (this.#filled === stageBytes) await this.#send();
    }
  }

  /** Writes what is left. */
  async finish(): Promise<void> {
    await this.#send();
    await this.#writing;
  }

  /** Gives memory and descriptor back, after what is under way. Never to be called twice. */
  async close(): Promise<void> {
    await Promise.allSettled([this.#writing]);
    this.#give();
    await this.#access.close();
  }

  async #send(): Promise<void> {
    await this.#writing;
    const bytes = this.#filling.subarray(0, this.#filled);
    this.#writing = this.#access.writeAll(this.#fd, bytes, this.#base, this.#put);
    // Told by the next call.
    this.#writing.catch(() => undefined);
    [this.#filling, this.#other] = [this.#other, this.#filling];
    this.#base += this.#filled;
    this.#filled = 0;
  }
}
