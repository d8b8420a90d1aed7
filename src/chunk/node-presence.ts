/**
 * Which list nodes are in the chunk tree, exactly, while puts work with them. Birth is decided when a
 * transaction is sequenced, never at lookup: a node that another put has born meanwhile gets a MOVE instead
 * of a second CHUNK, else its children would be counted twice.
 *
 * Invariants (test/value/value-ingest.test.ts):
 * - between `enter` and `leave` the entry's `present` equals what the chunk tree holds;
 * - the map holds only nodes of puts that are running.
 */
import { toHex } from '../base/bytes.ts';
import { chunkIdBytes } from '../format/chunk-ref.ts';

interface Entry {
  users: number;
  present: boolean;
  /** The one lookup for all users of the entry. */
  known: Promise<void> | undefined;
}

export class NodePresence {
  readonly #entries = new Map<string, Entry>();

  /**
   * Registers interest and resolves when `isPresent` is exact; `lookUp` is asked only when nobody else works
   * with the node. Pair with `leave`, unless it rejects (with what `lookUp` rejects with).
   */
  async enter(id: Uint8Array, lookUp: () => Promise<boolean>): Promise<void> {
    const name = nameOf(id, 0);
    const entry: Entry = this.#entries.get(name) ?? { users: 0, present: false, known: undefined };
    this.#entries.set(name, entry);
    entry.users++;
    try {
      // A birth sequenced during the lookup has set it already.
      entry.known ??= lookUp().then((present) => {
        entry.present ||= present;
      });
      await entry.known;
    } catch (error) {
      this.leave(id);
      throw error;
    }
  }

  leave(id: Uint8Array): void {
    const name = nameOf(id, 0);
    const entry = this.#entries.get(name);
    if (entry !== undefined && --entry.users === 0) this.#entries.delete(name);
  }

  isPresent(id: Uint8Array, at: number): boolean {
    return this.#entries.get(nameOf(id, at))?.present ?? false;
  }

  /** A CHUNK op for the node has been sequenced. */
  born(id: Uint8Array, at: number): void {
    const entry = this.#entries.get(nameOf(id, at));
    if (entry !== undefined) entry.present = true;
  }

  /** A LISTDROP op for the node has been sequenced. */
  died(id: Uint8Array, at: number): void {
    const entry = this.#entries.get(nameOf(id, at));
    if (entry !== undefined) entry.present = false;
  }

  /** A put that is running works with the node: it must not die. */
  isUsed(id: Uint8Array, at: number): boolean {
    return this.#entries.has(nameOf(id, at));
  }

  get size(): number {
    return this.#entries.size;
  }
}

function nameOf(id: Uint8Array, at: number): string {
  return toHex(id.subarray(at, at + chunkIdBytes));
}
