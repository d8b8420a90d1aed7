/** Compares two trees byte for byte, with kinds, modes, times and link targets. */
import { open, readlink } from 'node:fs/promises';
import { compareBytes, equalBytes } from '../../src/base/bytes.ts';
import { Meter, type OnProgress } from '../../src/cli/progress.ts';
import { keyText } from '../../src/cli/text.ts';
import { exportedMode } from '../../src/cli/tree/tree-metadata.ts';
import { type FoundEntry, type WalkItem, type WalkOptions, walkTree } from '../../src/cli/tree/walk.ts';
import { throwIfAborted } from '../../src/engine/key-args.ts';

/** What a comparison found. */
export interface Comparison {
  entries: number;
  bytes: number;
  /** Number of entries that differ, the first of them by name. */
  differences: number;
  examples: string[];
}

export interface CompareOptions extends WalkOptions {
  readonly total?: number;
  readonly onProgress?: OnProgress;
  /** True for an entry of the source that the import has reported: it is not expected in the copy. */
  readonly isExcused?: (key: Uint8Array) => boolean;
}

const examplesMax = 20;
const pieceBytes = 1024 * 1024;
/** Times go through a double of seconds, whose steps are 238 ns. */
const timeSlackNs = 1000n;

/** Compares the tree `source` with its restored copy. Both walks are in key order, so memory stays small. */
export async function compareTrees(
  source: string,
  copy: string,
  options: CompareOptions,
): Promise<Comparison> {
  const found: Comparison = { entries: 0, bytes: 0, differences: 0, examples: [] };
  const meter = new Meter('compare', options.total, options.onProgress);
  const differ = (key: Uint8Array, how: string): void => {
    found.differences++;
    if (found.examples.length < examplesMax) found.examples.push(`${keyText(key)}: ${how}`);
  };
  const buffers = [Buffer.allocUnsafeSlow(pieceBytes), Buffer.allocUnsafeSlow(pieceBytes)] as const;
  const left = walkTree(source, options);
  const right = walkTree(copy);
  try {
    let a = await nextOf(left);
    let b = await nextOf(right);
    while (a !== undefined || b !== undefined) {
      throwIfAborted(options.signal);
      const order = a === undefined ? 1 : b === undefined ? -1 : compareBytes(a.key, b.key);
      if (order < 0) {
        if (isExpected(a!) && options.isExcused?.(a!.key) !== true) differ(a!.key, 'is missing');
        a = await nextOf(left);
      } else if (order > 0) {
        differ(b!.key, 'should not be there');
        b = await nextOf(right);
      } else {
        found.entries++;
        const how = await difference(a!, b!, buffers, (bytes) => meter.add(bytes));
        if (how !== undefined) differ(a!.key, how);
        if (a!.kind === 'file') meter.addFile();
        a = await nextOf(left);
        b = await nextOf(right);
      }
    }
  } finally {
    await left.return(undefined);
    await right.return(undefined);
  }
  found.bytes = meter.bytes;
  return found;
}

async function nextOf(walk: AsyncGenerator<WalkItem>): Promise<WalkItem | undefined> {
  const next = await walk.next();
  return next.done === true ? undefined : next.value;
}

/** Pipes, sockets and what cannot be read are not stored. */
function isExpected(item: WalkItem): boolean {
  return item.kind !== 'other' && item.kind !== 'failed';
}

async function difference(
  a: WalkItem,
  b: WalkItem,
  buffers: readonly [Buffer, Buffer],
  onBytes: (bytes: number) => void,
): Promise<string | undefined> {
  if (a.kind === 'failed') return undefined;
  if (a.kind !== b.kind || b.kind === 'other') return `is a ${b.kind}, not a ${a.kind}`;
  if (a.kind === 'symlink') {
    const targets = [await linkTarget(a), await linkTarget(b)] as const;
    if (!equalBytes(targets[0], targets[1])) return 'points elsewhere';
  } else {
    const mode = exportedMode(a.kind as 'file' | 'directory', Number(a.stat.mode) & 0o7777);
    const got = Number(b.stat.mode) & 0o7777;
    if (process.platform !== 'win32' && mode !== got)
      return `has mode ${got.toString(8)}, not ${mode.toString(8)}`;
  }
  const late = b.stat.mtimeNs - a.stat.mtimeNs;
  if (late > timeSlackNs || late < -timeSlackNs) return `has a time ${late} ns off`;
  return a.kind === 'file' ? await contentDifference(a, b, buffers, onBytes) : undefined;
}

function linkTarget(item: FoundEntry): Promise<Buffer> {
  return readlink(item.path, { encoding: 'buffer' });
}

async function contentDifference(
  a: FoundEntry,
  b: FoundEntry,
  buffers: readonly [Buffer, Buffer],
  onBytes: (bytes: number) => void,
): Promise<string | undefined> {
  if (a.stat.size !== b.stat.size) return `has ${b.stat.size} bytes, not ${a.stat.size}`;
  const files = [await open(a.path), await open(b.path)] as const;
  try {
    for (let at = 0; ; ) {
      const [one, two] = await Promise.all([
        files[0].read(buffers[0], 0, pieceBytes, at),
        files[1].read(buffers[1], 0, pieceBytes, at),
      ]);
      const same = buffers[0].subarray(0, one.bytesRead).equals(buffers[1].subarray(0, two.bytesRead));
      if (!same) return `differs within ${pieceBytes} bytes of offset ${at}`;
      if (one.bytesRead === 0) return undefined;
      at += one.bytesRead;
      onBytes(one.bytesRead);
    }
  } finally {
    await Promise.all(files.map((file) => file.close()));
  }
}
