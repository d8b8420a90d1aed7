/**
 * Deletes keys whose files are gone: the walk and the scan are both in key order and are read side by side.
 */
import { compareBytes, startsWith } from '../../base/bytes.ts';
import { throwIfAborted } from '../../engine/key-args.ts';
import type { BatchOperation } from '../../engine/types.ts';
import { bytesOfKey, type TreeStore } from './tree-store.ts';
import { type WalkItem, type WalkOptions, walkTree } from './walk.ts';

const deletesPerBatch = 1000;

/**
 * Deletes every key under `prefix` that is not in the tree below `root` and returns how many. What the tree
 * has but cannot be read keeps its key, and so does everything below a directory that cannot be read.
 */
export async function deleteMissing(
  store: TreeStore,
  root: string,
  prefix: Uint8Array,
  options: WalkOptions,
): Promise<number> {
  const walk = new TreeKeys(walkTree(root, options));
  let operations: BatchOperation[] = [];
  let deleted = 0;
  try {
    for await (const entry of store.scan({ prefix, values: false })) {
      if (entry.key === undefined) continue;
      throwIfAborted(options.signal);
      const key = bytesOfKey(entry.key);
      if (await walk.has(key.subarray(prefix.length))) continue;
      operations.push({ type: 'delete', key });
      deleted++;
      if (operations.length < deletesPerBatch) continue;
      await store.batch(operations);
      operations = [];
    }
  } finally {
    await walk.end();
  }
  if (operations.length > 0) await store.batch(operations);
  return deleted;
}

/** Answers whether keys, asked for in rising order, are in the tree. */
class TreeKeys {
  readonly #walk: AsyncGenerator<WalkItem>;
  #item: WalkItem | undefined;
  #ended = false;
  /** Start of the keys below a directory that could not be read. */
  #unknown: Uint8Array | undefined;

  constructor(walk: AsyncGenerator<WalkItem>) {
    this.#walk = walk;
  }

  async has(key: Uint8Array): Promise<boolean> {
    while (!this.#ended && (this.#item === undefined || compareBytes(this.#item.key, key) < 0))
      await this.#advance();
    if (this.#item !== undefined && compareBytes(this.#item.key, key) === 0)
      return this.#item.kind !== 'other';
    return this.#unknown !== undefined && startsWith(key, this.#unknown);
  }

  async end(): Promise<void> {
    await this.#walk.return(undefined);
  }

  async #advance(): Promise<void> {
    const next = await this.#walk.next();
    this.#ended = next.done === true;
    this.#item = next.done === true ? undefined : next.value;
    if (this.#item?.kind === 'failed' && this.#item.subtree) this.#unknown = this.#item.key;
  }
}
