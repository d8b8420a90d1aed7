/**
 * Removes packs that no backup needs, in two steps with a marker between, so that a backup running meanwhile
 * is never robbed: what it relies on is seen by a mark, or its check sees the marker.
 *
 *   mark from `.part` and `.snap` -> marker for each unneeded pack -> (grace) -> mark again -> a pack goes
 *   only when everything reached has a copy in a pack without marker, else its marker goes:
 *   index entry, pack, marker
 *
 * Invariants (test/backup/vault.test.ts, test/backup/vault-protocol.test.ts)
 * - No pack that a backup reaches is ever deleted, however many backups and prunes run ("any interleaving of
 *   backups, forgets and prunes keeps every backup whole").
 * - It refuses when something a backup reaches is missing ("a prune refuses where a backup is not whole, and
 * touches nothing").
 * - Behind it no index object names a pack that is gone, but for runs that go on, which see to theirs ("a
 *   pack named and put again while a prune is about to delete it is named no more" and those beside).
 */
import type { Seq } from '../base/brands.ts';
import { corrupt, VarveError } from '../base/errors.ts';
import { encodeBackupManifest } from '../format/backup-manifest.ts';
import { frameBytes } from '../format/chunk-frame.ts';
import {
  archiveDir,
  archiveEndName,
  indexName,
  packName,
  pendingHashOf,
  pendingName,
  pendingPrefix,
} from '../format/vault-names.ts';
import { decodePendingMarker, encodePendingMarker, pendingMarker } from '../format/vault-records.ts';
import { archiveDirOf, listArchives, readArchive, valuesIn } from './archive-objects.ts';
import { decodeExtra, type VaultProgress } from './backup-info.ts';
import { DirectoryBlobs } from './directory-blobs.ts';
import { hashesOf, listIndexes, mergeIndexes } from './index-write.ts';
import { Marker } from './marker.ts';
import { type MarkedState, planRepack, repackPacks } from './repack.ts';
import { listSnaps, snapNameOf, voidOf } from './snaps.ts';
import { Slices, throwIfAborted } from './throttle.ts';
import { type IndexHit, steadily } from './vault-index.ts';
import { lockPrune, type VaultLock } from './vault-lock.ts';
import { VaultReader } from './vault-reader.ts';
import {
  adoptOrphans,
  everyPack,
  type IndexState,
  loadVault,
  type VaultEnv,
  type VaultState,
} from './vault-state.ts';

/** Options of a prune. */
export interface PruneOptions {
  /** Says what would go; writes nothing. */
  dryRun?: boolean;
  /** How long a pack is marked before it may go, ms. Default 0 for a directory, else 24 hours. */
  graceMs?: number;
  /** A backup that has not ended so long after its packs were put is given up, ms. Default 24 hours. */
  partAgeMs?: number;
  /**
   * Archived log older than so many ms goes, but for what lies behind the newest backup: moments before
   * cannot be restored. Default: none does.
   */
  archiveMs?: number;
  /**
   * Packs of which less than this share is needed are rewritten without the rest, and many small ones are put
   * together: 0.25 is a good choice. Default 0: packs go only as a whole.
   */
  repackBelow?: number;
  /** Removes the lock of a prune that is surely dead. */
  breakLock?: boolean;
  onProgress?: (progress: VaultProgress) => void;
  signal?: AbortSignal;
}

/** What a prune did, or would do. */
export interface PruneReport {
  readonly ok: boolean;
  readonly dryRun: boolean;
  /** Packs that are needed, and their bytes. */
  readonly keptPacks: number;
  readonly keptBytes: number;
  /** Packs that were marked now; they go with a later prune, or with this one where there is no grace. */
  readonly markedPacks: number;
  readonly markedBytes: number;
  /** Of those, packs that were rewritten, and the bytes of what they became. */
  readonly repackedPacks: number;
  readonly repackedBytes: number;
  readonly deletedPacks: number;
  readonly deletedBytes: number;
  /** Runs that were given up. */
  readonly expiredParts: number;
  /** Objects of archived logs that went, since no backup is left that they could roll forward. */
  readonly deletedArchives: number;
}

