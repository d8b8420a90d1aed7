/** Links between the documents lead somewhere. */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';
import { fileLinks } from './markdown.ts';

const root = fileURLToPath(new URL('../../', import.meta.url));
const documents = ['README.md', ...readdirSync(join(root, 'docs')).map((name) => `docs/${name}`)];

test('every link to a file of the project finds it', () => {
  const dead = documents
    .filter((path) => path.endsWith('.md'))
    .flatMap((path) => {
      const links = fileLinks(readFileSync(join(root, path), 'utf8'));
      return links
        .filter((target) => !existsSync(join(root, dirname(path), decodeURIComponent(target))))
        .map((target) => `${path}: ${target}`);
    });
  expect(dead).toEqual([]);
});
