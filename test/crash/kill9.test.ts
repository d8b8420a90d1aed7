import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';

const repo = resolve(import.meta.dirname, '../..');
let built = '';

// The bench and the engine are compiled on their own, so that no stale build is tested.
beforeAll(() => {
  built = mkdtempSync(join(tmpdir(), 'varve-kill9-built-'));
  const options = { rootDir: repo, outDir: built, noCheck: true, declaration: false, declarationMap: false };
  const config = {
    extends: join(repo, 'tsconfig.json'),
    compilerOptions: { ...options, sourceMap: false, typeRoots: [join(repo, 'node_modules/@types')] },
    include: [],
    files: [join(repo, 'bench/kill9.ts')],
  };
  writeFileSync(join(built, 'tsconfig.json'), JSON.stringify(config));
  writeFileSync(join(built, 'package.json'), '{"type":"module"}');
  symlinkSync(join(repo, 'node_modules'), join(built, 'node_modules'));
  execFileSync(join(repo, 'node_modules/.bin/tsc'), ['-p', built], { stdio: 'pipe' });
});

afterAll(() => rmSync(built, { recursive: true, force: true }));

test('a killed process loses no acknowledged commit and leaves none half visible', () => {
  const args = [join(built, 'bench/kill9.js'), '--rounds', '5', '--writers', '4'];
  const output = execFileSync(process.execPath, args, { encoding: 'utf8' });
  expect(output).toMatch(/kill9: 5 rounds .* 0 lost, half visible or unopenable/);
}, 60_000);
