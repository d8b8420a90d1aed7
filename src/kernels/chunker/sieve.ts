/** sieve-1 in WebAssembly SIMD (assembly/sieve.ts): the key's words and one window per instance. */
import { viewOf } from '../../base/bytes.ts';
import type { ChunkerKey } from './key.ts';
import type { ChunkerParams } from './params.ts';
import { type ScanKernel, scanSlackBytes } from './scan-kernel.ts';
import { sieveWasm } from './sieve.generated.ts';
import { compileWasm, instantiateWasm, type WasmModule } from './wasm-module.ts';

/** Where assembly/sieve.ts has its window. */
const windowAt = 4096;

type Scan = (
  from: number,
  strictEnd: number,
  end: number,
  strict: number,
  loose: number,
  k: number,
  filterKey: number,
) => number;

let compiled: { module: WasmModule | undefined } | undefined;

/**
 * A WebAssembly kernel with a window of `windowBytes`, or undefined where the runtime has no WebAssembly, no
 * SIMD in it, or no address space left. The module is compiled at the first call on each thread.
 */
export function sieveKernel(
  params: ChunkerParams,
  key: ChunkerKey,
  windowBytes: number,
): ScanKernel | undefined {
  compiled ??= { module: compileWasm(sieveWasm) };
  if (compiled.module === undefined) return undefined;
  const instance = instantiateWasm(compiled.module, windowAt + windowBytes + scanSlackBytes);
  if (instance === undefined) return undefined;
  const view = viewOf(key.bytes);
  const k = view.getUint16(0, true);
  const filterKey = view.getUint8(2);
  instance.memory.set(key.bytes.subarray(3));
  const scan = instance.exports.scan as Scan;
  const { strict, loose } = params;
  return {
    kind: 'wasm',
    window: instance.memory.subarray(windowAt, windowAt + windowBytes),
    scan: (from, strictEnd, end) => scan(from, strictEnd, end, strict, loose, k, filterKey),
  };
}
