/** Every house rule catches a violation planted in a string, and lets the allowed neighbour through. */
import { fileURLToPath } from 'node:url';
import { describe, expect, test } from 'vitest';
import { importClosure } from './closure.ts';
import { errorRows, errorRowsIn } from './glossary.ts';
import {
  barrelFindings,
  cycleFindings,
  dependencyFindings,
  layerFindings,
  moduleFindings,
} from './layers.ts';
import { consoleFindings, purityFindings } from './purity.ts';
import { type Finding, lineOf, source } from './source.ts';
import {
  errorCodeFindings,
  forbiddenFindings,
  machinePathFindings,
  markFindings,
  publicDocFindings,
  sizeFindings,
  undocumentedExports,
} from './style.ts';

const messages = (found: readonly Finding[]): string => found.map((one) => one.message).join('; ');
const imports = (path: string, specifier: string) =>
  source(path, `import { a } from '${specifier}';\na();\n`);

describe('layers', () => {
  test.each([
    ['src/log/a.ts', '../tree/b.ts', 'log (tier 4) imports tree (tier 5)'],
    ['src/log/a.ts', '../catalog/b.ts', 'log (tier 4) imports catalog (tier 4)'],
    ['src/codec/a.ts', '../kernels/b.ts', 'codec (tier 1) imports kernels (tier 1)'],
    ['src/engine/a.ts', '../index.ts', 'engine (tier 9) imports index.ts (tier 10)'],
    ['src/base/a.ts', '../../test/b.ts', 'the engine imports test/b.ts'],
    ['src/base/a.ts', '../../bench/b.ts', 'the engine imports bench/b.ts'],
    ['native-free/index.ts', '../test/b.ts', 'the engine imports test/b.ts'],
    ['src/tree/a.ts', './b.js', 'does not end in .ts'],
    ['src/tree/a.ts', './b', 'does not end in .ts'],
    ['src/misc/a.ts', '../base/b.ts', 'folder misc has no tier'],
  ])('%s may not import %s', (path, specifier, expected) => {
    expect(messages(layerFindings([imports(path, specifier)]))).toContain(expected);
  });

  test.each([
    ['src/tree/a.ts', '../fs/port.ts'],
    ['src/tree/a.ts', './b.ts'],
    ['src/kernels/hash/a.ts', '../../codec/b.ts'],
    ['src/kernels/hash/a.ts', '../chunker/b.ts'],
    ['src/txn/a.ts', '../value/b.ts'],
    ['src/cli/main.ts', '../index.ts'],
    ['native-free/index.ts', '../src/engine/b.ts'],
    ['test/a.test.ts', '../src/engine/b.ts'],
  ])('%s may import %s', (path, specifier) => {
    expect(layerFindings([imports(path, specifier)])).toEqual([]);
  });

  test('a type import and a dynamic import count as imports', () => {
    const lazy = source('src/log/a.ts', "const b = await import('../tree/b.ts');");
    const typed = source('src/log/c.ts', "import type { B } from '../tree/b.ts';\nexport const b: B = 1;");
    const inline = source('src/log/d.ts', "export type D = import('../tree/b.ts').B;");
    expect(layerFindings([lazy, typed, inline])).toHaveLength(3);
  });

  test('a cycle is found once, over any number of files', () => {
    const cycle = [imports('src/base/a.ts', './b.ts'), imports('src/base/b.ts', './c.ts')];
    expect(cycleFindings([...cycle, imports('src/base/c.ts', './d.ts')])).toEqual([]);
    expect(messages(cycleFindings([...cycle, imports('src/base/c.ts', './a.ts')]))).toBe(
      'import cycle src/base/a.ts -> src/base/b.ts -> src/base/c.ts -> src/base/a.ts',
    );
  });

  test('barrels are found and the public face is not one', () => {
    const star = "export * from './b.ts';\nexport const a = 1;\n";
    const list = "export { a } from './b.ts';\nexport type { C } from './c.ts';\n";
    expect(barrelFindings([source('src/tree/index.ts', star)])).toHaveLength(1);
    expect(barrelFindings([source('src/tree/all.ts', list)])).toHaveLength(1);
    expect(barrelFindings([source('src/index.ts', star + list)])).toEqual([]);
    expect(barrelFindings([source('src/tree/a.ts', 'export const a = 1;\n')])).toEqual([]);
  });

  test.each([
    ['src/tree/a.ts', 'node:fs'],
    ['src/tree/a.ts', 'node:fs/promises'],
    ['src/fs/node-file-system.ts', 'node:fs'],
    ['src/engine/a.ts', 'node:worker_threads'],
    ['src/engine/a.ts', 'piscina'],
    ['src/fs/writer-lock.ts', 'fs-ext'],
    ['src/codec/a.ts', 'msgpackr'],
    ['src/codec/a.ts', 'msgpackr/index-no-eval'],
    ['src/format/a.ts', 'node:path'],
    ['src/kernels/hash/sha256.ts', 'node:crypto'],
    ['src/tree/compaction-planner.ts', 'node:os'],
    ['src/backup/a.ts', 'node:http'],
  ])('%s may not import %s', (path, specifier) => {
    expect(moduleFindings([imports(path, specifier)])).toHaveLength(1);
  });

  test.each([
    ['src/fs/raw-fs.ts', 'node:fs'],
    ['src/cli/main.ts', 'node:fs/promises'],
    ['src/pool/piscina-pool.ts', 'piscina'],
    ['src/fs/flock.ts', 'fs-ext'],
    ['src/codec/a.ts', 'msgpackr/pack'],
    ['src/codec/a.ts', 'msgpackr/unpack'],
    ['src/kernels/hash/sha256-node.ts', 'node:crypto'],
    ['src/kernels/compress/brotli-node.ts', 'node:zlib'],
    ['test/a.test.ts', 'node:fs'],
  ])('%s may import %s by name', (path, specifier) => {
    expect(moduleFindings([imports(path, specifier)])).toEqual([]);
  });

  test('a require under another name is an import', () => {
    const named = "const load = createRequire(import.meta.url);\nload('fs-ext');";
    const direct = "createRequire(import.meta.url)('fs-ext');";
    for (const text of [named, direct]) expect(moduleFindings([source('src/fs/a.ts', text)])).toHaveLength(1);
  });

  test('a computed import is found', () => {
    expect(messages(moduleFindings([source('src/fs/a.ts', 'await import(name);')]))).toContain('computed');
  });

  test('an undeclared package is found, and a development one in the engine', () => {
    const manifest = { dependencies: { a: '1.0.0', '@b/c': '1.0.0' }, devDependencies: { dev: '1.0.0' } };
    const find = (path: string, specifier: string) =>
      dependencyFindings([imports(path, specifier)], manifest);
    expect(find('src/fs/a.ts', 'missing')).toHaveLength(1);
    expect(find('src/fs/a.ts', 'dev')).toHaveLength(1);
    expect(find('src/fs/a.ts', 'a/sub')).toEqual([]);
    expect(find('src/fs/a.ts', '@b/c/sub.js')).toEqual([]);
    expect(find('test/a.test.ts', 'dev')).toEqual([]);
  });
});

