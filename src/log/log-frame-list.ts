/**
 * Frames of a log chain in columns: 48 B per frame (8 offset, 8 first number, 8 time, 8 durable number, 4
 * length, 4 count, 4 file, 1 type, rounded), so that a long log of small frames stays small in memory.
 */
import type { FrameFields } from '../format/log-frame.ts';
import type { LogFrame } from './log-reader.ts';

/** What the list needs to know of a file. */
export interface ListedFile {
  readonly no: number;
  readonly path: string;
}

export class LogFrameList implements Iterable<LogFrame> {
  readonly #files: ListedFile[] = [];
  #length = 0;
  #doubles = new Float64Array(4 * 64);
  #words = new Uint32Array(3 * 64);
  #types = new Uint8Array(64);

  get length(): number {
    return this.#length;
  }

  /** Frame `index`, as a new object. */
  at(index: number): LogFrame {
    const d = 4 * index;
    const w = 3 * index;
    const file = this.#files[this.#words[w + 2]!]!;
    return {
      fileNo: file.no,
      path: file.path,
      offset: this.#doubles[d]!,
      seqFirst: this.#doubles[d + 1]!,
      commitTimeMs: this.#doubles[d + 2]!,
      durableSeq: this.#doubles[d + 3]!,
      payloadLen: this.#words[w]!,
      count: this.#words[w + 1]!,
      type: this.#types[index]!,
    };
  }

  *[Symbol.iterator](): Iterator<LogFrame> {
    for (let i = 0; i < this.#length; i++) yield this.at(i);
  }

  /** Starts the frames of another file. */
  beginFile(file: ListedFile): void {
    this.#files.push(file);
  }

  push(frame: FrameFields & { readonly offset: number; readonly payloadLen: number }): void {
    const i = this.#length;
    if (i === this.#types.length) this.#grow();
    this.#doubles.set([frame.offset, frame.seqFirst, frame.commitTimeMs, frame.durableSeq], 4 * i);
    this.#words.set([frame.payloadLen, frame.count, this.#files.length - 1], 3 * i);
    this.#types[i] = frame.type;
    this.#length++;
  }

  /** Forgets every frame from `length` on. */
  truncate(length: number): void {
    this.#length = Math.min(this.#length, length);
  }

  #grow(): void {
    const rows = 2 * this.#types.length;
    const doubles = new Float64Array(4 * rows);
    const words = new Uint32Array(3 * rows);
    const types = new Uint8Array(rows);
    doubles.set(this.#doubles);
    words.set(this.#words);
    types.set(this.#types);
    this.#doubles = doubles;
    this.#words = words;
    this.#types = types;
  }
}
