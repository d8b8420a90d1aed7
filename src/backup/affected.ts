/** Which keys of which backups damaged chunks concern. */
import { toHex } from '../base/bytes.ts';
import { isDamage, isVarveError } from '../base/errors.ts';
import { chunkIdBytes } from '../format/chunk-ref.ts';
import { treeKeyText } from './key-text.ts';
import { leavesOf, visitChunks } from './key-tree-walk.ts';
import type { Snap } from './snaps.ts';
import type { Slices } from './throttle.ts';
import type { VaultReader } from './vault-reader.ts';

/** Keys listed for one place. */
const keysMax = 100;

/** What some chunks concern. */
export interface Concern {
  /** At most 100; `keyCount` counts all, each key once. */
  readonly keys: readonly string[];
  readonly keyCount: number;
  readonly snapshots: readonly string[];
}

export interface Affected {
  of(ids: readonly string[]): Concern;
}

interface Entry {
  readonly keys: Set<string>;
  readonly snapshots: Set<string>;
}

/** Walks every backup for the chunks of `ids` (hex); nothing is read where there are none. */
export async function affectedBy(
  reader: VaultReader,
  snaps: readonly Snap[],
  ids: ReadonlySet<string>,
  slices: Slices,
): Promise<Affected> {
  const entries = new Map<string, Entry>();
  const note = (id: string, key: string, snapshot: string): void => {
    if (!ids.has(id)) return;
    const entry = entries.get(id) ?? { keys: new Set(), snapshots: new Set() };
    entries.set(id, entry);
    entry.keys.add(key);
    entry.snapshots.add(snapshot);
  };
  for (const snap of ids.size > 0 ? snaps : []) await walkSnap(reader, snap, slices, note);
  return {
    of: (some) => {
      const keys = new Set(some.flatMap((id) => [...(entries.get(id)?.keys ?? [])]));
      const snapshots = new Set(some.flatMap((id) => [...(entries.get(id)?.snapshots ?? [])]));
      return { keys: [...keys].slice(0, keysMax), keyCount: keys.size, snapshots: [...snapshots] };
    },
  };
}

async function walkSnap(
  reader: VaultReader,
  snap: Snap,
  slices: Slices,
  note: (id: string, key: string, snapshot: string) => void,
): Promise<void> {
  const leaves = leavesOf(reader, snap.manifest, {
    onLost: ({ id, after, last }) => {
      const from = after === undefined ? 'the first' : treeKeyText(after);
      note(toHex(id), `${from} .. ${last === undefined ? 'the last' : treeKeyText(last)}`, snap.id);
    },
  });
  for await (const leaf of leaves) {
    while (leaf.next()) {
      const rest = slices.step();
      if (rest !== undefined) await rest;
      if (leaf.record === undefined || leaf.record.chunks === 0) continue;
      const key = treeKeyText(leaf.key.subarray(0, leaf.keyBytes));
      const meet = (buf: Uint8Array, at: number): void =>
        note(toHex(buf.subarray(at, at + chunkIdBytes)), key, snap.id);
      await visitChunks(leaf.record, {
        data: meet,
        node: async (buf, idAt) => {
          meet(buf, idAt);
          try {
            return await reader.read(buf, idAt);
          } catch (error) {
            if (isDamage(error) || isVarveError(error, 'VARVE_FORMAT_VERSION')) return undefined;
            throw error;
          }
        },
      });
    }
  }
}
