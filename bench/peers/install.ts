/** The peers as npm packages, installed beside the project and never into it. */
import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';

/** Packages and the versions the comparison is made with; the newest that run on Node 20. */
export const peerVersions: Readonly<Record<string, string>> = {
  lmdb: '3.5.6',
  'classic-level': '3.0.0',
  'better-sqlite3': '12.11.1',
};

/** Where they are installed: the cache directory of the benches. */
export const peersDir = join(tmpdir(), 'varve-bench-cache', 'kv-peers');

/** The version of a peer that is there, or undefined. */
export function installedVersion(name: string): string | undefined {
  const path = join(peersDir, 'node_modules', name, 'package.json');
  return existsSync(path) ? (JSON.parse(readFileSync(path, 'utf8')).version as string) : undefined;
}

/** Installs every peer; needs the network, and a compiler where no binary is prebuilt. */
export function installPeers(): void {
  mkdirSync(peersDir, { recursive: true });
  writeFileSync(join(peersDir, 'package.json'), '{ "private": true }\n');
  const packages = Object.entries(peerVersions).map(([name, version]) => `${name}@${version}`);
  execFileSync('npm', ['install', '--no-audit', '--no-fund', '--save-exact', ...packages], {
    cwd: peersDir,
    stdio: ['ignore', process.stderr, 'inherit'],
  });
}

/** The main module of an installed peer. */
export async function importPeer<T>(name: string): Promise<T> {
  const dir = join(peersDir, 'node_modules', name);
  const { main = 'index.js', exports } = JSON.parse(readFileSync(join(dir, 'package.json'), 'utf8'));
  const entry = exports?.['.']?.node?.import ?? exports?.['.']?.import?.default ?? exports?.['.']?.import;
  const path = join(dir, typeof entry === 'string' ? entry : main);
  return (await import(pathToFileURL(path).href)) as T;
}
