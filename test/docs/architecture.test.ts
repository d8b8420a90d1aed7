/** docs/ARCHITECTURE.md names what is there. */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';

const root = fileURLToPath(new URL('../../', import.meta.url));
const text = readFileSync(join(root, 'docs/ARCHITECTURE.md'), 'utf8');
const prose = text.replaceAll(/^```[\s\S]*?^```$/gm, '');
const quoted = Array.from(prose.matchAll(/`([^`]+)`/g), ([, name]) => name!);

const sources = ['src', 'native-free']
  .flatMap((folder) =>
    readdirSync(join(root, folder), { recursive: true, encoding: 'utf8' }).map((name) => join(folder, name)),
  )
  .filter((path) => path.endsWith('.ts'))
  .map((path) => readFileSync(join(root, path), 'utf8'));
const words = new Set(sources.flatMap((source) => source.match(/#?\w+/g) ?? []));

test('every class, function and field it names is in the sources', () => {
  const names = quoted.filter(
    (name) => /^#?[A-Za-z]+(\.[A-Za-z]+)*$/.test(name) && /[a-z][A-Z]|^[A-Z][a-z]|\./.test(name),
  );
  const files = /\.(ts|md|json)$/;
  const unknown = names.filter(
    (name) => !files.test(name) && !name.split('.').every((part) => words.has(part)),
  );
  expect(names.length).toBeGreaterThan(50);
  expect(unknown).toEqual([]);
});

test('every file and folder it names is there', () => {
  const paths = quoted.filter((name) => /^(src|test|bench|docs)\/[\w./-]+$/.test(name));
  expect(paths.length).toBeGreaterThan(20);
  expect(paths.filter((path) => !existsSync(join(root, path)))).toEqual([]);
});

test('it says of every dependency why it is there', () => {
  const { dependencies, optionalDependencies, devDependencies } = JSON.parse(
    readFileSync(join(root, 'package.json'), 'utf8'),
  );
  const named = new Set(quoted);
  const all = Object.keys({ ...dependencies, ...optionalDependencies, ...devDependencies });
  expect(all.filter((name) => !named.has(name) && !name.startsWith('@types/'))).toEqual([]);
});
