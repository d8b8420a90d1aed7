/**
 * Bytes of a file in memory: 4 KiB pages, shared between forks until one of them writes, holes for zeros.
 *
 * Invariants
 * - Bytes of the last page past the size are zero, so that growing shows zeros (port-contract.test: "a file
 *   behaves …").
 * - A page is written only by the one that owns it; a fork leaves no owner (paged-bytes.test: "forks …").
 * - The digest kept is that of the content: whoever writes goes on with one of its own (paged-bytes.test:
 *   "… equal content has one digest").
 */
import { xxh64 } from '../codec/checksum.ts';

const pageBytes = 4096;
const zeroPage = new Uint8Array(pageBytes);

interface Page {
  readonly bytes: Uint8Array;
  readonly owner: object;
}

export class PagedBytes {
  #pages: (Page | undefined)[] = [];
  #size = 0;
  #owner: object = {};
  /** Shared by forks until one of them changes; 0 until somebody asks. */
  #known = { digest: 0n };

  get size(): number {
    return this.#size;
  }

  /** Copies up to `buf.length` bytes at `pos`; returns how many there were. */
  read(buf: Uint8Array, pos: number): number {
    const n = Math.max(0, Math.min(buf.length, this.#size - pos));
    for (let done = 0; done < n; ) {
      const at = (pos + done) % pageBytes;
      const take = Math.min(pageBytes - at, n - done);
      const page = this.#pages[Math.floor((pos + done) / pageBytes)];
      if (page === undefined) buf.fill(0, done, done + take);
      else buf.set(page.bytes.subarray(at, at + take), done);
      done += take;
    }
    return n;
  }

  /** Copies `buf` in at `pos`, growing as needed. */
  write(buf: Uint8Array, pos: number): void {
    this.#known = { digest: 0n };
    for (let done = 0; done < buf.length; ) {
      const at = (pos + done) % pageBytes;
      const take = Math.min(pageBytes - at, buf.length - done);
      this.#own(Math.floor((pos + done) / pageBytes)).set(buf.subarray(done, done + take), at);
      done += take;
    }
    if (buf.length > 0) this.#size = Math.max(this.#size, pos + buf.length);
  }

  /** Cuts off or grows with zeros. */
  truncate(length: number): void {
    this.#known = { digest: 0n };
    if (length < this.#size) {
      this.#pages.length = Math.min(this.#pages.length, Math.ceil(length / pageBytes));
      const last = Math.floor(length / pageBytes);
      if (length % pageBytes !== 0 && this.#pages[last] !== undefined) {
        this.#own(last).fill(0, length % pageBytes);
      }
    }
    this.#size = length;
  }

  /** Zeroes `[from, to)` within the size. */
  zero(from: number, to: number): void {
    const end = Math.min(to, this.#size);
    for (let at = from; at < end; ) {
      const take = Math.min(pageBytes - (at % pageBytes), end - at);
      this.write(zeroPage.subarray(0, take), at);
      at += take;
    }
  }

  /** The bytes `[from, to)` as a copy. */
  copy(from: number, to: number): Uint8Array {
    const out = new Uint8Array(Math.max(0, Math.min(to, this.#size) - from));
    this.read(out, from);
    return out;
  }

  /** An independent copy that shares pages until one side writes them. */
  fork(): PagedBytes {
    const other = new PagedBytes();
    other.#pages = this.#pages.slice();
    other.#size = this.#size;
    other.#known = this.#known;
    this.#owner = {};
    return other;
  }

  /** Of size and content; computed once for all forks that have not changed. */
  digest(): bigint {
    if (this.#known.digest === 0n) {
      let state = BigInt(this.#size);
      const count = Math.ceil(this.#size / pageBytes);
      for (let i = 0; i < count; i++) state = xxh64(this.#pages[i]?.bytes ?? zeroPage, state);
      this.#known.digest = state || 1n;
    }
    return this.#known.digest;
  }

  #own(index: number): Uint8Array {
    const page = this.#pages[index];
    if (page !== undefined && page.owner === this.#owner) return page.bytes;
    const bytes = page === undefined ? new Uint8Array(pageBytes) : page.bytes.slice();
    while (this.#pages.length < index && this.#pages.length + 1024 > index) this.#pages.push(undefined);
    this.#pages[index] = { bytes, owner: this.#owner };
    return bytes;
  }
}
