/** Releases of an npm package as uncompressed tars, kept in a cache directory between runs. */
import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gunzipSync } from 'node:zlib';

/** Consecutive releases of a package that everybody has. */
export const typescriptReleases = [
  '5.6.2',
  '5.6.3',
  '5.7.2',
  '5.7.3',
  '5.8.2',
  '5.8.3',
  '5.9.2',
  '5.9.3',
] as const;

/** Paths of the tars, oldest first; what is missing is fetched with `npm pack`. */
export function npmTars(name: string, versions: readonly string[]): string[] {
  const cache = join(tmpdir(), 'varve-bench-cache');
  mkdirSync(cache, { recursive: true });
  // As npm names the files of a package in a scope.
  const file = name.replace('@', '').replace('/', '-');
  return versions.map((version) => {
    const path = join(cache, `${file}-${version}.tar`);
    if (existsSync(path)) return path;
    const args = ['pack', `${name}@${version}`, '--silent', '--pack-destination', cache];
    execFileSync('npm', args, { stdio: ['ignore', 'ignore', 'inherit'] });
    const unpacked = gunzipSync(readFileSync(join(cache, `${file}-${version}.tgz`)));
    writeFileSync(`${path}.part`, unpacked);
    renameSync(`${path}.part`, path);
    return path;
  });
}
