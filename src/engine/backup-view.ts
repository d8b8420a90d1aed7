/** The keys of a backup, read from the vault without restoring anything. */

import { type BackupInfo, infoOf } from '../backup/backup-info.ts';
import { leavesOf } from '../backup/key-tree-walk.ts';
import { chooseBackup, isWithin, keyRange } from '../backup/restore-run.ts';
import type { Snap } from '../backup/snaps.ts';
import { spaceNamed, sysKeyOf } from '../backup/system-rows.ts';
import { checkVault, type Vault } from '../backup/vault.ts';
import { VaultReader } from '../backup/vault-reader.ts';
import { adoptOrphans, everyPack, loadVault } from '../backup/vault-state.ts';
import { concatBytes, encodeUtf8, toHex } from '../base/bytes.ts';
import { corrupt, VarveError } from '../base/errors.ts';
import { checkNames } from '../base/names.ts';
import { decodeInternalKey, encodeInternalKey, encodeRowPrefix } from '../format/internal-key.ts';
import type { KeyTreeNode } from '../format/key-tree-node.ts';
import { keyTreeTags } from '../format/key-tree-node.ts';
import type { ChunkSource } from '../value/leaf-walker.ts';
import { RangeReader, readValue } from '../value/value-reader.ts';
import { type FoundVersion, statOf } from './reads.ts';
import type { EntryStat, Key, KeyEntry } from './types.ts';

/** Which backup, and which of its spaces. */
export interface OpenBackupOptions {
  /** Id of the backup, or the beginning of one; 'latest' (default). */
  backup?: string;
  /** The newest backup that was begun at or before this moment, instead of `backup`. */
  at?: Date;
  /** A named space instead of the store's own keys. */
  space?: string;
}

/** Opens a backup for reading. VARVE_NOT_FOUND (no such backup or space), VARVE_CORRUPT, VARVE_IO. */
export async function openBackup(target: Vault, options: OpenBackupOptions = {}): Promise<BackupView> {
  const vault = checkVault(target);
  checkNames(options, ['backup', 'at', 'space'], 'option');
  const snap = await chooseBackup(vault.env, options);
  const state = await loadVault(vault.env, everyPack);
  await adoptOrphans(vault.env, state, everyPack);
  const reader = new VaultReader(vault.env, state.packs, state.table, state.copies);
  const { space } = options;
  const number = space === undefined ? 0 : await spaceNumber(reader, snap, space);
  return new BackupView(reader, snap, number);
}

async function spaceNumber(reader: VaultReader, snap: Snap, name: string): Promise<number> {
  for await (const leaf of leavesOf(reader, snap.manifest, { to: Uint8Array.of(keyTreeTags.keys) })) {
    while (leaf.next() && leaf.key[0] === keyTreeTags.system) {
      const sysKey = sysKeyOf(leaf.key.subarray(1, leaf.keyBytes));
      const named = spaceNamed(sysKey, leaf.buf.subarray(leaf.recordFrom, leaf.recordTo));
      if (named?.name === name) return named.number;
    }
  }
  throw new VarveError('VARVE_NOT_FOUND', `no space ${JSON.stringify(name)} in the backup`);
}

/** A backup to read from. Every byte that is given out was checked; VARVE_CORRUPT where it is damaged. */
export class BackupView {
  readonly info: BackupInfo;
  readonly #reader: VaultReader;
  readonly #snap: Snap;
  readonly #space: number;
  readonly #source: ChunkSource;

  /** Use openBackup. */
  constructor(reader: VaultReader, snap: Snap, space: number) {
    this.info = infoOf(snap.manifest, snap.name);
    this.#reader = reader;
    this.#snap = snap;
    this.#space = space;
    this.#source = {
      read: (id) => reader.read(id, 0),
      // Every read has compared them already.
      mismatch: async (id) =>
        corrupt(`chunk ${toHex(id)} has other bytes than its id says`, { file: 'vault' }),
      readSync: () => {
        throw new VarveError('VARVE_INVALID_ARGUMENT', 'a backup cannot be read on the calling thread');
      },
    };
  }

  /** Keys in byte order, as bytes, without their values. */
  async *scan(
    options: { prefix?: Key; signal?: AbortSignal | undefined } = {},
  ): AsyncGenerator<KeyEntry<Uint8Array> & { stat: EntryStat }> {
    const range = keyRange(false, this.#space, options.prefix);
    for await (const leaf of leavesOf(this.#reader, this.#snap.manifest, range)) {
      while (leaf.next()) {
        if (!isWithin(leaf, range)) continue;
        if (options.signal?.aborted === true) throw new VarveError('VARVE_ABORTED', 'the call was aborted');
        const found = versionOf(leaf);
        const { seq, record } = found;
        yield { key: userKeyOf(leaf), seq, size: record.size, stat: statOf(found) };
      }
    }
  }

  /** The value of a key, or undefined. */
  async get(key: Key): Promise<Uint8Array | undefined> {
    const found = await this.#find(key);
    return found === undefined ? undefined : await readValue(found.record, this.#source);
  }

  async stat(key: Key): Promise<EntryStat | undefined> {
    const found = await this.#find(key);
    return found === undefined ? undefined : statOf(found);
  }

  /** The bytes of a value; the first read rejects with VARVE_NOT_FOUND where there is none. */
  stream(key: Key): ReadableStream<Uint8Array> {
    let reader: RangeReader | undefined;
    return new ReadableStream<Uint8Array>({
      pull: async (controller) => {
        if (reader === undefined) {
          const found = await this.#find(key);
          if (found === undefined) throw new VarveError('VARVE_NOT_FOUND', 'no such key');
          reader = new RangeReader(found.record, 0, found.record.size, this.#source);
        }
        const piece = await reader.next();
        if (piece === undefined) controller.close();
        else controller.enqueue(piece.chunk.slice(piece.from, piece.to));
      },
      cancel: () => reader?.cancel(),
    });
  }

  async #find(key: Key): Promise<FoundVersion | undefined> {
    const bytes = typeof key === 'string' ? encodeUtf8(key, 'key') : key;
    const from = concatBytes([Uint8Array.of(keyTreeTags.keys), encodeRowPrefix(this.#space, bytes)]);
    const range = { from, to: concatBytes([from, Uint8Array.of(0)]) };
    for await (const leaf of leavesOf(this.#reader, this.#snap.manifest, range)) {
      while (leaf.next()) if (isWithin(leaf, range)) return versionOf(leaf);
    }
    return undefined;
  }
}

function versionOf({ seq, record }: KeyTreeNode): FoundVersion {
  return { seq, record: record! };
}

function userKeyOf(leaf: KeyTreeNode): Uint8Array {
  const key = encodeInternalKey(leaf.key.subarray(1, leaf.keyBytes), 0);
  return decodeInternalKey(key, 0, key.length).userKey;
}
