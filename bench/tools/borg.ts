/** The same ingest with borg, where it is installed: no compression, no encryption, chunks alike. */
import { execFileSync, spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const chunkerParams = 'buzhash,12,16,14,4095';

/** Version of borg on PATH; undefined without one. */
export function borgVersion(): string | undefined {
  const found = spawnSync('borg', ['--version'], { encoding: 'utf8' });
  return found.status === 0 ? found.stdout.trim() : undefined;
}

export interface BorgRun {
  readonly seconds: number;
  /** Bytes of all chunks, each counted once. */
  readonly uniqueBytes: number;
}

/** One archive per file into a new repository, in order; the time is that of `borg create` alone. */
export function borgIngest(paths: readonly string[]): BorgRun {
  const dir = mkdtempSync(join(tmpdir(), 'varve-borg-'));
  const repo = join(dir, 'repo');
  const env = { ...process.env, BORG_BASE_DIR: dir, BORG_UNKNOWN_UNENCRYPTED_REPO_ACCESS_IS_OK: 'yes' };
  const borg = (...args: string[]): string => execFileSync('borg', args, { env, encoding: 'utf8' });
  try {
    borg('init', '-e', 'none', repo);
    const began = performance.now();
    for (const [i, path] of paths.entries()) {
      borg('create', '-C', 'none', '--chunker-params', chunkerParams, `${repo}::r${i}`, path);
    }
    const seconds = (performance.now() - began) / 1000;
    const info = JSON.parse(borg('info', '--json', repo)) as { cache: { stats: { unique_size: number } } };
    return { seconds, uniqueBytes: info.cache.stats.unique_size };
  } finally {
    rmSync(dir, { recursive: true });
  }
}
