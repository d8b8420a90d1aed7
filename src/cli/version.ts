/** The version of the package this file belongs to. */
import { readFileSync } from 'node:fs';

/** From package.json, wherever the build put this file below it. */
export function packageVersion(): string {
  for (let up = '../'; up.length <= '../'.length * 5; up += '../') {
    const version = versionIn(new URL(`${up}package.json`, import.meta.url));
    if (version !== undefined) return version;
  }
  return 'unknown';
}

function versionIn(file: URL): string | undefined {
  try {
    const manifest = JSON.parse(readFileSync(file, 'utf8')) as { name?: unknown; version?: unknown };
    return manifest.name === 'varve' ? String(manifest.version) : undefined;
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return undefined;
    throw error;
  }
}
