/**
 * Archives what was committed since the last time: chunks into packs, index, then the log objects, then how
 * far it goes. A prune that runs meanwhile either sees the objects in one of its marks, or its markers are
 * seen by the check behind, which uploads again what is about to go. An object that a run left unchecked is
 * checked by the next one.
 *
 * Memory: one log object, and what Upload and the index of the vault take.
 *
 * Invariants (test/backup/archive.test.ts, test/backup/archive-crash.test.ts)
 * - Objects follow each other without a gap, wherever a run ended ("an archive that fails at any operation
 *   goes on without a gap").
 * - `until` never claims what is not there (the same test).
 */
import type { Seq } from '../base/brands.ts';
import { toHex } from '../base/bytes.ts';
import { isDamage, isVarveError, VarveError } from '../base/errors.ts';
import {
  type ArchivedFrame,
  type ArchiveEnd,
  archiveBytesTarget,
  decodeArchive,
  encodeArchive,
  encodeArchiveEnd,
} from '../format/vault-archive.ts';
import { archiveEndName, archiveName } from '../format/vault-names.ts';
import {
  type ArchiveObject,
  archiveDirOf,
  listArchives,
  type ReadArchive,
  readArchive,
  readArchiveEnd,
  valuesIn,
} from './archive-objects.ts';
import { damageOf, type VaultDamage } from './backup-info.ts';
import { LookAgain } from './look-again.ts';
import { pacedEnv } from './paced-blobs.ts';
import { packBytesTarget } from './pack-builder.ts';
import { isGivenBack, notGivenBack } from './read-back.ts';
import { RunIndexes } from './run-indexes.ts';
import { throwIfAborted } from './throttle.ts';
import { Upload } from './upload.ts';
import { type LiveChunks, ValueUpload } from './value-upload.ts';
import { type IndexState, lastingPacks, loadVault, type VaultEnv, type VaultState } from './vault-state.ts';

/** What is archived of a store. */
export interface ArchiveSource extends LiveChunks {
  readonly dbUuid: Uint8Array;
  readonly timelineId: number;
  /** Commits up to here are durable and are archived. */
  readonly seq: Seq;
  /** Every commit up to this time has a number up to `seq`, ms since 1970; 0: that is not known. */
  readonly coveredMs: number;
  /** The last commit of the last backup into this vault. */
  readonly backupSeq: Seq | undefined;
  /** Frames with commits above `since` up to `seq`, in order, payloads borrowed. VARVE_HISTORY_GONE. */
  frames(since: Seq): AsyncGenerator<ArchivedFrame>;
}

export interface ArchiveRunOptions {
  readonly bytesPerSecond?: number | undefined;
  readonly signal?: AbortSignal | undefined;
}

/** What a run archived. */
export interface ArchiveReport {
  /** Every value archived has all of its chunks in the vault. */
  readonly ok: boolean;
  /** Commits above `from` up to `to`. */
  readonly from: Seq;
  readonly to: Seq;
  /**
   * The store can be restored to any moment from its first backup on up to here; absent: nothing is known.
   */
  readonly until?: Date;
  /** Log objects, and their bytes. */
  readonly objects: number;
  readonly bytes: number;
  readonly newChunks: number;
  /** Bytes of the packs this run wrote. */
  readonly newBytes: number;
  /** Commits that were not kept any more: moments among them cannot be restored. */
  readonly gap?: { readonly from: Seq; readonly to: Seq };
  /** Values superseded before they were archived whose chunks are gone, at most 1,000 of them. */
  readonly damage: readonly VaultDamage[];
}

const damageMax = 1000;

/** VARVE_NOT_FOUND where there is no backup to begin at; VARVE_HISTORY_GONE, see Engine.archive. */
export async function runArchive(
  env: VaultEnv,
  source: ArchiveSource,
  options: ArchiveRunOptions = {},
): Promise<ArchiveReport> {
  return await new ArchiveRun(pacedEnv(env, options), source, options).run();
}

/** Frames of the object that is being filled. */
interface Filling {
  readonly frames: ArchivedFrame[];
  bytes: number;
}

/** What of the vault is known, and what goes into it. */
interface Session {
  readonly state: VaultState;
  readonly upload: Upload;
  readonly indexes: RunIndexes;
  readonly values: ValueUpload;
}

class ArchiveRun {
  readonly #env: VaultEnv;
  readonly #source: ArchiveSource;
  readonly #options: ArchiveRunOptions;
  readonly #dir: string;
  readonly #damage: VaultDamage[] = [];
  /** Index objects of this run. */
  readonly #indexes: IndexState[] = [];
  /** Objects that are to be checked: those of this run, and those another one has left so. */
  readonly #unchecked: ArchiveObject[] = [];
  #session: Session | undefined;
  #damaged = 0;
  #objects = 0;
  #bytes = 0;
  #chunks = 0;
  #newBytes = 0;

  constructor(env: VaultEnv, source: ArchiveSource, options: ArchiveRunOptions) {
    this.#env = env;
    this.#source = source;
    this.#options = options;
    this.#dir = archiveDirOf(source.dbUuid, source.timelineId);
  }

