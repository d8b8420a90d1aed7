/**
 * One backup of a store into a vault.
 *
 * Order: packs, index object, `.part` with the root, check, `.snap` where none is, then the `.part` goes. The
 * `.snap` is the only commit point. A prune that runs meanwhile either sees the `.part` in one of its two
 * marks, or its markers are seen by the check, which then uploads again what is about to go.
 *
 * Invariants (test/backup/backup.test.ts, test/backup/vault-crash.test.ts)
 * - A `.snap` exists only when everything it reaches is in packs that no marker names ("a backup leaves
 *   older ones whole, and the next run succeeds").
 * - The root is the one a backup into an empty vault would have ("an incremental backup sends what
 *   is new and has the root from scratch").
 */
import { equalBytes, toHex } from '../base/bytes.ts';
import { isDamage, VarveError } from '../base/errors.ts';
import {
  type BackupManifest,
  type BackupMode,
  backupFlags,
  backupModes,
  encodeBackupManifest,
} from '../format/backup-manifest.ts';
import { packName, snapName } from '../format/vault-names.ts';
import type { BackupRow } from '../format/vault-records.ts';
import type { HashThreads } from '../pool/id-checker.ts';
import {
  type BackupInfo,
  damageOf,
  encodeExtra,
  infoOf,
  isIncomplete,
  type VaultDamage,
  type VaultProgress,
} from './backup-info.ts';
import { BackupScan, type LeftOut, type ScanUpdate } from './backup-scan.ts';
import { type BackupSource, chunkBytesOf } from './backup-source.ts';
import { keyText } from './key-text.ts';
import type { KeyTree } from './key-tree-builder.ts';
import { LookAgain } from './look-again.ts';
import { Marker } from './marker.ts';
import { pacedEnv } from './paced-blobs.ts';
import { packBytesTarget } from './pack-builder.ts';
import { isGivenBack, notGivenBack } from './read-back.ts';
import { reachedState, tidyIndexes } from './reuse.ts';
import { RunIndexes } from './run-indexes.ts';
import { listSnaps, type Snap } from './snaps.ts';
import { Slices } from './throttle.ts';
import { Upload } from './upload.ts';
import { steadily } from './vault-index.ts';
import { VaultReader } from './vault-reader.ts';
import {
  adoptOrphans,
  type IndexState,
  lastingPacks,
  loadVault,
  type VaultEnv,
  type VaultState,
} from './vault-state.ts';

/** Options of a backup. */
export interface BackupOptions {
  /**
   * What of the vault is reused: everything ('incremental', default), what the last full backup reaches
   * ('differential'), nothing ('full': an independent second copy). Every backup is complete on its own.
   */
  mode?: BackupMode;
  label?: string;
  tags?: readonly string[];
  /** Says what would be sent; writes nothing. */
  dryRun?: boolean;
  /** Proves each chunk by its SHA-256 and reads back what was put, before the backup counts. Default true. */
  verify?: boolean;
  /** Bound on what is sent. */
  bytesPerSecond?: number;
  onProgress?: (progress: VaultProgress) => void;
  signal?: AbortSignal;
}

/** What a backup did. */
export interface BackupReport extends BackupInfo {
  /** Nothing was left out. */
  readonly ok: boolean;
  readonly dryRun: boolean;
  /** What could not be read, at most 1,000 of them. */
  readonly damage: readonly VaultDamage[];
  /** What a person should look at. */
  readonly warnings: readonly string[];
}

/** Test-only bounds. */
export interface BackupBounds {
  readonly packBytes?: number;
}

/** What the engine keeps of a run. */
export interface BackupResult {
  readonly report: BackupReport;
  /** To remember in the store; undefined after a dry run. */
  readonly row: BackupRow | undefined;
}

const damageMax = 1000;

