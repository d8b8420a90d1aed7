/**
 * A vitest plugin: threads are started from what the sources are now. Node 20 runs no TypeScript, so the
 * entries of src/pool are bundled into a temporary folder, and the files that name them beside them name it
 * instead.
 */
import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import os from 'node:os';
import path from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';

const entries = ['worker', 'thread-worker'];
const named = /new URL\('\.\/((?:thread-)?worker)\.js', import\.meta\.url\)/g;

/** The plugin for `plugins` of a vitest configuration. */
export function threadEntries(): {
  name: string;
  enforce: 'pre';
  transform: (code: string, id: string) => string | undefined;
} {
  let folder: URL | undefined;
  return {
    name: 'thread-entries',
    enforce: 'pre',
    transform(code, id) {
      if (!/\/src\/pool\/[\w-]+-pool\.ts$/.test(id)) return undefined;
      folder ??= bundle();
      const base = folder.href;
      return code.replace(named, (_all, name) => `new URL(${JSON.stringify(`${base}/${name}.js`)})`);
    },
  };
}

function bundle(): URL {
  const bundler = path.dirname(createRequire(import.meta.url).resolve('rolldown/package.json'));
  const out = mkdtempSync(path.join(os.tmpdir(), 'varve-threads-'));
  process.once('exit', () => rmSync(out, { recursive: true, force: true }));
  const sources = entries.map((name) => fileURLToPath(new URL(`../src/pool/${name}.ts`, import.meta.url)));
  writeFileSync(path.join(out, 'package.json'), '{"type":"module"}');
  symlinkSync(path.dirname(bundler), path.join(out, 'node_modules'));
  const words = [...sources, '--platform', 'node', '--format', 'esm', '-d', out];
  execFileSync(process.execPath, [path.join(bundler, 'bin/cli.mjs'), ...words], { stdio: 'pipe' });
  return pathToFileURL(out);
}
