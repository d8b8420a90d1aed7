/** The house rules, held against the project's own files. Each rule's self-test is in tidy/rules.test.ts. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, test } from 'vitest';
import { errorCodes, VarveError, type VarveErrorCode } from '../src/base/errors.ts';
import { importClosure } from './tidy/closure.ts';
import { errorRows, errorRowsIn } from './tidy/glossary.ts';
import {
  barrelFindings,
  cycleFindings,
  dependencyFindings,
  layerFindings,
  moduleFindings,
} from './tidy/layers.ts';
import { consoleFindings, dateExceptions, purityFindings } from './tidy/purity.ts';
import { type Finding, listFiles, loadSources } from './tidy/source.ts';
import {
  errorCodeFindings,
  forbiddenFindings,
  machinePathFindings,
  markFindings,
  publicDocFindings,
  sizeExceptions,
  sizeFindings,
} from './tidy/style.ts';

const root = fileURLToPath(new URL('../', import.meta.url));
const files = loadSources(root);
const manifest = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));

/** Names that begin like an error code and are environment variables. */
const environmentNames: ReadonlySet<string> = new Set([]);

const show = (found: readonly Finding[]): string[] =>
  found.map(({ path, line, message }) => `${path}:${line}: ${message}`);

describe('layers', () => {
  test('a file imports only from lower tiers and its own folder', () => {
    expect(show(layerFindings(files))).toEqual([]);
  });

  test('there are no import cycles', () => {
    expect(show(cycleFindings(files))).toEqual([]);
  });

  test('only the public faces re-export', () => {
    expect(show(barrelFindings(files))).toEqual([]);
  });

  test('platform modules and packages are imported only where they belong', () => {
    expect(show(moduleFindings(files))).toEqual([]);
  });

  test('every imported package is declared', () => {
    expect(show(dependencyFindings(files, manifest))).toEqual([]);
  });

  test('the pure tiers and planners touch no clock, randomness, timer or process', () => {
    expect(show(purityFindings(files))).toEqual([]);
  });

  test('the engine never prints', () => {
    expect(show(consoleFindings(files))).toEqual([]);
  });

  test('nothing native is in the import closure of the native-free entry', () => {
    const entry = join(root, 'native-free/index.ts');
    const { findings, files: loaded } = importClosure(entry);
    expect(show(findings)).toEqual([]);
    // Its threads are in the closure, those of the main build are not.
    const threads = loaded.filter((path) => /^src\/pool\/.*(worker|-pool)\.ts$/.test(path));
    expect(threads).toEqual(['src/pool/thread-pool.ts', 'src/pool/thread-worker.ts']);
  });
});

describe('style', () => {
  test('files, functions and lines keep their bounds', () => {
    expect(show(sizeFindings(files))).toEqual([]);
  });

  test('every exception names a file that exists', () => {
    const known = new Set(files.map((file) => file.path));
    const stale = [...Object.keys(sizeExceptions), ...Object.keys(dateExceptions)].filter(
      (key) => !known.has(key.split('#')[0]!),
    );
    expect(stale).toEqual([]);
  });

  test('no empty catch, any, default export, focused or skipped test', () => {
    expect(show(forbiddenFindings(files))).toEqual([]);
  });

  test('no comment marks unfinished work', () => {
    expect(show(markFindings(files))).toEqual([]);
  });

  test('every public export has a docstring', () => {
    const faces = ['src/index.ts', 'src/public-types.ts', 'native-free/index.ts'];
    expect(show(publicDocFindings(files, faces))).toEqual([]);
  });

  test('no file names a path of one machine', () => {
    const texts = listFiles(root)
      .filter((path) => !/\.(wasm|bin|png|jpg|tgz|gz)$/.test(path))
      .map((path) => ({ path, text: readFileSync(join(root, path), 'utf8') }));
    expect(show(machinePathFindings(texts))).toEqual([]);
  });
});

describe('words', () => {
  test('every VARVE_ name in the engine is an error code', () => {
    expect(show(errorCodeFindings(files, errorCodes, environmentNames))).toEqual([]);
  });

  test('the table of error codes in the glossary is the one of the engine', () => {
    const glossary = readFileSync(join(root, 'docs/GLOSSARY.md'), 'utf8');
    const retryable = (code: string): boolean => new VarveError(code as VarveErrorCode, '').retryable;
    expect(errorRowsIn(glossary)).toEqual(errorRows(errorCodes, retryable));
  });
});

describe('package', () => {
  test('every dependency is pinned to one version', () => {
    const all = { ...manifest.dependencies, ...manifest.optionalDependencies, ...manifest.devDependencies };
    const loose = Object.entries<string>(all).filter(([, range]) => !/^\d+\.\d+\.\d+(-[\w.]+)?$/.test(range));
    expect(loose).toEqual([]);
  });

  test('the lock holds every optional platform package it names, or npm ci would refuse it', () => {
    const { packages } = JSON.parse(readFileSync(join(root, 'package-lock.json'), 'utf8'));
    const named = Object.entries<{ optionalDependencies?: Record<string, string> }>(packages).flatMap(
      ([at, entry]) => (at === '' ? [] : Object.keys(entry.optionalDependencies ?? {})),
    );
    expect(named.filter((name) => packages[`node_modules/${name}`] === undefined)).toEqual([]);
  });

  test('the package has no install script of its own', () => {
    const names = ['preinstall', 'install', 'postinstall', 'prepare'];
    expect(names.filter((name) => manifest.scripts[name] !== undefined)).toEqual([]);
  });

  test('the build leaves tests out and the package names only what it needs', () => {
    const build = JSON.parse(readFileSync(join(root, 'tsconfig.build.json'), 'utf8'));
    expect(build.include).not.toContain('test');
    expect(manifest.files).toEqual([
      'dist/lib',
      'dist/src/**/*.d.ts',
      'dist/src/**/*.d.ts.map',
      'dist/native-free/*.d.ts',
      'dist/native-free/*.d.ts.map',
      'src',
      'native-free',
      'docs',
      'CHANGELOG.md',
    ]);
  });

  test('types come first in every export that has them', () => {
    const targets = Object.values(manifest.exports).filter((one) => typeof one === 'object');
    expect(targets.map((one) => Object.keys(one as object)[0])).toEqual(targets.map(() => 'types'));
  });
});
