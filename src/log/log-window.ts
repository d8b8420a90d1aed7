/**
 * Sequential reading of a log file through one buffer: a few MiB are read ahead, a large frame grows it to
 * the frame's size and no further.
 */
import { viewOf } from '../base/bytes.ts';
import { MiB } from '../base/limits.ts';
import { readExact } from '../fs/dirs.ts';
import type { FsFile } from '../fs/port.ts';

const windowBytes = 4 * MiB;

export class LogWindow {
  readonly file: FsFile;
  /** Bytes of the file when the window was made; nothing beyond is read. */
  readonly size: number;
  /** `buf[0..filled)` are the bytes of the file from `start` on. Replaced by `need`. */
  buf: Uint8Array;
  view: DataView;
  start = 0;
  filled = 0;
  readonly #piece: number;

  /** Borrows `file`, which the caller closes. */
  constructor(file: FsFile, size: number, piece: number = windowBytes) {
    this.file = file;
    this.size = size;
    this.#piece = piece;
    this.buf = new Uint8Array(Math.min(piece, size));
    this.view = viewOf(this.buf);
  }

  /** True when `n` bytes from `offset` are in the buffer. */
  holds(offset: number, n: number): boolean {
    return offset >= this.start && offset + n <= this.start + this.filled;
  }

  /**
   * Makes `n` bytes from `offset` readable (all up to the end of the file when there are fewer). Views on
   * `buf` taken before are invalid afterwards.
   */
  async need(offset: number, n: number): Promise<void> {
    const wanted = Math.min(n, this.size - offset);
    if (wanted <= 0 || this.holds(offset, wanted)) return;
    const bytes = Math.min(this.size - offset, Math.max(wanted, this.#piece));
    if (this.buf.length < bytes || this.buf.length > 2 * Math.max(bytes, this.#piece)) {
      this.buf = new Uint8Array(bytes);
      this.view = viewOf(this.buf);
    }
    this.filled = 0;
    await readExact(this.file, this.buf.subarray(0, bytes), offset);
    this.start = offset;
    this.filled = bytes;
  }
}
