import { corrupt, isDamage, isVarveError, type VarveError } from '../base/errors.ts';
import { vaultIndexBytesMax } from '../format/vault-index.ts';
import { indexName, packName, pendingName, rotationName, vaultName } from '../format/vault-names.ts';
import {
  decodePendingMarker,
  decodeRotation,
  decodeVaultFile,
  pendingMarker,
  rotationRecord,
  vaultFileBytes,
} from '../format/vault-records.ts';
import { sha256Hex } from '../kernels/hash/sha256.ts';
import type { HashThreads } from '../pool/id-checker.ts';
import { affectedBy } from './affected.ts';
import { archiveDirs, checkArchiveEnd, listArchives, readArchive, valuesIn } from './archive-objects.ts';
import { damageOf, type VaultDamage, type VaultProgress } from './backup-info.ts';
import { Marker } from './marker.ts';
import { eachRunNote } from './run-notes.ts';
import { listSnaps, type Snap } from './snaps.ts';
import { Slices, throwIfAborted } from './throttle.ts';
import { steadily } from './vault-index.ts';
import { VaultReader } from './vault-reader.ts';
import { adoptOrphans, everyPack, loadVault, type VaultEnv, type VaultState } from './vault-state.ts';
import { PacksCheck } from './verify-packs.ts';
import { sampleValues } from './verify-samples.ts';

/** Options of a verify. */
export interface VerifyVaultOptions {
  /** Default 3. */
  level?: 0 | 1 | 2 | 3;
  /** Levels 2 and 3 look at this share of the packs only: 1 of 7, 2 of 7 … 7 of 7 together are all. */
  subset?: { part: number; of: number };
  /**
   * Levels 2 and 3 look at one in so many of the packs, going on behind those the last such run looked at:
   * the vault remembers, and is written to for that. So many runs look at everything, each `maxMs` long at
   * most.
   */
  rotate?: number;
  /** Reads the whole values of so many keys, chosen by chance from all backups, as a restore would. */
  testKeys?: number;
  /** Backups that must be there, such as those of `engine.health().backups`: a hidden one is damage. */
  expect?: readonly { readonly backup: string; readonly time?: Date }[];
  /** Ends after about so long; `complete` is then false and the packs that were checked are counted. */
  maxMs?: number;
  onProgress?: (progress: VaultProgress) => void;
  signal?: AbortSignal;
}

/** What a verify found. */
export interface VerifyVaultReport {
  /** No damage, in what was looked at. */
  readonly ok: boolean;
  readonly level: number;
  /** Everything asked for was looked at. */
  readonly complete: boolean;
  readonly backups: number;
  readonly packs: number;
  /** Bytes read of packs. */
  readonly bytes: number;
  readonly ms: number;
  /** Keys whose values were read whole, for `testKeys`. */
  readonly testedKeys: number;
  /** With `rotate`: every pack that was there at this moment has been looked at since; absent: not yet. */
  readonly coveredSince?: Date;
  /** At most 1,000 places. */
  readonly damage: readonly VaultDamage[];
}

/** Damage with the ids of the chunks it concerns, in hex. */
interface Found {
  readonly error: VarveError;
  readonly ids: readonly string[];
  readonly snapshots?: readonly string[];
  readonly keys?: readonly string[];
}

const damageMax = 1000;

export async function runVerify(env: VaultEnv, options: VerifyVaultOptions): Promise<VerifyVaultReport> {
  const threads = (options.level ?? 3) >= 3 ? env.threads?.() : undefined;
  try {
    return await new VerifyRun(env, options, threads).run();
  } finally {
    await threads?.close();
  }
}

class VerifyRun {
  readonly #env: VaultEnv;
  readonly #options: VerifyVaultOptions;
  readonly #level: number;
  readonly #slices: Slices;
  readonly #threads: HashThreads | undefined;
  readonly #startedAt: number;
  readonly #found: Found[] = [];
  #packs: PacksCheck | undefined;
  #sampled = 0;
  #testedKeys = 0;

  constructor(env: VaultEnv, options: VerifyVaultOptions, threads: HashThreads | undefined) {
    this.#env = env;
    this.#threads = threads;
    this.#options = options;
    this.#level = options.level ?? 3;
    this.#slices = new Slices(env.clock, options.signal);
    this.#startedAt = env.clock.monotonic();
  }

