/** The temporary directory of a demo run. */
import { chmod, mkdtemp, rm, statfs } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { walkTree } from '../../src/cli/tree/walk.ts';

/** Makes a directory below `parent`, by default the system's place for temporary files. */
export function makeWorkplace(parent: string | undefined): Promise<string> {
  return mkdtemp(join(parent ?? tmpdir(), 'varve-demo-'));
}

/** Bytes this user may still write where `dir` lies. */
export async function freeBytes(dir: string): Promise<number> {
  const { bavail, bsize } = await statfs(dir);
  return bavail * bsize;
}

/** Removes a tree, directories without write permission included. */
export async function removeTree(dir: string): Promise<void> {
  try {
    await rm(dir, { recursive: true, force: true });
  } catch (error) {
    if (!(error instanceof Error && 'code' in error && error.code === 'EACCES')) throw error;
    for await (const item of walkTree(dir)) if (item.kind === 'directory') await chmod(item.path, 0o700);
    await rm(dir, { recursive: true, force: true });
  }
}