/** Backs `source` up. VARVE_CONFLICT when the run was taken for dead and given up: run it again. */
export async function runBackup(
  env: VaultEnv,
  source: BackupSource,
  options: BackupOptions,
  bounds: BackupBounds = {},
): Promise<BackupResult> {
  const threads = options.dryRun === true ? undefined : env.threads?.();
  const paced = pacedEnv(env, options);
  const run = new BackupRun(paced, source, options, bounds, threads);
  try {
    return await run.run();
  } catch (error) {
    if (!run.wrongIds) throw error;
    // Which chunk it is, and of which key, is told by a run that hashes each where it is read.
    return await new BackupRun(paced, source, options, bounds, undefined).run();
  } finally {
    await threads?.close();
  }
}

class BackupRun {
  readonly #env: VaultEnv;
  readonly #source: BackupSource;
  readonly #options: BackupOptions;
  readonly #packBytes: number;
  readonly #threads: HashThreads | undefined;
  readonly #startedAt: number;
  readonly #slices: Slices;
  readonly #damage: VaultDamage[] = [];
  readonly #warnings: string[] = [];
  /** Index objects of this run. */
  readonly #indexes: IndexState[] = [];
  #damagedKeys = 0;
  #keys = 0;
  #sent = 0;
  #chunks = 0;
  #newBytes = 0;
  #files = 0;
  /** See Upload. */
  wrongIds = false;

  constructor(
    env: VaultEnv,
    source: BackupSource,
    options: BackupOptions,
    bounds: BackupBounds,
    threads: HashThreads | undefined,
  ) {
    this.#threads = threads;
    this.#env = env;
    this.#source = source;
    this.#options = options;
    this.#packBytes = bounds.packBytes ?? packBytesTarget;
    this.#startedAt = env.clock.monotonic();
    this.#slices = new Slices(env.clock, options.signal);
  }