  async run(): Promise<VerifyVaultReport> {
    await this.#attempt(undefined, async () => {
      decodeVaultFile(await this.#env.store.get(vaultName, vaultFileBytes));
    });
    const { snaps, damaged } = await listSnaps(this.#env, 'snap');
    for (const { name, error } of damaged) {
      this.#note({ error, ids: [], snapshots: [name.slice(name.indexOf('-') + 1, -'.snap'.length)] });
    }
    this.#hidden(snaps);
    const parts = await listSnaps(this.#env, 'part');
    for (const { error } of parts.damaged) this.#note({ error, ids: [] });
    const state = await loadVault(this.#env, everyPack);
    for (const error of state.damage) this.#note({ error, ids: [] });
    this.#missing(state);
    const orphans = new Set(await adoptOrphans(this.#env, state, everyPack));
    const reader = new VaultReader(this.#env, state, { keepsOpen: true });
    const packs = this.#level < 2 ? undefined : await this.#packsOf(state, orphans);
    this.#packs = packs;
    try {
      await steadily(() => this.#walk(reader, snaps));
      await this.#sample(reader, snaps);
      await this.#archives(reader, snaps);
      await packs?.run();
    } finally {
      await packs?.settled();
      await reader.close();
    }
    if (this.#level >= 3) await this.#checkSmall(state);
    const damage = await this.#attributed(reader, snaps).finally(() => reader.close());
    return {
      ok: this.#found.length === 0,
      level: this.#level,
      complete: packs?.complete ?? true,
      backups: snaps.length,
      packs: packs?.packs ?? 0,
      bytes: this.#bytes,
      ms: Math.round(this.#env.clock.monotonic() - this.#startedAt),
      testedKeys: this.#testedKeys,
      ...(packs?.coveredSince === undefined ? {} : { coveredSince: packs.coveredSince }),
      damage,
    };
  }

  /** Backups that a store knows of and the vault does not show. */
  #hidden(snaps: readonly Snap[]): void {
    for (const { backup, time } of this.#options.expect ?? []) {
      if (snaps.some(({ id }) => id === backup)) continue;
      const when = time === undefined ? '' : ` of ${time.toISOString()}`;
      const what = `backup ${backup}${when} is not there: it was removed, or the vault hides it`;
      this.#note({ error: corrupt(what, { file: 'snaps/' }), ids: [], snapshots: [backup] });
    }
  }

  async #sample(reader: VaultReader, snaps: readonly Snap[]): Promise<void> {
    const { testKeys = 0, signal } = this.#options;
    const { random } = this.#env;
    const isOver = (): boolean => this.#isOver();
    const { keys, bytes, faults } = await sampleValues(reader, snaps, {
      keys: testKeys,
      random,
      isOver,
      signal,
    });
    this.#testedKeys = keys;
    this.#sampled += bytes;
    for (const { error, key, snapshot } of faults)
      this.#note({ error, ids: [], snapshots: [snapshot], ...(key === undefined ? {} : { keys: [key] }) });
  }

  #isOver(): boolean {
    const { maxMs } = this.#options;
    return maxMs !== undefined && this.#env.clock.monotonic() - this.#startedAt >= maxMs;
  }

  #missing({ missing, byHash }: VaultState): void {
    for (const hash of missing) {
      const file = packName(hash);
      const what = byHash.has(hash) ? 'pack has another size than it was put with' : 'pack is missing';
      this.#note({ error: corrupt(what, { file }), ids: [] });
    }
  }

  /** Level 0: what the trees reach. */
  async #walk(reader: VaultReader, snaps: readonly Snap[]): Promise<void> {
    const marker = new Marker(reader, this.#slices);
    for (const [i, { manifest }] of snaps.entries()) {
      this.#progress('walk', i, snaps.length, 'packs');
      await marker.mark(manifest);
    }
    for (const { id, error } of marker.misses) this.#note({ error, ids: [id] });
  }

  /** Level 0: archived logs are whole, each by itself, and so is what they put. */
  async #archives(reader: VaultReader, snaps: readonly Snap[]): Promise<void> {
    const manifests = snaps.map(({ manifest }) => manifest);
    for (const object of await listArchives(this.#env)) {
      throwIfAborted(this.#options.signal);
      await this.#attempt(undefined, async () => {
        const archive = await readArchive(this.#env, object);
        const marker = await steadily(async () => {
          const one = new Marker(reader, this.#slices);
          await one.markValues(valuesIn(archive));
          return one;
        });
        for (const { id, error } of marker.misses) this.#note({ error, ids: [id] });
      });
    }
    for (const dir of await archiveDirs(this.#env)) {
      await this.#attempt(undefined, async () => {
        await checkArchiveEnd(this.#env, dir, manifests);
      });
    }
  }

  /** Bytes read of packs. */
  get #bytes(): number {
    return this.#sampled + (this.#packs?.bytes ?? 0);
  }

  async #packsOf(state: VaultState, orphans: ReadonlySet<number>): Promise<PacksCheck> {
    const { subset, rotate, maxMs, signal } = this.#options;
    return await PacksCheck.begin({
      env: this.#env,
      state,
      orphans,
      level: this.#level,
      threads: this.#threads,
      slices: this.#slices,
      subset,
      rotate,
      isTimed: maxMs !== undefined,
      isOver: () => this.#isOver(),
      signal,
      attempt: (concerned, check) => this.#attempt(concerned, check),
      note: (found) => this.#note(found),
      onProgress: (done, total) => this.#progress('packs', done, total, 'packs'),
    });
  }

  /** Index objects by their names, markers, notes of runs, and whose turn it is. */
  async #checkSmall(state: VaultState): Promise<void> {
    const { store } = this.#env;
    for (const hash of [...state.indexes.map((index) => index.hash), ...state.superseded]) {
      await this.#attempt(undefined, async () => {
        const bytes = await store.get(indexName(hash), vaultIndexBytesMax);
        if (sha256Hex(bytes) !== hash)
          throw corrupt('index object does not have the bytes its name says', { file: indexName(hash) });
      });
    }
    for (const hash of state.pending) {
      const name = pendingName(hash);
      await this.#attempt(undefined, async () => {
        decodePendingMarker(await store.get(name, pendingMarker.size), name);
      });
    }
    await eachRunNote(this.#env, (look) => this.#attempt(undefined, look));
    for (const level of [2, 3]) {
      const name = rotationName(level);
      await this.#attempt(undefined, async () => {
        decodeRotation(await store.get(name, rotationRecord.size), name);
      });
    }
  }

  /** Runs a check; damage is noted. What went away meanwhile was removed by a prune. */
  async #attempt(
    concerned: (() => Promise<readonly string[]>) | undefined,
    check: () => Promise<void>,
  ): Promise<void> {
    try {
      await check();
    } catch (error) {
      if (isVarveError(error, 'VARVE_NOT_FOUND')) {
        if (error.file === vaultName) this.#note({ error, ids: [] });
        return;
      }
      if (!isDamage(error) && !isVarveError(error, 'VARVE_FORMAT_VERSION')) throw error;
      this.#note({ error, ids: (await concerned?.()) ?? [] });
    }
  }

  #note(found: Found): void {
    if (this.#found.length < damageMax) this.#found.push(found);
  }

  async #attributed(reader: VaultReader, snaps: readonly Snap[]): Promise<VaultDamage[]> {
    const ids = new Set(this.#found.flatMap((found) => found.ids));
    const affected = await affectedBy(reader, snaps, ids, this.#slices);
    return this.#found.map((found) => {
      const of = affected.of(found.ids);
      const snapshots = found.snapshots ?? of.snapshots;
      const keys = found.keys ?? of.keys;
      return damageOf(found.error, {
        ...(keys.length === 0 ? {} : { keys, keyCount: Math.max(keys.length, of.keyCount) }),
        ...(snapshots.length === 0 ? {} : { snapshots }),
      });
    });
  }

  #progress(phase: string, done: number, total: number, unit: 'packs'): void {
    const seconds = (this.#env.clock.monotonic() - this.#startedAt) / 1000;
    const bytesPerSecond = seconds > 0 ? this.#bytes / seconds : 0;
    this.#options.onProgress?.({ phase, done, total, unit, bytesPerSecond });
  }
}
