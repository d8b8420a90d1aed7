/** Memory in which bytes wait for their file: ordinary, that grows, or in blocks for direct writes. */
import { alignedBytes, directBlock } from '../base/aligned-bytes.ts';
import { KiB, MiB } from '../base/limits.ts';

/** A writer's first buffer starts with this many bytes and grows: many segments stay small. */
export const firstBufferBytes: number = 8 * KiB;
/** Bytes of a buffer for direct writes. */
const directBufferBytes: number = 2 * MiB;
/** Buffers kept for the next file. */
const spareMax = 3;

/** Room in a buffer: `length` bytes at `bytes[pos..]`, to be filled before anything else happens. */
export interface WriteBuffer {
  /** Replaced when it grows; what is below `filled` never changes in either. */
  bytes: Uint8Array;
  /** Bytes it may grow to. */
  readonly capacity: number;
  /** File offset of `bytes[0]`. */
  readonly base: number;
  /** Bytes appended; new room begins here. */
  filled: number;
  /** Bytes at its end that the next buffer begins with, and writes. */
  shared: number;
  /** Nothing more is appended to it. */
  closed: boolean;
  /** Its bytes are from `DirectBuffers`, and as far behind a block as its place in the file. */
  readonly isDirect: boolean;
  /** Who is told when nobody reads it any more: it is theirs again. */
  readonly done?: (() => void) | undefined;
}

/** Memory for direct writes of one file after another. */
export class DirectBuffers {
  readonly bufferBytes: number;
  /** Bytes of a block: writes are of whole ones. */
  readonly block: number;
  readonly #allocate: (length: number) => Uint8Array;
  readonly #spare: Uint8Array[] = [];

  /** Smaller in tests, which need no memory in blocks. */
  constructor(
    bufferBytes: number = directBufferBytes,
    block: number = directBlock,
    allocate: (length: number) => Uint8Array = alignedBytes,
  ) {
    this.bufferBytes = bufferBytes;
    this.block = block;
    this.#allocate = allocate;
  }

  /**
   * A buffer for what follows file offset `end`. What `last`, which ends there and is closed, has of a block
   * that is not full becomes its beginning: only whole blocks are written directly. Below `writtenEnd` it is
   * in the file.
   */
  after(last: WriteBuffer | undefined, end: number, writtenEnd: number): WriteBuffer {
    const memory = this.#spare.pop() ?? this.#allocate(this.bufferBytes);
    const behind = end % this.block;
    if (last?.isDirect === true && behind <= last.filled && end - behind >= writtenEnd) {
      last.shared = behind;
      memory.set(last.bytes.subarray(last.filled - behind, last.filled));
      const base = end - behind;
      return { bytes: memory, capacity: memory.length, base, filled: behind, ...fresh };
    }
    const bytes = memory.subarray(behind);
    return { bytes, capacity: bytes.length, base: end, filled: 0, ...fresh };
  }

  give(buffer: WriteBuffer): void {
    if (this.#spare.length < spareMax)
      this.#spare.push(new Uint8Array(buffer.bytes.buffer, 0, this.bufferBytes));
  }
}

const fresh = { shared: 0, closed: false, isDirect: true } as const;

/** Room for `needed` bytes in a buffer that may still grow. */
export function growTo(buffer: WriteBuffer, needed: number): void {
  if (needed <= buffer.bytes.length) return;
  const grown = new Uint8Array(Math.min(buffer.capacity, Math.max(needed, buffer.bytes.length * 4)));
  grown.set(buffer.bytes.subarray(0, buffer.filled));
  buffer.bytes = grown;
}
