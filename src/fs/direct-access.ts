/**
 * A second descriptor on a file that is open already, past the system's cache (O_DIRECT): its blocks go from
 * memory to the disk and back without a copy in the cache, which costs more processor time than the transfer
 * wherever pages are dear, and leaves there what others read more often.
 *
 * A disk or file system that has no such access, or wants larger blocks, refuses the first call with EINVAL;
 * from then on nothing of this file system is tried directly. What was written one way is read the other way:
 * the system keeps both in step, and a block is written through one of them only, unless a call falls short.
 *
 * Invariants (test/fs/direct-access.test.ts)
 * - The file has the same bytes either way ("a file written directly has the bytes of one written plainly").
 * - Where it is refused, everything goes the plain way ("what refuses direct access is written plainly").
 */
import { directBlock, isAligned } from '../base/aligned-bytes.ts';
import { KiB } from '../base/limits.ts';
import { hasErrno } from './dirs.ts';
import { closeFd, offersDirect, openDirect, readFdOnce, writeFdOnce } from './raw-fs.ts';

/** Fewer bytes than this go the plain way: a descriptor more, and a wait for the disk, must pay. */
export const directBytesMin: number = 128 * KiB;

/** What is known of a file system. */
export class DirectSupport {
  /** False once a call was refused, or where the platform has no such access. */
  isOffered: boolean = offersDirect;
  /** Whole blocks of fewer bytes go the plain way. */
  readonly bytesMin: number;

  /** Smaller in tests. */
  constructor(bytesMin: number = directBytesMin) {
    this.bytesMin = bytesMin;
  }
}

/** Bytes of a buffer, `from` included, `to` not. */
interface Span {
  readonly from: number;
  readonly to: number;
}

const nothing: Span = { from: 0, to: 0 };

/** The whole blocks of `buf` at file offset `pos`; none where it lies at another place in a block. */
function blocksOf(buf: Uint8Array, pos: number): Span {
  const from = (directBlock - (pos % directBlock)) % directBlock;
  if (!isAligned(buf) || (buf.byteOffset + from) % directBlock !== 0) return nothing;
  return { from, to: from + Math.floor((buf.length - from) / directBlock) * directBlock };
}

export class DirectAccess {
  readonly #support: DirectSupport;
  readonly #path: string;
  readonly #isReadOnly: boolean;
  #fd: Promise<number | undefined> | undefined;

  /** For a file that `path` names in errors. */
  constructor(support: DirectSupport, path: string, isReadOnly: boolean) {
    this.#support = support;
    this.#path = path;
    this.#isReadOnly = isReadOnly;
  }

  /**
   * Writes what it can of `buf` at `pos` of the file behind `fd`: bytes [from, to) of it are written; none
   * where nothing was.
   */
  write(fd: number, buf: Uint8Array, pos: number): Promise<Span> {
    return this.#transfer(fd, buf, pos, writeFdOnce);
  }

  /** Writes all of `buf` at `pos`: by `put` what cannot be written directly. */
  async writeAll(
    fd: number,
    buf: Uint8Array,
    pos: number,
    put: (bytes: Uint8Array, pos: number) => Promise<void>,
  ): Promise<void> {
    const { from, to } = await this.write(fd, buf, pos);
    if (from > 0) await put(buf.subarray(0, from), pos);
    if (to < buf.length) await put(buf.subarray(to), pos + to);
  }

  /** Reads what it can, as `write`: where the file ends, `to` is less than was asked for. */
  read(fd: number, buf: Uint8Array, pos: number): Promise<Span> {
    return this.#transfer(fd, buf, pos, readFdOnce);
  }

  async close(): Promise<void> {
    const fd = await this.#fd;
    if (fd !== undefined) await closeFd(fd, this.#path);
  }

  async #transfer(fd: number, buf: Uint8Array, pos: number, call: typeof readFdOnce): Promise<Span> {
    const { from, to } = blocksOf(buf, pos);
    if (to - from < Math.max(1, this.#support.bytesMin) || !this.#support.isOffered) return nothing;
    this.#fd ??= this.#open(fd);
    const direct = await this.#fd;
    if (direct === undefined) return nothing;
    try {
      return { from, to: from + (await call(direct, buf.subarray(from, to), pos + from, this.#path)) };
    } catch (error) {
      this.#refused(error);
      return nothing;
    }
  }

  /** Undefined where it fails: what else is wrong with the file, the descriptor that is open will tell. */
  async #open(fd: number): Promise<number | undefined> {
    try {
      return await openDirect(fd, this.#isReadOnly, this.#path);
    } catch (error) {
      if (hasErrno(error, 'EINVAL')) this.#support.isOffered = false;
      return undefined;
    }
  }

  /** Throws what is no refusal of direct access. */
  #refused(error: unknown): void {
    if (!hasErrno(error, 'EINVAL')) throw error;
    this.#support.isOffered = false;
  }
}