describe('purity', () => {
  test.each([
    'Date.now();',
    'new Date();',
    'new Date(5);',
    'const make = Date;',
    'Math.random();',
    'globalThis.Math.random();',
    'process.env.A;',
    'globalThis.process;',
    'setTimeout(f, 1);',
    'const { now } = performance;',
    'const o = { process };',
    'crypto.getRandomValues(a);',
  ])('%s is found in a pure file and left alone above', (text) => {
    expect(purityFindings([source('src/format/a.ts', text)])).not.toEqual([]);
    expect(purityFindings([source('src/tree/a-planner.ts', text)])).not.toEqual([]);
    expect(purityFindings([source('src/tree/a.ts', text)])).toEqual([]);
  });

  test.each([
    'const f = (d: Date) => d instanceof Date;',
    'const t = Date.UTC(2020, 1);',
    'job.process(); const o = { process: 1 };',
    "'Date.now()'; // Math.random",
  ])('%s is pure', (text) => {
    expect(purityFindings([source('src/format/a.ts', text)])).toEqual([]);
  });

  test('the metadata codec may make a Date from a number, not from the clock', () => {
    expect(purityFindings([source('src/codec/msgpack.ts', 'new Date(5);')])).toEqual([]);
    expect(purityFindings([source('src/codec/msgpack.ts', 'new Date();')])).toHaveLength(1);
  });

  test('printing is for the command line', () => {
    expect(consoleFindings([source('src/tree/a.ts', 'console.log(1);')])).toHaveLength(1);
    expect(consoleFindings([source('src/cli/a.ts', 'console.log(1);')])).toEqual([]);
  });
});

