import { readFile } from 'node:fs/promises';
import { expect, test } from 'vitest';
import { fastcdcSource } from '../../../src/kernels/chunker/fastcdc.generated.ts';
import { sieveSource } from '../../../src/kernels/chunker/sieve.generated.ts';
import { compileWasm, instantiateWasm } from '../../../src/kernels/chunker/wasm-module.ts';
import { sha256Hex } from '../../../src/kernels/hash/sha256.ts';

// A full rebuild takes seconds: `node bench/tools/build-wasm.mjs --check` does it in CI.
test.each([
  ['fastcdc', fastcdcSource],
  ['sieve', sieveSource],
])('the embedded %s kernel was built from the source beside it', async (name, builtFrom) => {
  const source = new URL(`../../../src/kernels/chunker/assembly/${name}.ts`, import.meta.url);
  expect(sha256Hex(await readFile(source))).toBe(builtFrom);
});

test('bytes that are no module compile to nothing', () => {
  expect(compileWasm(btoa('not wasm'))).toBeUndefined();
});

test('a memory the runtime cannot give makes no instance and no error', () => {
  const empty = compileWasm(btoa('\0asm\x01\0\0\0'))!;
  expect(instantiateWasm(empty, 100)!.memory.length).toBe(65_536);
  expect(instantiateWasm(empty, 2 ** 40)).toBeUndefined();
});
