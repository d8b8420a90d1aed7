/** Backups of an open store: one moment of it, pinned for as long as the backup takes. */
import { type BackupOptions, type BackupReport, runBackup } from '../../backup/backup-run.ts';
import type { BackupSource, SourceRows, SystemRow } from '../../backup/backup-source.ts';
import { LoggedChanges } from '../../backup/logged-changes.ts';
import { backedUpValue, isBackedUp } from '../../backup/system-rows.ts';
import { checkVault, type Vault } from '../../backup/vault.ts';
import { prefixEnd, startsWith, toHex } from '../../base/bytes.ts';
import { invalid, isDamage, isVarveError, VarveError } from '../../base/errors.ts';
import { MiB } from '../../base/limits.ts';
import { checkFlags, checkFunctions, checkNames } from '../../base/names.ts';
import type { BackupMode } from '../../format/backup-manifest.ts';
import { decodeSysKey, rowPrefixEnd, seqOf } from '../../format/internal-key.ts';
import { frameTypes } from '../../format/log-frame.ts';
import { rowKindAt, rowKinds } from '../../format/row-kinds.ts';
import {
  type BackupRow,
  backupRowKey,
  backupRowPrefix,
  decodeBackupRow,
  encodeBackupRow,
} from '../../format/vault-records.ts';
import { LogTail } from '../../log/log-tail.ts';
import { OK, settle } from '../../tree/cursor.ts';
import { systemRowsUnder } from '../background/system-scan.ts';
import { throwIfAborted } from '../key-args.ts';
import { ScanRows } from '../reading/scan-rows.ts';
import type { Store } from '../store.ts';

const modes: readonly BackupMode[] = ['full', 'differential', 'incremental'];
/** More changes than this are not collected in memory, bytes. */
const changedBytesMax: number = 64 * MiB;
const empty: Uint8Array = new Uint8Array(0);

/** Backups under way, by store: one at a time into one vault. */
const running = new WeakMap<Store, Set<string>>();

/** See Engine.backup. */
export async function backupStore(
  store: Store,
  target: Vault,
  options: BackupOptions = {},
): Promise<BackupReport> {
  const vault = checkVault(target);
  checkBackupOptions(options);
  throwIfAborted(options.signal);
  const busy = running.get(store) ?? new Set<string>();
  running.set(store, busy);
  if (busy.has(vault.id))
    throw new VarveError('VARVE_CONFLICT', 'a backup of this store into this vault is under way');
  busy.add(vault.id);
  try {
    return await backupPinned(store, vault, options);
  } finally {
    busy.delete(vault.id);
  }
}

async function backupPinned(store: Store, vault: Vault, options: BackupOptions): Promise<BackupReport> {
  const { forest } = store;
  const seq = store.visibleSeq;
  const pin = store.marks.pin(seq);
  const view = store.openView();
  try {
    forest.keys.lost.refuseRange(empty, undefined);
    const { system, last } = await systemRows(store, seq, backupRowKey(vault.env.vaultId));
    const plan = {
      space: 0,
      view: seq,
      prefix: empty,
      delimiter: undefined,
      from: empty,
      to: undefined,
      expiryMs: 0,
    };
    const { dbUuid, timelineId, ...params } = store.parts.identity;
    const source: BackupSource = {
      dbUuid,
      timelineId,
      seq,
      params,
      system,
      last,
      segments: store.parts.segments,
      chunks: forest.chunks,
      changes: (since: number) => changesSince(store, since, seq),
      rows: (): SourceRows => {
        const rows = new ScanRows(view.cursor(), { ...plan, reverse: false }, view.ranges);
        return {
          step: () => rows.step(),
          load: () => rows.load(),
          cursor: rows.cursor,
          close: () => undefined,
        };
      },
    };
    const { report, row } = await runBackup(vault.env, source, options);
    if (row !== undefined) await remember(store, vault, row, report);
    return report;
  } finally {
    store.closeView(view);
    pin.end();
  }
}

/**
 * What the log says was committed above `since` up to `seq`; undefined where it does not say, and all rows
 * are read instead.
 */
async function changesSince(store: Store, since: number, seq: number): Promise<LoggedChanges | undefined> {
  const { parts, logHistory } = store;
  const changes = new LoggedChanges(since, 0);
  const tail = new LogTail(parts.env.fs, logHistory, parts.identity.dbUuid, since);
  try {
    for (let frame = await tail.next(seq); frame !== undefined; frame = await tail.next(seq)) {
      if (frame.type !== frameTypes.batch) continue;
      changes.takeFrame(frame.buf, frame, frame.path);
      if (changes.bytes > changedBytesMax) return undefined;
    }
    return changes;
  } catch (error) {
    // Old log files are kept for history only: nothing but time is lost where one is damaged.
    if (!isVarveError(error, 'VARVE_HISTORY_GONE') && !isDamage(error)) throw error;
    return undefined;
  } finally {
    await tail.close();
  }
}