describe('style', () => {
  const body = (lines: number): string => `export function f() {\n${'  g();\n'.repeat(lines - 2)}}\n`;

  test('sizes are judged at the bound and one past it', () => {
    const find = (text: string) => sizeFindings([source('src/tree/a.ts', text)]);
    expect(find('a();\n'.repeat(400))).toEqual([]);
    expect(find('a();\n'.repeat(401))).toHaveLength(1);
    expect(find(body(70))).toEqual([]);
    expect(messages(find(body(71)))).toBe('function f has 71 lines');
    expect(find(`//${'x'.repeat(108)}\n`)).toEqual([]);
    expect(find(`// ${'x'.repeat(108)}\n`)).toHaveLength(1);
    expect(find(`//${'x'.repeat(200)}\n`)).toEqual([]);
  });

  test('a method, an arrow function and a named exception are told apart', () => {
    const method = `class A {\n  m() {\n${'  g();\n'.repeat(80)}  }\n}\n`;
    const arrow = `const f = () => {\n${'  g();\n'.repeat(80)}};\n`;
    const file = source('src/tree/a.ts', method + arrow);
    expect(messages(sizeFindings([file]))).toBe('function m has 82 lines; function f has 82 lines');
    expect(sizeFindings([file], { 'src/tree/a.ts#m': 'why', 'src/tree/a.ts#f': 'why' })).toEqual([]);
  });

  test('generated files and functions of tests are not measured', () => {
    expect(sizeFindings([source('src/a/b.generated.ts', 'a();\n'.repeat(500))])).toEqual([]);
    expect(sizeFindings([source('test/a.test.ts', body(90))])).toEqual([]);
  });

  test.each([
    'try { a(); } catch {}',
    'try { a(); } catch { /* never mind */ }',
    'p.catch(() => {});',
    'const a = b as any;',
    'function f(x: any) {}',
    'export default 1;',
  ])('%s is found in the engine', (text) => {
    expect(forbiddenFindings([source('src/tree/a.ts', text)])).toHaveLength(1);
  });

  test.each(['test.only', 'describe.skip', 'it.todo', 'test.concurrent.only'])(
    '%s is found in a test',
    (name) => {
      expect(messages(forbiddenFindings([source('test/a.test.ts', `${name}('a', f);`)]))).toBe(name);
    },
  );

  test('a handled error, the word any and a condition for a platform are left alone', () => {
    const text =
      "try { a(); } catch (e) { b(e); }\nconst any = 'any';\ntest.skipIf(win)('a', f);\nlist.skip(1);";
    expect(forbiddenFindings([source('test/a.test.ts', text)])).toEqual([]);
  });

  test('marks are found in comments, not in strings', () => {
    const mark = 'TO'.concat('DO');
    expect(markFindings([source('src/tree/a.ts', `// ${mark}: later\na();`)])).toHaveLength(1);
    expect(markFindings([source('src/tree/a.ts', `a('${mark}');`)])).toEqual([]);
  });

  test('a docstring covers its declaration and the ones that follow without a gap', () => {
    const text =
      '/** doc */\nexport const a = 1;\nexport const b = 1;\n\n' +
      'export const c = 1;\n// no\nexport type D = 1;\n';
    expect(undocumentedExports(source('src/tree/a.ts', text)).map((one) => one.name)).toEqual(['c', 'D']);
  });

  test('only what the public face reaches must have a docstring', () => {
    const face = source('src/index.ts', "export { a } from './tree/a.ts';\n");
    const inner = source('src/tree/a.ts', 'export const a = 1;\n\nexport const b = 1;\n');
    expect(messages(publicDocFindings([face, inner], ['src/index.ts']))).toBe(
      'export a has no docstring and is public',
    );
  });

  test('paths of a machine are found in any text and URLs are not', () => {
    const find = (text: string) => machinePathFindings([{ path: 'docs/a.md', text }]);
    for (const folder of ['work', 'home', 'root', 'Users']) expect(find(`see /${folder}/x`)).toHaveLength(1);
    expect(find(['https://example.org', 'home', 'x'].join('/'))).toEqual([]);
    expect(find(['src', 'root', 'x'].join('/'))).toEqual([]);
  });

  test('an unknown error code is found, an environment variable is not', () => {
    const file = source('src/tree/a.ts', "fail('VARVE_KNOWN', 'VARVE_NEW', 'VARVE_SEED'); // VARVE_…");
    const found = errorCodeFindings([file], { VARVE_KNOWN: '' }, new Set(['VARVE_SEED']));
    expect(messages(found)).toBe('VARVE_NEW is not an error code');
  });

  test('the glossary table is compared row by row', () => {
    const rows = errorRows({ VARVE_A: 'what it means' }, () => true);
    expect(errorRowsIn(`text\n${rows.join('\n')}\n`)).toEqual(rows);
    expect(errorRowsIn('| `VARVE_A` | something else | yes |\n')).not.toEqual(rows);
  });

  test('lines are counted in characters, not in bytes', () => {
    const file = source('src/tree/a.ts', "const é = '…𝄞';\nimport('node:fs');\n");
    expect(lineOf(file, file.imports[0]!.start)).toBe(2);
    expect(file.text.startsWith('import', file.imports[0]!.start)).toBe(true);
  });
});

describe('import closure', () => {
  const fixture = (name: string): string =>
    fileURLToPath(new URL(`../fixtures/closure/${name}`, import.meta.url));

  test('an entry that reaches the main entry of msgpackr is found to load its add-on', () => {
    expect(messages(importClosure(fixture('native.ts')).findings)).toContain('loads msgpackr-extract');
  });

  test('fs-ext behind a worker entry and a require is found', () => {
    expect(messages(importClosure(fixture('lazy.ts')).findings)).toContain('loads fs-ext');
  });

  test('the portable packages reach nothing native', () => {
    const closure = importClosure(fixture('portable.ts'));
    expect(closure.findings).toEqual([]);
    expect(closure.files.some((path) => path.startsWith('node_modules/@noble/hashes/'))).toBe(true);
  });
});
