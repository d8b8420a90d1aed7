/**
 * Where child processes find their programs: each bundled into one file of a temporary folder, from the
 * sources in a test, from what was compiled in a campaign. One file starts in less than half the time of a
 * hundred, which is most of what a short life costs; and no test runs a stale build.
 */
import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import os from 'node:os';
import path from 'node:path';

const programs = ['worker-child', 'lock-child'] as const;

let built: string | undefined;

/** Path of a program to start with Node. */
export function childProgram(name: (typeof programs)[number]): string {
  return path.join(built ?? build(), `${name}.js`);
}

/** Removes what was bundled, if anything was. */
export function removeChildPrograms(): void {
  if (built !== undefined) rmSync(built, { recursive: true, force: true });
  built = undefined;
}

function build(): string {
  const bundler = path.dirname(createRequire(import.meta.url).resolve('rolldown/package.json'));
  const out = mkdtempSync(path.join(os.tmpdir(), 'varve-built-'));
  built = out;
  process.once('exit', removeChildPrograms);
  const sources = programs.map((name) =>
    path.join(import.meta.dirname, name + path.extname(import.meta.filename)),
  );
  const words = [...sources, '--platform', 'node', '--format', 'esm', '-d', out];
  writeFileSync(path.join(out, 'package.json'), '{"type":"module"}');
  execFileSync(process.execPath, [path.join(bundler, 'bin/cli.mjs'), ...words], { stdio: 'pipe' });
  // The optional lock is an add-on and is looked for from where the program lies.
  symlinkSync(path.dirname(bundler), path.join(out, 'node_modules'));
  return out;
}
