/** What a chunking algorithm is to the rest: a window of memory and a search for the first cut in it. */

/** Bytes mapped after the window of a WebAssembly kernel: vector loads read past the last position. */
export const scanSlackBytes = 64;

/** A search for cuts in one window. Owned by one stream at a time. */
export interface ScanKernel {
  /** How it runs, for stats. */
  readonly kind: 'wasm' | 'javascript';
  /** The bytes it scans. The same array, never detached or moved, for the life of the kernel. */
  readonly window: Uint8Array;
  /**
   * The smallest cut position c with `from <= c < strictEnd` whose hash is below the strict threshold, or
   * with `strictEnd <= c < end` whose hash is below the loose one; 0 when there is none. A position c depends
   * on window[c-64 .. c) alone. Needs 64 <= from <= end <= window.length.
   */
  scan(from: number, strictEnd: number, end: number): number;
}
