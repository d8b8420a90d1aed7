/**
 * How much old log a store keeps for change feeds, incremental backups and archives.
 *
 * Where the caller says nothing it is little beside the store: nobody may ever ask for it, and who comes too
 * late reads the store instead, which costs as much as the store is large
 * (test/engine/changes.test.ts, "old log stays small beside the store where nothing was asked for").
 */
import { logHistoryBytes, logHistoryBytesMin } from '../../base/limits.ts';
import type { CatalogStore } from '../../catalog/catalog-store.ts';
import type { Catalog } from '../../format/catalog.ts';
import type { FsPort } from '../../fs/port.ts';
import { type LogEnd, LogHistory, type LogTurn } from '../../log/log-history.ts';

/** Part of the store that old log may take where nothing was asked for. */
const storeShare = 64;

/** Bytes of the tables and sealed segments a catalog names. */
export function bytesNamed({ tables, sealed }: Pick<Catalog, 'tables' | 'sealed'>): number {
  let bytes = 0;
  for (const { size } of tables) bytes += size;
  for (const { size } of sealed) bytes += size;
  return bytes;
}

/** Most bytes of old log files beside a store of `storeBytes` where nothing was asked for. */
export function historyRoom(storeBytes: number): number {
  return Math.max(logHistoryBytesMin, storeBytes / storeShare);
}

/** The history of a writer; `turn` as in LogHistory.from; `bytes`: asked for, or undefined. */
export function historyOf(
  bytes: number | undefined,
  turn: LogTurn | LogEnd,
  fs: FsPort,
  catalogs: CatalogStore,
): LogHistory {
  const { dbUuid } = catalogs.slot;
  if (bytes !== undefined) return LogHistory.from(turn, fs, dbUuid, bytes);
  return LogHistory.from(turn, fs, dbUuid, logHistoryBytes, () => historyRoom(bytesNamed(catalogs.catalog)));
}
