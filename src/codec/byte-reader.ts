/**
 * Bounded reading of bytes that may be damaged: every length is checked against what is left before
 * anything is sliced or allocated. Each failure is VARVE_CORRUPT with file and offset.
 */
import { viewOf } from '../base/bytes.ts';
import { corrupt, type Place, type VarveError } from '../base/errors.ts';
import { readU48, readU64 } from './layout.ts';

export class ByteReader {
  readonly bytes: Uint8Array;
  readonly end: number;
  pos: number;
  /** Made when a number is first read: many readers read none. */
  #viewMade: DataView | undefined;
  readonly #place: Place;

  /** Reads `bytes[from..to)`; `place.offset` is the file offset of `bytes[0]`. Borrows `bytes`. */
  constructor(bytes: Uint8Array, place: Place, from = 0, to: number = bytes.length) {
    this.bytes = bytes;
    this.pos = from;
    this.end = to;
    this.#place = place;
  }

  get #view(): DataView {
    this.#viewMade ??= viewOf(this.bytes);
    return this.#viewMade;
  }

  get left(): number {
    return this.end - this.pos;
  }

  u8(): number {
    return this.bytes[this.#take(1)]!;
  }

  u16(): number {
    return this.#view.getUint16(this.#take(2), true);
  }

  u32(): number {
    return this.#view.getUint32(this.#take(4), true);
  }

  u32be(): number {
    return this.#view.getUint32(this.#take(4), false);
  }

  i32(): number {
    return this.#view.getInt32(this.#take(4), true);
  }

  u48(): number {
    return readU48(this.#view, this.#take(6));
  }

  u64(): number {
    const value = readU64(this.#view, this.#take(8));
    if (value > Number.MAX_SAFE_INTEGER) throw this.fail('integer above 2^53-1');
    return value;
  }

  hash64(): bigint {
    return this.#view.getBigUint64(this.#take(8), true);
  }

  varint(): number {
    let value = 0;
    let scale = 1;
    for (let i = 0; ; i++) {
      const byte = this.u8();
      value += (byte & 127) * scale;
      if (value > Number.MAX_SAFE_INTEGER || i > 7) throw this.fail('varint above 2^53-1');
      if (byte < 128) {
        if (byte === 0 && i > 0) throw this.fail('varint is not in its shortest form');
        return value;
      }
      scale *= 128;
    }
  }

  /** Passes over the next `n` bytes: where they begin. */
  skip(n: number): number {
    return this.#take(n);
  }

  /** A view on the next `n` bytes (borrowed from the underlying buffer). */
  view(n: number): Uint8Array {
    const at = this.#take(n);
    return this.bytes.subarray(at, at + n);
  }

  /** A copy of the next `n` bytes. */
  copy(n: number): Uint8Array {
    const at = this.#take(n);
    return this.bytes.slice(at, at + n);
  }

  /** varint length, then that many bytes, as a view. */
  varBytes(maxLength: number = this.end): Uint8Array {
    const n = this.varint();
    if (n > maxLength) throw this.fail('length exceeds its bound');
    return this.view(n);
  }

  /** Refuses trailing bytes. */
  finish(): void {
    if (this.pos !== this.end) throw this.fail('bytes left over after the last field');
  }

  fail(what: string): VarveError {
    return corrupt(what, { file: this.#place.file, offset: (this.#place.offset ?? 0) + this.pos });
  }

  #take(n: number): number {
    if (n < 0 || n > this.end - this.pos) throw this.fail('structure is cut off');
    const at = this.pos;
    this.pos += n;
    return at;
  }
}
