/** FastCDC in WebAssembly (assembly/fastcdc.ts): a gear table and one window per instance. */
import { fastcdcWasm } from './fastcdc.generated.ts';
import type { ChunkerKey } from './key.ts';
import type { ChunkerParams } from './params.ts';
import { type ScanKernel, scanSlackBytes } from './scan-kernel.ts';
import { compileWasm, instantiateWasm, type WasmModule } from './wasm-module.ts';

/** Where assembly/fastcdc.ts has its window. */
const windowAt = 4096;

type Scan = (from: number, strictEnd: number, end: number, strict: number, loose: number) => number;

let compiled: { module: WasmModule | undefined } | undefined;

/**
 * A WebAssembly kernel with a window of `windowBytes`, or undefined where the runtime has no WebAssembly or
 * no address space left. The module is compiled at the first call on each thread.
 */
export function fastcdcKernel(
  params: ChunkerParams,
  key: ChunkerKey,
  windowBytes: number,
): ScanKernel | undefined {
  compiled ??= { module: compileWasm(fastcdcWasm) };
  if (compiled.module === undefined) return undefined;
  const instance = instantiateWasm(compiled.module, windowAt + windowBytes + scanSlackBytes);
  if (instance === undefined) return undefined;
  instance.memory.set(key.bytes);
  const scan = instance.exports.scan as Scan;
  const { strict, loose } = params;
  return {
    kind: 'wasm',
    window: instance.memory.subarray(windowAt, windowAt + windowBytes),
    // Thresholds cross as i32 and are unsigned again inside; positions stay far below 2^31.
    scan: (from, strictEnd, end) => scan(from, strictEnd, end, strict, loose),
  };
}