  async run(): Promise<ArchiveReport> {
    const { backupSeq, seq, coveredMs } = this.#source;
    const objects = await listArchives(this.#env, this.#dir);
    const end = await this.#end();
    // Without objects nothing behind the backup is there, whatever was said.
    const said = end === undefined ? undefined : Math.min(end.seq, backupSeq ?? end.seq);
    const archived = objects.at(-1)?.lastSeq ?? said;
    if (archived === undefined && backupSeq === undefined) {
      const what = 'the vault has no backup of this store yet: an archive begins at one';
      throw new VarveError('VARVE_NOT_FOUND', what);
    }
    this.#unchecked.push(...objects.filter(({ lastSeq }) => lastSeq > (end?.seq ?? 0)));
    let from = archived ?? backupSeq ?? 0;
    let gap: { from: Seq; to: Seq } | undefined;
    let to: Seq;
    try {
      to = await this.#all(from);
    } catch (error) {
      const next = backupSeq ?? 0;
      if (!isVarveError(error, 'VARVE_HISTORY_GONE') || next <= from || this.#objects > 0) throw error;
      // What lies between is in no object; the backup is where moments can be restored from again.
      gap = { from: from + 1, to: next };
      from = next;
      to = await this.#all(from);
    }
    await this.#check();
    const covered = Math.max(end?.coveredMs ?? 0, coveredMs);
    const name = archiveEndName(this.#dir);
    await this.#env.store.put(name, encodeArchiveEnd({ seq: to, coveredMs: covered }));
    return {
      ok: this.#damaged === 0,
      from,
      to: Math.max(from, seq),
      ...(covered === 0 ? {} : { until: new Date(covered) }),
      objects: this.#objects,
      bytes: this.#bytes,
      newChunks: this.#chunks,
      newBytes: this.#newBytes,
      ...(gap === undefined ? {} : { gap }),
      damage: this.#damage,
    };
  }

  /** A damaged end says nothing: it is written anew. */
  async #end(): Promise<ArchiveEnd | undefined> {
    try {
      return await readArchiveEnd(this.#env, this.#dir);
    } catch (error) {
      if (isVarveError(error, 'VARVE_CORRUPT')) return undefined;
      throw error;
    }
  }

  /** The last number of the last object. */
  async #all(from: Seq): Promise<Seq> {
    const { seq } = this.#source;
    if (seq <= from) return from;
    let first = from + 1;
    let filling: Filling = { frames: [], bytes: 0 };
    for await (const frame of this.#source.frames(from)) {
      throwIfAborted(this.#options.signal);
      if (filling.bytes >= archiveBytesTarget) {
        await this.#put(first, frame.seqFirst - 1, filling);
        first = frame.seqFirst;
        filling = { frames: [], bytes: 0 };
      }
      filling.frames.push({ ...frame, payload: frame.payload.slice() });
      filling.bytes += frame.payload.length;
    }
    if (filling.frames.length === 0) return first - 1;
    await this.#put(first, seq, filling);
    return seq;
  }

  /** Puts one object: its chunks and where they lie first. */
  async #put(firstSeq: Seq, lastSeq: Seq, { frames }: Filling): Promise<void> {
    const { dbUuid, timelineId } = this.#source;
    const { vaultId, random, store } = this.#env;
    const bytes = encodeArchive(vaultId, random(12), { dbUuid, timelineId, firstSeq, lastSeq }, frames);
    const name = archiveName(this.#dir, firstSeq, lastSeq);
    const object = { name, store: toHex(dbUuid), timelineId, firstSeq, lastSeq };
    const archive = { ...decodeArchive(bytes, name, vaultId, object), name, bytes };
    this.#session ??= await this.#begin();
    await this.#upload(this.#session, archive, true);
    await store.put(name, bytes);
    if ((await isGivenBack(store, name, bytes)) !== true) throw notGivenBack(name);
    this.#unchecked.push(object);
    this.#objects++;
    this.#bytes += bytes.length;
  }

  /** Everything the objects name lies in packs that last. */
  async #check(): Promise<void> {
    const again = new LookAgain(this.#env, 'the archive');
    while (this.#unchecked.length > 0) {
      const { state, lasts } = await again.look(this.#indexes, this.#session?.state);
      if (lasts) return;
      again.goOn();
      this.#session = this.#over(state);
      for (const object of this.#unchecked)
        await this.#upload(this.#session, await readArchive(this.#env, object), false);
    }
  }

  async #begin(): Promise<Session> {
    return this.#over(await loadVault(this.#env, lastingPacks));
  }

  #over(state: VaultState): Session {
    const indexes = new RunIndexes(this.#env, state, this.#indexes);
    const upload = new Upload(this.#env, state.packs, state.index, {
      packBytes: packBytesTarget,
      prove: true,
      dryRun: false,
      signal: this.#options.signal,
      onBytes: () => undefined,
      spill: async () => {
        await indexes.spill(upload.own);
      },
    });
    return { state, upload, indexes, values: new ValueUpload(this.#source, state.index, upload, false) };
  }

  /** Uploads what the vault lacks of the values in an object. `isNew`: damage is told. */
  async #upload({ upload, indexes, values }: Session, archive: ReadArchive, isNew: boolean): Promise<void> {
    const [chunks, bytes] = [upload.chunks, upload.bytes];
    for (const record of valuesIn(archive)) {
      throwIfAborted(this.#options.signal);
      try {
        await values.ensure(record);
      } catch (error) {
        // A value that was superseded long ago may have lost its chunks: moments before that lack it.
        if (!isDamage(error) && !isVarveError(error, 'VARVE_FORMAT_VERSION')) throw error;
        if (isNew) this.#note(error, archive.name);
      }
    }
    await upload.finish();
    if (upload.own.size > 0) await indexes.put(upload.own);
    upload.own.clear();
    this.#chunks += upload.chunks - chunks;
    this.#newBytes += upload.bytes - bytes;
  }

  #note(error: VarveError, name: string): void {
    this.#damaged++;
    if (this.#damage.length < damageMax) this.#damage.push({ ...damageOf(error), file: name });
  }
}
