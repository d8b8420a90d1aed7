/**
 * Builds the WebAssembly kernels from AssemblyScript into base64 text in src/kernels/chunker/*.generated.ts.
 * `--check` builds, compares with what is there and exits 1 on a difference, writing nothing.
 */
import { createHash } from 'node:crypto';
import { readFile, writeFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import asc from 'assemblyscript/asc';

const folder = new URL('../../src/kernels/chunker/', import.meta.url);
const kernels = [
  { name: 'fastcdc', flags: [] },
  { name: 'sieve', flags: ['--enable', 'simd'] },
];
const sharedFlags = ['-O3', '--noAssert', '--runtime', 'stub', '--importMemory'];
const lineLength = 96;

/** The module text that embeds the kernel `name`. */
async function generate({ name, flags }) {
  let wasm;
  const source = fileURLToPath(new URL('assembly/', folder));
  const { error, stderr } = await asc.main(
    [`${name}.ts`, '--baseDir', source, '--outFile', `${name}.wasm`, ...sharedFlags, ...flags],
    {
      writeFile(_file, contents) {
        wasm = contents;
      },
    },
  );
  if (error !== null || wasm === undefined)
    throw new Error(`${name}: ${error?.message}\n${stderr.toString()}`);
  const base64 = Buffer.from(wasm).toString('base64');
  const lines = base64.match(new RegExp(`.{1,${lineLength}}`, 'g')).map((line) => `  '${line}'`);
  return [
    `/** assembly/${name}.ts as WebAssembly, in base64. Built by bench/tools/build-wasm.mjs; do not edit. */`,
    `export const ${name}Wasm: string =`,
    `${lines.join(' +\n')};`,
    '',
    '/** SHA-256 of the source this was built from. */',
    `export const ${name}Source = '${await sourceHash(name)}';`,
    '',
  ].join('\n');
}

async function sourceHash(name) {
  const text = await readFile(new URL(`assembly/${name}.ts`, folder));
  return createHash('sha256').update(text).digest('hex');
}

const check = process.argv.includes('--check');
let different = 0;
for (const kernel of kernels) {
  const file = new URL(`${kernel.name}.generated.ts`, folder);
  const text = await generate(kernel);
  if (!check) {
    await writeFile(file, text);
    console.log(`${kernel.name}: ${text.length} characters`);
  } else if ((await readFile(file, 'utf8')) !== text) {
    console.error(
      `${fileURLToPath(file)} is not what the sources build: run node bench/tools/build-wasm.mjs`,
    );
    different++;
  }
}
process.exitCode = different > 0 ? 1 : 0;
