/** Test restores inside a vault: values of keys chosen by chance are read to their ends. */
import { toHex, viewOf } from '../base/bytes.ts';
import { corrupt, isDamage, isVarveError, type VarveError } from '../base/errors.ts';
import { chunkIdBytes } from '../format/chunk-ref.ts';
import { KeyTreeNode, keyTreeTags } from '../format/key-tree-node.ts';
import { RangeReader } from '../value/range-reader.ts';
import { treeKeyText } from './key-text.ts';
import type { Snap } from './snaps.ts';
import { throwIfAborted } from './throttle.ts';
import type { VaultReader } from './vault-reader.ts';

/** Rows that are drawn in vain beyond three for each key. */
const triesMore = 100;

/** What test restores found. */
export interface SampleReport {
  /** Values that were read whole. */
  readonly keys: number;
  readonly bytes: number;
  readonly faults: readonly {
    readonly error: VarveError;
    readonly key?: string;
    readonly snapshot: string;
  }[];
}

/** How samples are taken. */
export interface SampleOptions {
  readonly keys: number;
  readonly random: (bytes: number) => Uint8Array;
  /** True ends it early. */
  readonly isOver: () => boolean;
  readonly signal: AbortSignal | undefined;
}

/**
 * Reads `keys` values, each of a backup and a key chosen by chance, every chunk checked; a key may come
 * twice.
 */
export async function sampleValues(
  reader: VaultReader,
  snaps: readonly Snap[],
  { keys, random, isOver, signal }: SampleOptions,
): Promise<SampleReport> {
  const below = (n: number): number => {
    const view = viewOf(random(8));
    return Number((view.getBigUint64(0) >> 11n) % BigInt(n));
  };
  const filled = snaps.filter(({ manifest }) => manifest.keys > 0);
  const faults: { error: VarveError; key?: string; snapshot: string }[] = [];
  let done = 0;
  let bytes = 0;
  // Some rows are not keys, in a small store most: they are drawn again, so many times at the most.
  const triesMax = 4 * keys + triesMore;
  for (let tries = 0; filled.length > 0 && done < keys && tries < triesMax; tries++) {
    throwIfAborted(signal);
    if (isOver()) break;
    const snap = filled[below(filled.length)]!;
    let key: string | undefined;
    try {
      const leaf = await drawRow(reader, snap, below);
      if (leaf?.record === undefined) continue;
      key = treeKeyText(leaf.key.subarray(0, leaf.keyBytes));
      bytes += await readWhole(reader, leaf.record, key);
      done++;
    } catch (error) {
      if (!isDamage(error) && !isVarveError(error, 'VARVE_FORMAT_VERSION')) throw error;
      faults.push({ error, snapshot: snap.id, ...(key === undefined ? {} : { key }) });
      done++;
    }
  }
  return { keys: done, bytes, faults };
}

/** A leaf that stands on the row; every row is as likely. Undefined for rows of the system. */
async function drawRow(
  reader: VaultReader,
  { manifest }: Snap,
  below: (n: number) => number,
): Promise<KeyTreeNode | undefined> {
  let id = manifest.rootNodeId;
  let wanted = -1;
  for (let level = manifest.treeHeight - 1; level >= 0; level--) {
    const node = new KeyTreeNode(await reader.read(id, 0), { file: `node ${toHex(id)}` });
    if (node.level !== level)
      throw corrupt('key tree node is of another level', { file: `node ${toHex(id)}` });
    if (wanted < 0) wanted = below(node.rows);
    if (level === 0) {
      for (let row = 0; row <= wanted; row++) if (!node.next()) return undefined;
      return node.key[0] === keyTreeTags.keys ? node : undefined;
    }
    let child: Uint8Array | undefined;
    while (child === undefined && node.next()) {
      if (wanted < node.childRows) child = node.buf.slice(node.idAt, node.idAt + chunkIdBytes);
      else wanted -= node.childRows;
    }
    if (child === undefined) return undefined;
    id = child;
  }
  return undefined;
}

async function readWhole(
  reader: VaultReader,
  record: NonNullable<KeyTreeNode['record']>,
  key: string,
): Promise<number> {
  const range = new RangeReader(record, 0, record.size, {
    read: (id) => reader.read(id, 0),
    // Every read has compared them already.
    mismatch: async (id) => corrupt(`chunk ${toHex(id)} has other bytes than its id says`, { file: 'vault' }),
    readSync: () => {
      throw corrupt('a vault is not read on the calling thread', { file: 'vault' });
    },
  });
  let bytes = 0;
  for (let piece = await range.next(); piece !== undefined; piece = await range.next())
    bytes += piece.to - piece.from;
  if (bytes !== record.size)
    throw corrupt(`the value of ${key} has ${bytes} bytes and not ${record.size}`, { file: 'vault' });
  return bytes;
}