  async run(): Promise<BackupResult> {
    const mode = this.#options.mode ?? 'incremental';
    const dryRun = this.#options.dryRun === true;
    const { snaps } = await listSnaps(this.#env, 'snap');
    const base = this.#base(mode, snaps);
    const newest = snaps.reduce((time, snap) => Math.max(time, snap.timeMs + 1), 0);
    const timeMs = Math.max(this.#env.clock.now(), newest);
    const backupId = this.#env.random(16);
    let state = await loadVault(this.#env, lastingPacks);
    for (const error of state.damage) this.#note(error);
    const adopted =
      mode === 'incremental' && !dryRun ? await adoptOrphans(this.#env, state, lastingPacks, true) : [];
    if (mode === 'full') state = { ...state, index: state.index.emptied() };
    if (mode === 'differential') state = await reachedState(this.#env, state, base, this.#slices);
    // Where packs are gone, nothing of earlier backups is taken for granted.
    const isSound = state.missing.length === 0 && state.damage.length === 0;
    // What the base reaches is in packs that were loaded, if it is there still and no pack is marked: a prune
    // that died or goes on may have marked some before it saw the base. What is marked later the check finds.
    const isThere = base !== undefined && (await this.#env.store.size(base.name)) !== undefined;
    const isMarked = state.packs.some(({ pending }) => pending);
    const trusted = isThere && !isMarked && !isIncomplete(base.manifest) && isSound;
    const update = trusted ? await this.#updateOf(base, state) : undefined;
    let tree: KeyTree;
    try {
      tree = await this.#pass(state, adopted, trusted ? base.manifest.seq : 0, update);
    } catch (error) {
      if (update === undefined || !isDamage(error)) throw error;
      // What it was to be built on is damaged, or was removed meanwhile: nothing of that pack is relied on.
      this.#note(error);
      const { file } = error;
      state = await loadVault(this.#env, (pack) => lastingPacks(pack) && packName(pack.hash) !== file, state);
      tree = await this.#pass(state, [], 0);
    }
    const manifest = (provedMs: number): BackupManifest =>
      this.#manifest(backupId, timeMs, tree, base, provedMs);
    if (dryRun) return { report: this.#report(manifest(0)), row: undefined };
    const part = snapName(timeMs, toHex(backupId), 'part');
    const again = new LookAgain(this.#env, 'the backup');
    for (;;) {
      await this.#env.store.put(part, encodeBackupManifest(manifest(0), this.#env.random(12)));
      const looked = await again.look(this.#indexes, state);
      state = looked.state;
      // Where no pack of before is missing or marked, the tree is whole without a walk.
      if (looked.lasts || (await this.#isWhole(state, tree))) break;
      again.goOn();
      tree = await this.#pass(state, [], 0);
    }
    const done = manifest(this.#options.verify === false ? 0 : Math.max(1, this.#env.clock.now()));
    await this.#commit(snapName(timeMs, toHex(backupId)), encodeBackupManifest(done, this.#env.random(12)));
    await this.#env.store.delete(part);
    const untidy = await tidyIndexes(this.#env, state);
    if (untidy !== undefined) this.#warnings.push(`index objects could not be merged: ${untidy.message}`);
    return { report: this.#report(done), row: this.#row(done) };
  }

  /** Puts the manifest that makes the backup exist. */
  async #commit(name: string, bytes: Uint8Array): Promise<void> {
    const { store } = this.#env;
    const what = 'the backup took so long that a prune gave it up; run it again';
    if (!(await store.put(name, bytes, { ifAbsent: true })))
      throw new VarveError('VARVE_CONFLICT', what, { retryable: true });
    if (this.#options.verify === false) return;
    if ((await isGivenBack(store, name, bytes)) !== true) throw notGivenBack(name);
  }

  /** The backup that this one builds on: the last of this store, or its last full one. */
  #base(mode: BackupMode, snaps: readonly Snap[]): Snap | undefined {
    const { last } = this.#source;
    if (last === undefined) return undefined;
    const find = (id: Uint8Array): Snap | undefined => snaps.find((snap) => snap.id === toHex(id));
    if (find(last.backupId) === undefined) {
      const when = new Date(last.timeMs).toISOString();
      this.#warnings.push(
        `the vault does not have the last backup of this store (${toHex(last.backupId)}, ${when}): ` +
          'it was removed, or the vault hides it',
      );
    }
    if (mode === 'full') return undefined;
    return mode === 'differential' ? find(last.fullId) : find(last.backupId);
  }

  /** Undefined where all rows are to be read. */
  async #updateOf({ manifest }: Snap, state: VaultState): Promise<ScanUpdate | undefined> {
    const source = this.#source;
    const isSame = equalBytes(manifest.dbUuid, source.dbUuid) && manifest.timelineId === source.timelineId;
    if (!isSame || manifest.seq > source.seq) return undefined;
    const changes = await source.changes(manifest.seq);
    if (changes === undefined) return undefined;
    return { base: manifest, changes, reader: new VaultReader(this.#env, state) };
  }

  /** Reads the store, uploads what `state` lacks, and writes the index of it. */
  async #pass(
    state: VaultState,
    adopted: readonly number[],
    knownSeq: number,
    update?: ScanUpdate,
  ): Promise<KeyTree> {
    this.#keys = 0;
    this.#damagedKeys = 0;
    const dryRun = this.#options.dryRun === true;
    const indexes = new RunIndexes(this.#env, state, this.#indexes);
    let unnamed = adopted;
    const upload = new Upload(this.#env, state.packs, state.index, {
      packBytes: this.#packBytes,
      prove: this.#options.verify !== false,
      expected: knownSeq === 0 && update === undefined ? chunkBytesOf(this.#source) : 0,
      dryRun,
      signal: this.#options.signal,
      threads: this.#threads,
      onBytes: (bytes) => {
        this.#sent += bytes;
        this.#progress('upload');
      },
      spill: async () => {
        await indexes.spill(new Set([...upload.own, ...unnamed]));
        unnamed = [];
      },
    });
    const scan = new BackupScan(this.#source, state.index, upload, {
      knownSeq,
      update,
      dryRun,
      slices: this.#slices,
      onKey: () => {
        if ((++this.#keys & 4095) === 0) this.#progress('scan');
      },
      onLeftOut: (key) => this.#leftOut(key),
    });
    let tree: KeyTree;
    try {
      tree = await scan.run();
      await upload.finish();
    } finally {
      upload.release();
      this.wrongIds ||= upload.wrongIds;
    }
    const packs = new Set([...upload.own, ...unnamed]);
    if (!dryRun && packs.size > 0) await indexes.put(packs);
    this.#chunks += upload.chunks;
    this.#newBytes += upload.bytes;
    this.#files += upload.files;
    return tree;
  }

  /** Everything the tree reaches lies in packs that are there, named by the index and by no marker. */
  async #isWhole(state: VaultState, tree: KeyTree): Promise<boolean> {
    return await steadily(async () => {
      const marker = new Marker(new VaultReader(this.#env, state), this.#slices);
      await marker.mark({ rootNodeId: tree.rootId, treeHeight: tree.height });
      return marker.missCount === 0;
    });
  }

  #leftOut({ prefix, error }: LeftOut): void {
    this.#damagedKeys++;
    this.#note(error, [keyText(prefix)]);
  }

  #note(error: VarveError, keys?: readonly string[]): void {
    if (this.#damage.length < damageMax)
      this.#damage.push(damageOf(error, keys === undefined ? {} : { keys }));
  }

  #manifest(
    backupId: Uint8Array,
    timeMs: number,
    tree: KeyTree,
    base: Snap | undefined,
    provedMs: number,
  ): BackupManifest {
    const { label, tags, mode = 'incremental' } = this.#options;
    const { dbUuid, timelineId, seq, params } = this.#source;
    return {
      vaultId: this.#env.vaultId,
      backupId,
      dbUuid,
      timelineId,
      seq,
      timeMs,
      rootNodeId: tree.rootId,
      treeHeight: tree.height,
      keys: tree.keys,
      logicalBytes: tree.bytes,
      newChunks: this.#chunks,
      newBytes: this.#newBytes,
      walFrom: 0,
      mode: backupModes[mode],
      flags: this.#damagedKeys > 0 ? backupFlags.incomplete : 0,
      extra: encodeExtra({
        store: params,
        tags: [...(tags ?? [])],
        files: this.#files,
        ms: Math.max(0, Math.round(this.#env.clock.monotonic() - this.#startedAt)),
        provedMs,
        damagedKeys: this.#damagedKeys,
        ...(label === undefined ? {} : { label }),
        ...(base === undefined ? {} : { parent: base.id }),
      }),
    };
  }

  #row(done: BackupManifest): BackupRow {
    const { last } = this.#source;
    const { backupId, timeMs, seq } = done;
    const isFull = done.mode === backupModes.full || last === undefined;
    return {
      backupId,
      timeMs,
      seq,
      fullId: isFull ? backupId : last.fullId,
      fullTimeMs: isFull ? timeMs : last.fullTimeMs,
      fullSeq: isFull ? seq : last.fullSeq,
      provedMs: this.#options.verify === false ? 0 : Math.max(1, this.#env.clock.now()),
    };
  }

  #report(manifest: BackupManifest): BackupReport {
    return {
      ...infoOf(manifest, 'backup'),
      ok: this.#damagedKeys === 0,
      dryRun: this.#options.dryRun === true,
      damage: this.#damage,
      warnings: this.#warnings,
    };
  }

  #progress(phase: string): void {
    const seconds = (this.#env.clock.monotonic() - this.#startedAt) / 1000;
    const isScan = phase === 'scan';
    this.#options.onProgress?.({
      phase,
      done: isScan ? this.#keys : this.#sent,
      total: undefined,
      unit: isScan ? 'keys' : 'bytes',
      bytesPerSecond: seconds > 0 ? this.#sent / seconds : 0,
    });
  }
}
