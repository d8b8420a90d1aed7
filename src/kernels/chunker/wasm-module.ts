/**
 * Compiling and instantiating the embedded WebAssembly kernels. The engine's type libraries have no
 * WebAssembly, and some runtimes do not either (jitless), so it is reached through this description.
 */

import { wasmMemory } from '../../base/aligned-bytes.ts';

interface WasmScope {
  Module: new (bytes: Uint8Array) => WasmModule;
  Instance: new (module: WasmModule, imports: object) => { readonly exports: Record<string, unknown> };
  validate(bytes: Uint8Array): boolean;
}

/** A compiled module; opaque. */
export interface WasmModule {
  readonly __wasmModule?: never;
}

/** An instance with its memory. */
export interface WasmInstance {
  readonly exports: Record<string, unknown>;
  /** The whole memory. Its size is fixed, so this view is never detached. */
  readonly memory: Uint8Array;
}

const scope = (globalThis as { WebAssembly?: WasmScope }).WebAssembly;

/** Compiles base64 text; undefined where there is no WebAssembly or it lacks a feature the module needs. */
export function compileWasm(base64: string): WasmModule | undefined {
  if (scope === undefined) return undefined;
  const bytes = Uint8Array.from(atob(base64), (char) => char.charCodeAt(0));
  return scope.validate(bytes) ? new scope.Module(bytes) : undefined;
}

/**
 * Instantiates `module` with a memory of at least `bytes` that never grows. Undefined when the runtime has no
 * address space left for a memory: each takes some GiB of addresses, whatever its size.
 */
export function instantiateWasm(module: WasmModule, bytes: number): WasmInstance | undefined {
  if (scope === undefined) return undefined;
  const memory = wasmMemory(bytes);
  if (memory === undefined) return undefined;
  const instance = new scope.Instance(module, { env: { memory } });
  return { exports: instance.exports, memory: new Uint8Array(memory.buffer) };
}
