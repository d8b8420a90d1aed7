/**
 * Named snapshots: a state of all spaces that is kept until its name is deleted. Making one is a commit of
 * one small row, whatever the store holds; the state is the one after that commit.
 *
 * Invariants (test/engine/snapshots.test.ts, test/engine/snapshots-crash.test.ts)
 * - A snapshot that was acknowledged is there after a crash, with all it saw ("a snapshot acknowledged is
 *   there after a crash at any operation").
 * - One name is given once until it is deleted, also by calls at once ("a name is given once").
 */
import { encodeUtf8 } from '../../base/bytes.ts';
import { invalid, VarveError } from '../../base/errors.ts';
import { snapshotNameBytesMax, snapshotNoteBytesMax } from '../../base/limits.ts';
import { checkNames } from '../../base/names.ts';
import { historyFeature } from '../../format/format-ladder.ts';
import { encodeSnapshotRow, type SnapshotRow, snapshotKey } from '../../format/history-rows.ts';
import { putSys } from '../../format/log-ops.ts';
import { throwIfAborted } from '../key-args.ts';
import type { Store, WriteSide } from '../store.ts';
import type { SnapshotInfo } from './history-types.ts';
import { snapshotNamed } from './moment.ts';

/** What a snapshot row takes in the log beside name and note, at most. */
const rowBytes = 128;

/** Named states of the store. */
export interface SnapshotList {
  /**
   * Gives the newest state a name: all spaces, with every commit before this call. Costs one commit. Durable
   * as put. VARVE_CONFLICT when the name is taken, VARVE_INVALID_ARGUMENT when it cannot be one.
   */
  create(name: string, options?: { note?: string; signal?: AbortSignal }): Promise<SnapshotInfo>;
  /** Oldest first. */
  list(): SnapshotInfo[];
  /** VARVE_NOT_FOUND. */
  get(name: string): SnapshotInfo;
  /**
   * Deletes a name; what only this snapshot kept is freed in the background. On disk when it resolves.
   * VARVE_NOT_FOUND.
   */
  delete(name: string, options?: { signal?: AbortSignal }): Promise<void>;
}

/** The snapshots of an open store. */
export function snapshotsOf(store: Store): SnapshotList {
  return {
    create: (name, options) => store.run(() => create(store, name, options)),
    list: () => {
      store.assertReadable();
      const rows = store.forest.history;
      if (rows.damage !== undefined) throw rows.damage;
      return rows.snapshotsAt(store.visibleSeq).map(infoOf);
    },
    get: (name) => {
      store.assertReadable();
      return infoOf(snapshotNamed(store, name));
    },
    delete: (name, options) => store.run(() => remove(store, name, options)),
  };
}

async function create(
  store: Store,
  name: string,
  options: { note?: string; signal?: AbortSignal } = {},
): Promise<SnapshotInfo> {
  const write = store.writable();
  checkName(name);
  checkNames(options, ['note', 'signal'], 'option');
  const { note = '', signal } = options;
  if (typeof note !== 'string') throw invalid('a note is a string');
  const noteBytes = encodeUtf8(note, 'note').length;
  if (noteBytes > snapshotNoteBytesMax) throw invalid(`a note has at most ${snapshotNoteBytesMax} bytes`);
  throwIfAborted(signal);
  await write.checkpointer.require(historyFeature);
  throwIfAborted(signal);
  store.stillWritable();
  if (store.forest.history.newest(name) !== undefined) {
    // Told when the commit it was decided on can be read, as every conflict.
    await write.log.drained();
    throw new VarveError('VARVE_CONFLICT', `there is a snapshot ${JSON.stringify(name)}`, {
      retryable: false,
    });
  }
  const key = snapshotKey(name);
  let row: SnapshotRow | undefined;
  const committed = write.txn.sequence(rowBytes + key.length + noteBytes, (writer, seq, timeMs) => {
    row = { name, seq, timeMs, note };
    putSys(writer, key, encodeSnapshotRow(row));
  });
  await committed.done;
  return infoOf(row!);
}

async function remove(store: Store, name: string, options: { signal?: AbortSignal } = {}): Promise<void> {
  const write = store.writable();
  checkName(name);
  checkNames(options, ['signal'], 'option');
  throwIfAborted(options.signal);
  const row = store.forest.history.newest(name);
  if (row === undefined) {
    await write.log.drained();
    throw new VarveError('VARVE_NOT_FOUND', `no snapshot ${JSON.stringify(name)}`);
  }
  const key = snapshotKey(name);
  write.txn.sequence(rowBytes + key.length, (writer) => putSys(writer, key, undefined));
  // What it kept may go once its deletion cannot be undone by a power cut.
  await write.log.syncNow();
  deleted(store, write, row);
}

/** Tells who frees what nobody sees any more. */
function deleted(store: Store, write: WriteSide, { seq }: SnapshotRow): void {
  const others = store.keepRule().pinned;
  const next = others.find((other) => other > seq);
  const prev = others.findLast((other) => other < seq) ?? 0;
  write.snapshotDeleted?.(prev, seq, next ?? Number.MAX_SAFE_INTEGER);
}

function infoOf({ name, seq, timeMs, note }: SnapshotRow): SnapshotInfo {
  const info: SnapshotInfo = { name, seq, time: new Date(timeMs) };
  if (note !== '') info.note = note;
  return info;
}

function checkName(name: string): void {
  if (typeof name !== 'string' || name === '') {
    throw invalid('a snapshot has a name of at least one character');
  }
  if (encodeUtf8(name, 'snapshot name').length > snapshotNameBytesMax) {
    throw invalid(`a snapshot name has at most ${snapshotNameBytesMax} bytes`);
  }
  for (const letter of name) {
    const code = letter.codePointAt(0)!;
    if (code < 32 || code === 127) throw invalid('a snapshot name has no control characters');
  }
}
