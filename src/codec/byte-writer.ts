/** A growing byte buffer. `reserve` once, then write: no object per field. */
import { copyRange, viewOf } from '../base/bytes.ts';
import { writeU48, writeU64 } from './layout.ts';
import { writeVarint } from './varint.ts';

export class ByteWriter {
  /** The buffer; replaced when it grows, so do not keep it across a `reserve`. */
  bytes: Uint8Array;
  view: DataView;
  pos = 0;

  constructor(capacity = 256) {
    this.bytes = new Uint8Array(capacity);
    this.view = viewOf(this.bytes);
  }

  /** Makes room for `n` more bytes. */
  reserve(n: number): void {
    if (this.pos + n <= this.bytes.length) return;
    const grown = new Uint8Array(Math.max(this.bytes.length * 2, this.pos + n));
    grown.set(this.bytes.subarray(0, this.pos));
    this.bytes = grown;
    this.view = viewOf(grown);
  }

  u8(value: number): void {
    this.reserve(1);
    this.bytes[this.pos++] = value;
  }

  u16(value: number): void {
    this.reserve(2);
    this.view.setUint16(this.pos, value, true);
    this.pos += 2;
  }

  u32(value: number): void {
    this.reserve(4);
    this.view.setUint32(this.pos, value, true);
    this.pos += 4;
  }

  u32be(value: number): void {
    this.reserve(4);
    this.view.setUint32(this.pos, value, false);
    this.pos += 4;
  }

  i32(value: number): void {
    this.reserve(4);
    this.view.setInt32(this.pos, value, true);
    this.pos += 4;
  }

  u48(value: number): void {
    this.reserve(6);
    writeU48(this.view, this.pos, value);
    this.pos += 6;
  }

  u64(value: number): void {
    this.reserve(8);
    writeU64(this.view, this.pos, value);
    this.pos += 8;
  }

  hash64(value: bigint): void {
    this.reserve(8);
    this.view.setBigUint64(this.pos, value, true);
    this.pos += 8;
  }

  varint(value: number): void {
    this.reserve(8);
    this.pos = writeVarint(this.bytes, this.pos, value);
  }

  raw(bytes: Uint8Array): void {
    this.reserve(bytes.length);
    this.bytes.set(bytes, this.pos);
    this.pos += bytes.length;
  }

  /** bytes[from..to). */
  range(bytes: Uint8Array, from: number, to: number): void {
    this.reserve(to - from);
    copyRange(bytes, from, to, this.bytes, this.pos);
    this.pos += to - from;
  }

  /** varint length, then the bytes. */
  varBytes(bytes: Uint8Array): void {
    this.varint(bytes.length);
    this.raw(bytes);
  }

  zeros(n: number): void {
    this.reserve(n);
    this.bytes.fill(0, this.pos, this.pos + n);
    this.pos += n;
  }

  /** Zero bytes up to the next multiple of 8 counted from `start`. */
  align8(start = 0): void {
    const over = (this.pos - start) % 8;
    if (over !== 0) this.zeros(8 - over);
  }

  /** What was written so far, as a view (borrowed until the next write). */
  written(): Uint8Array {
    return this.bytes.subarray(0, this.pos);
  }

  /** What was written so far, as a copy. */
  take(): Uint8Array {
    return this.bytes.slice(0, this.pos);
  }

  clear(): void {
    this.pos = 0;
  }
}
