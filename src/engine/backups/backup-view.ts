/** The keys of a backup, or of a moment, read from the vault without restoring anything. */
import { type BackupInfo, infoOf } from '../../backup/backup-info.ts';
import { BackupReader } from '../../backup/backup-reader.ts';
import { rangesOf } from '../../backup/restore-choice.ts';
import { checkVault, type Vault } from '../../backup/vault.ts';
import { concatBytes } from '../../base/bytes.ts';
import { VarveError } from '../../base/errors.ts';
import { checkNames } from '../../base/names.ts';
import type { RangeReader } from '../../value/range-reader.ts';
import { type FoundVersion, statOf } from '../reading/reads.ts';
import type { EntryStat, Key, KeyEntry } from '../types.ts';
import { checkPoint } from './restore-point.ts';

/** Which backup, and which of its spaces. */
export interface OpenBackupOptions {
  /** Id of the backup, or the beginning of one; 'latest' (default). */
  backup?: string;
  /**
   * The state of this moment, instead of `backup`: the newest backup that was begun at or before it and,
   * where the log behind was archived, every commit up to it.
   */
  at?: Date;
  /** A named space instead of the store's own keys. */
  space?: string;
}

/**
 * Opens a backup, or a moment, for reading. VARVE_NOT_FOUND (no such backup or space), VARVE_HISTORY_GONE
 * when the state of the moment is not known, VARVE_CORRUPT, VARVE_IO.
 */
export async function openBackup(target: Vault, options: OpenBackupOptions = {}): Promise<BackupView> {
  const vault = checkVault(target);
  checkNames(options, ['backup', 'at', 'space'], 'option');
  checkPoint(options);
  const reader = await BackupReader.open(vault.env, options);
  return new BackupView(reader, await reader.spaceNumber(options.space));
}

/** A backup to read from. Every byte that is given out was checked; VARVE_CORRUPT where it is damaged. */
export class BackupView {
  /** Of the backup; with `at`, of the one before that moment. */
  readonly info: BackupInfo;
  readonly #reader: BackupReader;
  readonly #space: number;

  /** Use openBackup. */
  constructor(reader: BackupReader, space: number) {
    const { manifest, name } = reader.snap;
    this.info = infoOf(manifest, name);
    this.#reader = reader;
    this.#space = space;
  }

  /** Keys in byte order, as bytes, without their values. */
  async *scan(
    options: { prefix?: Key; signal?: AbortSignal | undefined } = {},
  ): AsyncGenerator<KeyEntry<Uint8Array> & { stat: EntryStat }> {
    const { prefix = '', signal } = options;
    for await (const found of this.#reader.rows(rangesOf({ prefix }, this.#space), { signal })) {
      const { key, seq, record } = found;
      yield { key, seq, size: record.size, stat: statOf(found) };
    }
  }

  /** The value of a key, or undefined. */
  async get(key: Key): Promise<Uint8Array | undefined> {
    const found = await this.#find(key);
    if (found === undefined) return undefined;
    const pieces: Uint8Array[] = [];
    for await (const piece of this.#reader.pieces(found.record)) pieces.push(piece);
    return concatBytes(pieces);
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
          reader = this.#reader.valueOf(found.record);
        }
        const piece = await reader.next();
        if (piece === undefined) controller.close();
        else controller.enqueue(piece.chunk.slice(piece.from, piece.to));
      },
      cancel: () => reader?.cancel(),
    });
  }

  async #find(key: Key): Promise<FoundVersion | undefined> {
    for await (const found of this.#reader.rows(rangesOf({ keys: [key] }, this.#space))) return found;
    return undefined;
  }
}
