/**
 * Where child processes find their programs as JavaScript. Beside this file when it is compiled itself; else
 * they are compiled into a temporary folder, so that tests never run a stale build.
 */
import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';

const programs = ['worker-child', 'lock-child'] as const;

let built: string | undefined;

/** Path of a program to start with Node. */
export function childProgram(name: (typeof programs)[number]): string {
  if (import.meta.filename.endsWith('.js')) return path.join(import.meta.dirname, `${name}.js`);
  const folder = built ?? build();
  return path.join(folder, `test/real/${name}.js`);
}

/** Removes what was compiled, if anything was. */
export function removeChildPrograms(): void {
  if (built !== undefined) rmSync(built, { recursive: true, force: true });
  built = undefined;
}

function build(): string {
  const repo = path.resolve(import.meta.dirname, '../..');
  const out = mkdtempSync(path.join(os.tmpdir(), 'varve-built-'));
  built = out;
  process.once('exit', removeChildPrograms);
  const config = {
    extends: path.join(repo, 'tsconfig.json'),
    compilerOptions: {
      rootDir: repo,
      outDir: out,
      noCheck: true,
      declaration: false,
      declarationMap: false,
      sourceMap: false,
      typeRoots: [path.join(repo, 'node_modules/@types')],
    },
    include: [],
    files: programs.map((name) => path.join(repo, `test/real/${name}.ts`)),
  };
  writeFileSync(path.join(out, 'tsconfig.json'), JSON.stringify(config));
  writeFileSync(path.join(out, 'package.json'), '{"type":"module"}');
  symlinkSync(path.join(repo, 'node_modules'), path.join(out, 'node_modules'));
  execFileSync(path.join(repo, 'node_modules/.bin/tsc'), ['-p', out], { stdio: 'pipe' });
  return out;
}