interface PruneCounts
  extends Pick<PruneReport, 'repackedPacks' | 'repackedBytes' | 'expiredParts' | 'deletedArchives'> {
  readonly marked: readonly { size: number }[];
  readonly deleted: readonly { size: number }[];
}

const dayMs = 24 * 3600 * 1000;

/** VARVE_LOCKED while another prune runs; VARVE_CORRUPT when a backup is not whole: nothing was done. */
export async function runPrune(env: VaultEnv, options: PruneOptions): Promise<PruneReport> {
  if (options.dryRun === true) return await new PruneRun(env, options).dryRun();
  const lock = await lockPrune(env, options.breakLock === true);
  try {
    return await new PruneRun(env, options).run(lock);
  } finally {
    await lock.release();
  }
}

class PruneRun {
  readonly #env: VaultEnv;
  readonly #options: PruneOptions;
  readonly #slices: Slices;
  readonly #graceMs: number;
  readonly #repackBelow: number;

  constructor(env: VaultEnv, options: PruneOptions) {
    this.#env = env;
    this.#options = options;
    this.#slices = new Slices(env.clock, options.signal);
    this.#repackBelow = options.repackBelow ?? 0;
    this.#graceMs = options.graceMs ?? (env.store.caps.local === true ? 0 : dayMs);
  }

  async dryRun(): Promise<PruneReport> {
    const first = await this.#mark();
    const { state, live } = first;
    const planned = planRepack(this.#env, first, this.#repackBelow);
    const bytes = planned.reduce((sum, number) => sum + live[number]!, 0);
    for (const number of planned) live[number] = 0;
    const unneeded = state.packs.filter((_pack, number) => live[number] === 0);
    return this.#report(first, {
      marked: unneeded.filter(({ pending }) => !pending),
      deleted: unneeded.filter(({ pending }) => pending),
      repackedPacks: planned.length,
      repackedBytes: bytes,
      expiredParts: 0,
      deletedArchives: (await this.#uselessArchives()).length,
    });
  }

