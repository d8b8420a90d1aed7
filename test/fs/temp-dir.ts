import { mkdtemp, rm } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { onTestFinished } from 'vitest';

/** A directory of the operating system, removed when the test ends. */
export async function tempDir(): Promise<string> {
  const dir = await mkdtemp(path.join(os.tmpdir(), 'varve-test-'));
  onTestFinished(() => rm(dir, { recursive: true, force: true }));
  return dir;
}