/** The backup stands whether or not the store can note it: the next one then builds on an older one. */
async function remember(store: Store, vault: Vault, row: BackupRow, report: BackupReport): Promise<void> {
  const { logger } = store.parts.options;
  for (const warning of report.warnings) logger.warn?.(warning, { vault: vault.id });
  if (store.writableNow() === undefined) return;
  const { txn } = store.stillWritable();
  const value = encodeBackupRow(row);
  const committed = txn.commit([], [], [{ key: backupRowKey(vault.env.vaultId), value }]);
  await committed?.done;
  store.backups.note(vault.env.vaultId, row);
}

/** Learns what the store knows of its backups, when it is opened. Damage is noted. */
export async function loadBackups(store: Store): Promise<void> {
  try {
    for (const { key, value } of await systemRowsUnder(store, backupRowPrefix))
      store.backups.note(key.subarray(backupRowPrefix.length), decodeBackupRow(value));
  } catch (error) {
    if (!isVarveError(error)) throw error;
    store.parts.health.note(error);
  }
}

/** What the store remembers of its last backup into the vault. */
export async function lastBackupOf(store: Store, vault: Vault): Promise<BackupRow | undefined> {
  const { last } = await systemRows(store, store.visibleSeq, backupRowKey(vault.env.vaultId));
  return last;
}

/** The rows that go into the backup, and what the store remembers of its last one. */
async function systemRows(
  store: Store,
  seq: number,
  lastKey: Uint8Array,
): Promise<{ system: SystemRow[]; last: BackupRow | undefined }> {
  const { system } = store.forest;
  system.lost.refuseRange(empty, undefined);
  const view = system.view();
  const found: SystemRow[] = [];
  let last: BackupRow | undefined;
  try {
    const cursor = view.cursor();
    let decided: Uint8Array | undefined;
    let step = await settle(cursor, () => cursor.first());
    while (step === OK) {
      const { keyBytes, keyFrom, keyTo, valueBytes, valueFrom, valueTo } = cursor;
      const prefix = keyBytes.slice(keyFrom, rowPrefixEnd(keyBytes, keyFrom, keyTo));
      const { sysKey } = decodeSysKey(keyBytes, keyFrom, keyTo, { file: 'system tree' });
      const isLast = toHex(sysKey) === toHex(lastKey);
      if (!isLast && !isBackedUp(sysKey)) {
        // Queues have a row per key: all of one kind are passed over at once.
        const kind = kindOf(sysKey);
        step = await settle(cursor, () => (kind === undefined ? cursor.next() : cursor.seek(kind)));
        continue;
      }
      const isFirst = decided === undefined || !sameRow(decided, prefix);
      if (isFirst && seqOf(keyBytes, keyTo) <= seq) {
        decided = prefix;
        if (rowKindAt(valueBytes, valueFrom) === rowKinds.put) {
          const value = valueBytes.slice(valueFrom + 1, valueTo);
          if (isLast) last = decodeBackupRow(value);
          else found.push({ prefix, seq: seqOf(keyBytes, keyTo), value: backedUpValue(sysKey, value) });
        }
      }
      step = await settle(cursor, () => cursor.next());
    }
  } finally {
    view.release();
  }
  return { system: found, last };
}

/** Where the rows of this kind end, which share all up to the first '/'; undefined: go on row by row. */
function kindOf(sysKey: Uint8Array): Uint8Array | undefined {
  const slash = sysKey.indexOf(0x2f);
  if (slash < 0 || startsWith(sysKey, backupRowPrefix)) return undefined;
  return prefixEnd(sysKey.subarray(0, slash + 1));
}

function sameRow(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && startsWith(a, b);
}

/** VARVE_INVALID_ARGUMENT names the first option that is unknown or out of range. */
function checkBackupOptions(options: BackupOptions): void {
  const names = ['mode', 'label', 'tags', 'dryRun', 'verify', 'bytesPerSecond', 'onProgress', 'signal'];
  checkNames(options, names, 'backup option');
  checkFlags(options, ['dryRun', 'verify']);
  checkFunctions(options, ['onProgress']);
  const { mode, label, tags, bytesPerSecond } = options;
  if (mode !== undefined && !modes.includes(mode)) throw invalid(`mode is one of ${modes.join(', ')}`);
  if (label !== undefined && (typeof label !== 'string' || label.length > 1000))
    throw invalid('label is a text of at most 1,000 characters');
  const areTags = tags === undefined || (Array.isArray(tags) && tags.every((tag) => typeof tag === 'string'));
  if (!areTags || (tags?.length ?? 0) > 100) throw invalid('tags is an array of at most 100 texts');
  if (bytesPerSecond !== undefined && !(bytesPerSecond >= 1))
    throw invalid('bytesPerSecond is a number from 1 up');
}