  async run(lock: VaultLock): Promise<PruneReport> {
    const { store, clock } = this.#env;
    if (store instanceof DirectoryBlobs) await store.removeOldDrafts(clock.now());
    const expired = await this.#expireParts();
    const dropped = await this.#dropArchives();
    const first = await this.#mark();
    const repacked = await this.#repack(first);
    await lock.check();
    const rewritten = new Set(repacked.packs);
    const { packs } = first.state;
    const marked = packs.filter((pack, i) => !pack.pending && (first.live[i] === 0 || rewritten.has(i)));
    for (const { hash } of marked) await store.put(pendingName(hash), encodePendingMarker(clock.now()));
    const second = await this.#mark();
    const { state, live } = second;
    await this.#unmark(second);
    const due = await this.#due(state);
    const deleted = state.packs.filter((pack, i) => pack.pending && live[i] === 0 && due.has(pack.hash));
    await lock.check();
    await this.#delete(state, deleted);
    return this.#report(second, {
      marked,
      deleted,
      repackedPacks: rewritten.size,
      repackedBytes: repacked.bytes,
      expiredParts: expired,
      deletedArchives: dropped,
    });
  }

  async #repack(first: MarkedState): Promise<{ readonly packs: readonly number[]; readonly bytes: number }> {
    const planned = planRepack(this.#env, first, this.#repackBelow);
    if (planned.length === 0) return { packs: [], bytes: 0 };
    this.#progress('repack', 0, planned.length);
    return await repackPacks(this.#env, first, planned, this.#slices, this.#options.signal);
  }

  /** Gives up runs that have not ended for so long: their own `.snap` can no more be made. */
  async #expireParts(): Promise<number> {
    const { store, clock, random } = this.#env;
    if (!store.caps.conditionalPut) return 0;
    const { snaps: parts } = await listSnaps(this.#env, 'part');
    let expired = 0;
    for (const part of parts) {
      // From when its packs were put: however long that took, it was alive then.
      const { ms } = decodeExtra(part.manifest.extra, part.name);
      if (clock.now() - part.timeMs - ms < (this.#options.partAgeMs ?? dayMs)) continue;
      const bytes = encodeBackupManifest(voidOf(part.manifest), random(12));
      await store.put(snapNameOf(part), bytes, { ifAbsent: true });
      await store.delete(part.name);
      expired++;
    }
    return expired;
  }

  /** Removes archived logs that no backup can be rolled forward with. Returns how many objects. */
  async #dropArchives(): Promise<number> {
    const { store } = this.#env;
    const useless = await this.#uselessArchives();
    for (const name of useless) {
      throwIfAborted(this.#options.signal);
      await store.delete(name);
    }
    return useless.length;
  }

  async #uselessArchives(): Promise<string[]> {
    const { snaps, damaged } = await listSnaps(this.#env, 'snap');
    const parts = await listSnaps(this.#env, 'part');
    // Nobody knows what a damaged backup can be rolled forward with.
    if (damaged.length > 0 || parts.damaged.length > 0) return [];
    const objects = await listArchives(this.#env);
    const ends = new Set(objects.map(({ store, timelineId }) => archiveDir(store, timelineId)));
    const oldest = new Map<string, Seq>();
    const newest = new Map<string, Seq>();
    for (const { manifest } of [...snaps, ...parts.snaps]) {
      const dir = archiveDirOf(manifest.dbUuid, manifest.timelineId);
      oldest.set(dir, Math.min(manifest.seq, oldest.get(dir) ?? manifest.seq));
      newest.set(dir, Math.max(manifest.seq, newest.get(dir) ?? manifest.seq));
    }
    const { archiveMs } = this.#options;
    const useless: string[] = [];
    for (const object of objects) {
      const dir = archiveDir(object.store, object.timelineId);
      const seq = oldest.get(dir);
      // What lies behind the newest backup is all there is of it.
      const isOld = async (): Promise<boolean> =>
        archiveMs !== undefined &&
        object.lastSeq <= newest.get(dir)! &&
        (await readArchive(this.#env, object)).lastMs < this.#env.clock.now() - archiveMs;
      if (seq === undefined || object.lastSeq <= seq || (await isOld())) useless.push(object.name);
    }
    for (const dir of ends) if (!oldest.has(dir)) useless.push(archiveEndName(dir));
    return useless;
  }

  /** What is reached. VARVE_CORRUPT when a `.snap` is not whole. */
  async #mark(): Promise<MarkedState> {
    return await steadily(() => this.#tryMark());
  }

  async #tryMark(): Promise<MarkedState> {
    const parts = await listSnaps(this.#env, 'part');
    const { snaps, damaged } = await listSnaps(this.#env, 'snap');
    if (damaged.length > 0)
      throw new VarveError('VARVE_CORRUPT', `${damaged[0]!.name} cannot be read: nothing is pruned`, {
        file: damaged[0]!.name,
        cause: damaged[0]!.error,
      });
    const state = await loadVault(this.#env, everyPack);
    await adoptOrphans(this.#env, state, everyPack);
    const marker = new Marker(new VaultReader(this.#env, state), this.#slices);
    for (const [i, { manifest, name }] of snaps.entries()) {
      throwIfAborted(this.#options.signal);
      this.#progress('mark', i, snaps.length);
      await marker.mark(manifest);
      if (marker.missCount === 0) continue;
      const [miss] = marker.misses;
      throw corrupt(`${miss!.error.message}: the backup is not whole and nothing is pruned`, { file: name });
    }
    // What a run reaches may not be there yet: that is its check's to find.
    for (const { manifest } of parts.snaps) await marker.mark(manifest);
    // Values that were gone before they could be archived are missing for good.
    for (const object of await listArchives(this.#env)) {
      throwIfAborted(this.#options.signal);
      await marker.markValues(valuesIn(await readArchive(this.#env, object)));
    }
    const live = new Float64Array(state.packs.length);
    const marks = marker.marked;
    const count = (hit: IndexHit): void => {
      if (marks.has(hit)) live[hit.pack]! += frameBytes(hit.storedLen);
    };
    await state.index.each(count, () => this.#slices.step());
    marks.check();
    return { state, marks, live };
  }

  /** Markers of packs that something needs after all. */
  async #unmark({ state, live }: MarkedState): Promise<void> {
    for (const [number, { hash, pending }] of state.packs.entries())
      if (pending && live[number]! > 0) await this.#env.store.delete(pendingName(hash));
    for (const hash of state.pending) {
      if (!state.byHash.has(hash)) await this.#env.store.delete(pendingName(hash));
    }
  }

  /** Packs whose marker is old enough. A damaged marker is written anew. */
  async #due({ byHash }: VaultState): Promise<ReadonlySet<string>> {
    const { store, clock } = this.#env;
    const due = new Set<string>();
    for await (const { name } of store.list(pendingPrefix)) {
      const hash = pendingHashOf(name);
      if (hash === undefined || !byHash.has(hash)) continue;
      let markedMs: number;
      try {
        markedMs = decodePendingMarker(await store.get(name, pendingMarker.size), name);
      } catch (error) {
        if (!(error instanceof VarveError) || error.code === 'VARVE_IO') throw error;
        await store.put(name, encodePendingMarker(clock.now()));
        continue;
      }
      if (clock.now() - markedMs >= this.#graceMs) due.add(hash);
    }
    return due;
  }

  /**
   * Index entries first, so that nobody is sent to a pack that is gone; the marker last. Entries of packs
   * that are gone already go too: all that backups reach was found elsewhere.
   */
  async #delete(state: VaultState, packs: readonly { hash: string }[]): Promise<void> {
    const { store } = this.#env;
    const lost = state.missing.filter((hash) => !state.byHash.has(hash));
    const gone = new Set([...packs.map(({ hash }) => hash), ...lost]);
    for (const hash of state.superseded) await store.delete(indexName(hash));
    const seen = new Set([...hashesOf(state.indexes), ...state.superseded]);
    const merged = await this.#dropEntries(state.indexes, gone);
    for (const hash of hashesOf(merged)) seen.add(hash);
    for (const [i, { hash }] of packs.entries()) {
      throwIfAborted(this.#options.signal);
      this.#progress('delete', i, packs.length);
      await store.delete(packName(hash));
      await store.delete(pendingName(hash));
    }
    if (packs.length === 0) return;
    // Index objects of runs that had put such a pack, but had not named it when it was looked for.
    await this.#dropEntries(await listIndexes(this.#env, seen), gone);
  }

  /** Puts index objects without packs that are gone in the place of those that name any. */
  async #dropEntries(indexes: readonly IndexState[], gone: ReadonlySet<string>): Promise<IndexState[]> {
    const touched = indexes.filter(({ packs }) => packs.some((hash) => gone.has(hash)));
    return await mergeIndexes(this.#env, touched, gone);
  }

  #report({ state: { packs }, live }: MarkedState, { marked, deleted, ...rest }: PruneCounts): PruneReport {
    const bytes = (some: readonly { size: number }[]): number =>
      some.reduce((sum, { size }) => sum + size, 0);
    const kept = packs.filter((_pack, i) => live[i]! > 0);
    return {
      ok: true,
      dryRun: this.#options.dryRun === true,
      keptPacks: kept.length,
      keptBytes: bytes(kept),
      markedPacks: marked.length,
      markedBytes: bytes(marked),
      deletedPacks: deleted.length,
      deletedBytes: bytes(deleted),
      ...rest,
    };
  }

  #progress(phase: string, done: number, total: number): void {
    this.#options.onProgress?.({ phase, done, total, unit: 'packs', bytesPerSecond: 0 });
  }
}
