/**
 * Memory that begins where a page begins, which direct input and output need (open(2), O_DIRECT).
 *
 * JavaScript cannot ask where an array lies; the memory of a WebAssembly instance lies on a page, since the
 * engine protects it page by page, and its bytes are an ArrayBuffer like any other.
 */

/** Bytes of a block of direct input and output: positions, lengths and places in memory are multiples. */
export const directBlock = 4096;

/** The engine's type libraries have no WebAssembly, and some runtimes do not either (jitless). */
interface WasmScope {
  Memory: new (shape: { initial: number; maximum: number }) => { readonly buffer: ArrayBuffer };
}

const wasmPage = 65_536;
const scope = (globalThis as { WebAssembly?: WasmScope }).WebAssembly;
const aligned = new WeakSet<ArrayBufferLike>();

/** `length` zero bytes that begin on a page; ordinary memory where the system gives none. */
export function alignedBytes(length: number): Uint8Array {
  if (scope === undefined) return new Uint8Array(length);
  const pages = Math.ceil(length / wasmPage);
  let buffer: ArrayBuffer;
  try {
    buffer = new scope.Memory({ initial: pages, maximum: pages }).buffer;
  } catch (error) {
    // Each takes a large range of addresses, which a system may bound (ulimit -v).
    if (!(error instanceof RangeError)) throw error;
    return new Uint8Array(length);
  }
  aligned.add(buffer);
  return new Uint8Array(buffer, 0, length);
}

/** `bytes` lies in memory from `alignedBytes`: where a block begins, `byteOffset` tells. */
export function isAligned(bytes: Uint8Array): boolean {
  return aligned.has(bytes.buffer);
}
