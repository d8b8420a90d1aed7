/** What the killed process may have left: the parent's model, fed with what it read from the child. */
import { Prng } from '../../src/base/prng.ts';
import type { Engine } from '../../src/index.ts';

/** A key's new value as the seed of its bytes, or its removal when there is no size. */
export interface Change {
  readonly key: string;
  readonly seed?: number;
  readonly size?: number;
}

/** Lines of the child. */
export type KillMessage =
  | { readonly kind: 'open'; readonly seq: number; readonly health: string }
  | {
      readonly kind: 'begin';
      readonly writer: number;
      readonly n: number;
      readonly changes: readonly Change[];
    }
  | { readonly kind: 'acked'; readonly writer: number; readonly n: number };

/** The bytes of a change: values with near seeds share most of their bytes, so that chunks are shared too. */
export function bytesOf({ seed = 0, size = 0 }: Change): Uint8Array {
  const bytes = new Prng(Math.floor(seed / 10)).bytes(size);
  if (size > 0) bytes[Math.floor(size / 2)]! ^= seed % 10;
  return bytes;
}

/** Acknowledged state and, per writer, the one commit that may or may not have happened. */
export class KillModel {
  acked = 0;
  /** Commits under way at a kill that were found done, and found undone. */
  landed = 0;
  vanished = 0;
  readonly #live = new Map<string, Change>();
  readonly #begun = new Map<number, { n: number; changes: readonly Change[] }>();

  take(message: KillMessage): void {
    if (message.kind === 'begin') this.#begun.set(message.writer, message);
    if (message.kind !== 'acked') return;
    const begun = this.#begun.get(message.writer);
    if (begun?.n !== message.n) throw new Error('an acknowledgement without its commit');
    this.#apply(begun.changes);
    this.#begun.delete(message.writer);
    this.acked++;
  }

  /**
   * Compares every key with `engine`, a store opened after the kill, and settles the commits that were under
   * way. Returns what is wrong, in words.
   */
  async settle(engine: Engine): Promise<string[]> {
    const found = new Map<string, Uint8Array>();
    for await (const entry of engine.scan()) {
      if (entry.key !== undefined) found.set(entry.key, entry.value!);
    }
    const wrong: string[] = [];
    for (const { changes } of this.#begun.values()) {
      const done = changes.filter((change) => isDone(change, found.get(change.key)));
      const undone = changes.filter((change) => this.#isAsBefore(change.key, found.get(change.key)));
      if (done.length === changes.length) {
        this.#apply(changes);
        this.landed++;
      } else if (undone.length === changes.length) this.vanished++;
      else wrong.push(`half visible: ${changes.map(({ key }) => key).join(', ')}`);
    }
    this.#begun.clear();
    for (const [key, change] of this.#live) {
      if (!isDone(change, found.get(key))) wrong.push(`lost or wrong: ${key}`);
      found.delete(key);
    }
    for (const key of found.keys()) wrong.push(`came back: ${key}`);
    return wrong;
  }

  get keys(): number {
    return this.#live.size;
  }

  #isAsBefore(key: string, bytes: Uint8Array | undefined): boolean {
    return isDone(this.#live.get(key) ?? { key }, bytes);
  }

  #apply(changes: readonly Change[]): void {
    for (const change of changes) {
      if (change.size === undefined) this.#live.delete(change.key);
      else this.#live.set(change.key, change);
    }
  }
}

function isDone(change: Change, bytes: Uint8Array | undefined): boolean {
  if (change.size === undefined || bytes === undefined)
    return change.size === undefined && bytes === undefined;
  return bytes.length === change.size && Buffer.compare(bytes, bytesOf(change)) === 0;
}
