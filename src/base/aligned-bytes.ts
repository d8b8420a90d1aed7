/**
 * Memory that begins where a page begins, which direct input and output need (open(2), O_DIRECT).
 *
 * JavaScript cannot ask where an array lies; the memory of a WebAssembly instance lies on a page, since the
 * engine protects it page by page, and its bytes are an ArrayBuffer like any other.
 */

/** Bytes of a block of direct input and output: positions, lengths and places in memory are multiples. */
export const directBlock = 4096;

/** A memory of WebAssembly. */
export interface WasmMemory {
  readonly buffer: ArrayBuffer | SharedArrayBuffer;
}

/** The engine's type libraries have no WebAssembly, and some runtimes do not either (jitless). */
interface WasmScope {
  Memory: new (shape: { initial: number; maximum: number; shared: boolean }) => WasmMemory;
}

const wasmPage = 65_536;
const scope = (globalThis as { WebAssembly?: WasmScope }).WebAssembly;
const aligned = new WeakSet<ArrayBufferLike>();

/**
 * A memory of at least `bytes` that never grows. Undefined where there is no WebAssembly, or no address space
 * is left (ulimit -v): each takes some GiB of addresses, whatever its size.
 */
export function wasmMemory(bytes: number, shared = false): WasmMemory | undefined {
  if (scope === undefined) return undefined;
  const pages = Math.ceil(bytes / wasmPage);
  try {
    return new scope.Memory({ initial: pages, maximum: pages, shared });
  } catch (error) {
    if (error instanceof RangeError) return undefined;
    throw error;
  }
}

/**
 * `length` zero bytes that begin on a page; ordinary memory where the system gives none. Threads see them
 * where they are `shared`. The buffer under them may be longer, and is never detached.
 */
export function alignedBytes(length: number, shared = false): Uint8Array {
  const buffer = wasmMemory(length, shared)?.buffer;
  if (buffer === undefined)
    return new Uint8Array(shared ? new SharedArrayBuffer(length) : new ArrayBuffer(length));
  aligned.add(buffer);
  return new Uint8Array(buffer, 0, length);
}

/** The bytes lie in memory from `alignedBytes`: where a block begins, `byteOffset` tells. */
export function isAligned({ buffer }: { readonly buffer: ArrayBufferLike }): boolean {
  return aligned.has(buffer);
}
