/** A changed copy of a tree: about one file in a hundred is edited, removed or joined by a new one. */
import { constants } from 'node:fs';
import { copyFile, mkdir, readFile, readlink, symlink, writeFile } from 'node:fs/promises';
import { Prng } from '../../src/base/prng.ts';
import type { OnProgress } from '../../src/cli/progress.ts';
import { Meter } from '../../src/cli/progress.ts';
import { type FoundEntry, type WalkOptions, walkTree } from '../../src/cli/tree/walk.ts';
import { throwIfAborted } from '../../src/engine/key-args.ts';

/** What was done to the copy. */
export interface CopyReport {
  edited: number;
  added: number;
  removed: number;
  /** Entries that could not be copied. */
  left: number;
}

/** One in so many files is changed. */
const oneIn = 100;
/** Files up to this length are edited in memory; longer ones are only removed or joined. */
const editedBytesMax = 16 * 1024 * 1024;

/** Copies `from` to `to`, which is made, changing a few files as `seed` says. */
export async function copyChanged(
  from: string,
  to: string,
  seed: number,
  options: WalkOptions & { total?: number; onProgress?: OnProgress },
): Promise<CopyReport> {
  const prng = new Prng(seed);
  const report: CopyReport = { edited: 0, added: 0, removed: 0, left: 0 };
  const meter = new Meter('copy', options.total, options.onProgress);
  const root = Buffer.from(`${to}/`);
  await mkdir(to);
  for await (const item of walkTree(from, options)) {
    throwIfAborted(options.signal);
    if (item.kind === 'failed' || item.kind === 'other') {
      report.left++;
      continue;
    }
    const target = Buffer.concat([root, item.key]);
    try {
      if (item.kind === 'directory') await mkdir(target);
      else if (item.kind === 'symlink')
        await symlink(await readlink(item.path, { encoding: 'buffer' }), target);
      else {
        await copyOne(item, target, prng, report);
        meter.add(Number(item.stat.size));
        meter.addFile();
      }
    } catch (error) {
      if (!(error instanceof Error && 'code' in error) || error.code === 'ENOSPC') throw error;
      report.left++;
    }
  }
  // A tree of few files may have been spared: the second version always differs.
  if (report.edited + report.added + report.removed === 0) await addFile(root, prng, report);
  return report;
}

async function copyOne(item: FoundEntry, target: Buffer, prng: Prng, report: CopyReport): Promise<void> {
  if (prng.below(oneIn) > 0) {
    await copyFile(item.path, target, constants.COPYFILE_FICLONE);
    return;
  }
  const choice = prng.below(4);
  if (choice === 0) {
    report.removed++;
    return;
  }
  await copyFile(item.path, target, constants.COPYFILE_FICLONE);
  if (choice === 1) await addFile(target, prng, report);
  else if (item.stat.size <= BigInt(editedBytesMax)) await edit(target, prng, report);
}

/** Inserts a few bytes somewhere: every byte behind them moves. */
async function edit(target: Buffer, prng: Prng, report: CopyReport): Promise<void> {
  const bytes = await readFile(target);
  const at = prng.below(bytes.length + 1);
  const inserted = prng.bytes(1 + prng.below(100));
  await writeFile(target, Buffer.concat([bytes.subarray(0, at), inserted, bytes.subarray(at)]));
  report.edited++;
}

async function addFile(beside: Buffer, prng: Prng, report: CopyReport): Promise<void> {
  const path = Buffer.concat([beside, Buffer.from(`.added-${report.added}`)]);
  await writeFile(path, prng.bytes(100 + prng.below(20_000)), { flag: 'wx' });
  report.added++;
}
