/** What a store knows of its backups, in memory: the last one into each vault. */
import { toHex } from '../../base/bytes.ts';
import type { BackupRow } from '../../format/vault-records.ts';

/** The last backup of a store into one vault. */
export interface BackupRecord {
  /** Id of the vault, hex. */
  readonly vault: string;
  /** Id of the backup, hex: a vault that does not show it hides something. */
  readonly backup: string;
  /** When it was begun. */
  readonly time: Date;
  /** Last commit in it. */
  readonly seq: number;
  /** When what it wrote was read back and proved; absent: it was not. */
  readonly proof?: Date;
}

export class BackupBook {
  readonly #rows = new Map<string, BackupRow>();

  /** `vaultId`: 16 bytes, borrowed. */
  note(vaultId: Uint8Array, row: BackupRow): void {
    this.#rows.set(toHex(vaultId), row);
  }

  /** Newest first. */
  list(): BackupRecord[] {
    return [...this.#rows]
      .sort(([, a], [, b]) => b.timeMs - a.timeMs)
      .map(([vault, { backupId, timeMs, seq, provedMs }]) => ({
        vault,
        backup: toHex(backupId),
        time: new Date(timeMs),
        seq,
        ...(provedMs === 0 ? {} : { proof: new Date(provedMs) }),
      }));
  }
}
