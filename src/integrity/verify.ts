/**
 * Checks a store without changing it, from the catalog on disk: beside a writer, read-only or damaged.
 *
 *   index   SUPER, catalogs, log; every block of every table, order and bounds of rows
 *   chunks  and every frame of every segment, that the chunk index names frames that are there, that its
 *           counts are those of a recount, and that the parts of each value add up
 *   full    and that every chunk is what its id says, and the shape of every list node
 *
 * All tables of one catalog are of one moment, so a check needs no view: it opens what the catalog names.
 * Where a file has gone meanwhile, the catalog is read again; a newer one that does not name it settles it.
 *
 * Invariants (test/integrity/verify.test.ts):
 * - nothing is written: "a check writes nothing";
 * - a sound store is found sound, also while it is written to and merged ("a store is sound while …");
 * - parts of a check, put together by their cursors, find what the whole finds ("a check in parts …").
 */
import type { FileNo } from '../base/brands.ts';
import { toHex } from '../base/bytes.ts';
import { corrupt, isDamage, type VarveError } from '../base/errors.ts';
import { frameBytes } from '../format/chunk-frame.ts';
import { filePath } from '../format/file-names.ts';
import { trees } from '../format/trees.ts';
import type { HashThreads } from '../pool/id-checker.ts';
import { WindowBuffers } from '../segment/frame-window.ts';
import { attribute, rowKeyName } from './affected-keys.ts';
import { checkRoots } from './check-roots.ts';
import { checkSegment, dataEndOf } from './check-segment.ts';
import { checkTable } from './check-table.ts';
import { collectPlaces, nextGroup, type SegmentPlaces } from './chunk-places.ts';
import { Findings, isGone } from './findings.ts';
import { LiveFiles, type Unit } from './live-files.ts';
import { recount } from './recount.ts';
import { encodeVerifyCursor, type VerifyCursor, type VerifyPhase } from './verify-cursor.ts';
import type { VerifyReport, VerifyWork } from './verify-types.ts';

/** A longer turn than this is given up to others between two blocks, ms. */
const turnMs = 10;
/** Catalogs read again because a file had gone, without one file checked in between. */
const reloadsMax = 10;

/**
 * Checks the store. Damage is in the report. VARVE_CORRUPT when nothing can be checked at all (no slot, no
 * catalog); VARVE_ABORTED, VARVE_IO, VARVE_FORMAT_VERSION.
 */
export async function verifyStore(work: VerifyWork): Promise<VerifyReport> {
  return await new Verification(work).run();
}

class Verification {
  readonly #work: VerifyWork;
  readonly #findings: Findings;
  readonly #beganAt: number;
  readonly #unchecked = new Set<string>();
  readonly #buffers = new WindowBuffers();
  readonly #checked = { files: 0, bytes: 0, chunks: 0, rows: 0, skipped: 0 };
  #files!: LiveFiles;
  #turnFrom: number;
  /** Of the group under way. */
  #places: Map<FileNo, SegmentPlaces> | undefined;
  #homelessTold = false;
  #doneBytes = 0;
  #totalBytes = 0;

  constructor(work: VerifyWork) {
    this.#work = work;
    this.#findings = new Findings(work.onDamage);
    this.#beganAt = work.clock.monotonic();
    this.#turnFrom = this.#beganAt;
  }

  async run(): Promise<VerifyReport> {
    const { level, start } = this.#work;
    let at: VerifyCursor = start ?? { level, phase: 'roots', no: 0 };
    let next: VerifyCursor | undefined;
    this.#files = await LiveFiles.read(this.#work.fs);
    try {
      this.#checked.skipped = this.#files.left(at, level).length - this.#left(at).length;
      this.#totalBytes = this.#left(at).reduce((sum, { bytes }) => sum + bytes, 0);
      let reloads = 0;
      for (let unit = this.#left(at)[0]; unit !== undefined; unit = this.#left(at)[0]) {
        if (this.#timeIsUp() && this.#doneSteps > 0) {
          next = { level, phase: unit.phase, no: unit.no };
          break;
        }
        this.#work.checkAborted();
        const found = this.#found;
        if (!(await this.#step(unit)) && ++reloads < reloadsMax) continue;
        reloads = 0;
        if (this.#found === found) this.#work.onSound?.(unit);
        // What is checked every time is no progress.
        if (unit.phase !== 'roots' || this.#work.skips === undefined) this.#doneSteps++;
        at = { level, phase: unit.phase, no: unit.no + 1 };
        this.#doneBytes += unit.bytes;
        this.#progress(unit.phase);
      }
      await this.#attribute();
      if (next === undefined) this.#work.onEnd?.(this.#files.left({ level, phase: 'roots', no: 0 }, level));
    } finally {
      await this.#files.close();
    }
    return this.#report(next);
  }

  #doneSteps = 0;
  #leftOut = 0;

  /** How often damage was met and something could not be checked: a place met again counts for its file. */
  get #found(): number {
    return this.#findings.told + this.#leftOut;
  }

  #leave(what: string): void {
    this.#unchecked.add(what);
    this.#leftOut++;
  }

  #left(at: VerifyCursor): Unit[] {
    const { level, skips } = this.#work;
    const units = this.#files.left(at, level);
    return skips === undefined ? units : units.filter((unit) => unit.phase === 'roots' || !skips(unit));
  }

  #timeIsUp(): boolean {
    const { maxMs, clock } = this.#work;
    return maxMs !== undefined && clock.monotonic() - this.#beganAt >= maxMs;
  }

  /** False when a file has gone and a newer catalog was read: what is left is to be looked at again. */
  async #step(unit: Unit): Promise<boolean> {
    try {
      if (unit.phase === 'roots') await this.#roots();
      else if (unit.phase === 'tables') await this.#table(unit.no);
      else if (unit.phase === 'counts') await this.#counts();
      else await this.#segment(unit.no);
      return true;
    } catch (error) {
      if (!isGone(error)) throw error;
      if (await this.#files.isOutdated()) {
        await this.#take(await LiveFiles.read(this.#work.fs));
        return false;
      }
      const file = (error as VarveError).file ?? '';
      this.#findings.add('missing', corrupt('file is missing', { file }));
      return true;
    }
  }

  async #roots(): Promise<void> {
    const { fs, level, seqMax } = this.#work;
    const named: { id: Uint8Array; segment: number; off8: number; storedLen: number }[] = [];
    const roots = await checkRoots({
      fs,
      findings: this.#findings,
      seqMax: seqMax(),
      onNamed: (buf, idAt, segment, off8, storedLen) => {
        if (level !== 'index') named.push({ id: buf.slice(idAt, idAt + 32), segment, off8, storedLen });
      },
    });
    await this.#take(new LiveFiles(fs, roots.loaded));
    this.#checked.files += roots.files;
    this.#checked.bytes += roots.bytes;
    this.#checked.rows += roots.frames;
    if (named.length > 0) await this.#namedFrames(named);
  }

  /** Chunks of commits behind the checkpoint, which no table has: each must be where the log says. */
  async #namedFrames(
    named: readonly { id: Uint8Array; segment: number; off8: number; storedLen: number }[],
  ): Promise<void> {
    const segments = this.#files.openSegments(new Set(named.map(({ segment }) => segment)));
    try {
      for (const { id, segment, off8, storedLen } of named) {
        await this.#pause();
        const place = { file: filePath('seg', segment), offset: off8 * 8 };
        const name = toHex(id);
        try {
          const bytes = await segments.readFrame(segment, off8, storedLen, id);
          if (bytes === undefined) throw corrupt(`chunk ${name} is not where the log says`, place);
          this.#checked.chunks++;
        } catch (error) {
          if (!isDamage(error) || (isGone(error) && (await this.#files.isOutdated()))) throw error;
          const finding = this.#findings.add('chunk', error, { length: frameBytes(storedLen) });
          this.#findings.blame(finding, name);
        }
      }
    } finally {
      await segments.close();
    }
  }

  async #table(no: FileNo): Promise<void> {
    const meta = this.#files.tables().find((table) => table.no === no)!;
    const rows = await checkTable(meta, {
      fs: this.#work.fs,
      dbUuid: this.#files.loaded.slot.dbUuid,
      findings: this.#findings,
      keyText: (key) => rowKeyName(key, this.#work.now.spaceName),
      pause: () => this.#pause(),
    });
    this.#checked.files++;
    this.#checked.bytes += meta.size;
    this.#checked.rows += rows;
  }

  async #counts(): Promise<void> {
    const forest = await this.#files.wholeForest([trees.K, trees.C]);
    if (forest === undefined) {
      this.#leave('reference counts: a table of keys or chunks is damaged');
      return;
    }
    const { sealed, unsealed } = this.#files.loaded.catalog;
    const segments = this.#files.openSegments(new Set([...sealed, ...unsealed].map(({ no }) => no)));
    try {
      await recount({
        forest,
        segments,
        findings: this.#findings,
        pause: () => this.#pause(),
        isOutdated: () => this.#files.isOutdated(),
      });
    } catch (error) {
      if (!isDamage(error) || isGone(error)) throw error;
      this.#findings.add('table', error);
      this.#leave(`reference counts: ${error.message}`);
    } finally {
      await segments.close();
    }
  }

  async #segment(no: FileNo): Promise<void> {
    const { fs, level } = this.#work;
    const segment = this.#files.segments().find((each) => each.no === no)!;
    const places = await this.#placesOf(no);
    const { bytes, chunks } = await checkSegment(segment, places, {
      fs,
      dbUuid: this.#files.loaded.slot.dbUuid,
      findings: this.#findings,
      full: level === 'full',
      threads: this.#threadsFor(dataEndOf(segment)),
      buffers: this.#buffers,
      pause: () => this.#pause(),
    });
    this.#places?.delete(no);
    this.#checked.files++;
    this.#checked.bytes += bytes;
    this.#checked.chunks += chunks;
  }

  /** Threads where what is left of the check pays for them. */
  #threadsFor(bytes: number): HashThreads | undefined {
    const { level, threads, share = 1 } = this.#work;
    // A check that takes a share of the time takes it of one thread, and holds no buffer while it rests.
    if (level !== 'full' || threads === undefined || share < 1) return undefined;
    if (threads.jobs.pays(Math.max(bytes, this.#totalBytes - this.#doneBytes))) return threads;
    threads.jobs.passed(bytes);
    return undefined;
  }

  /** What the index says of a segment, read for a group of segments at once; undefined where it cannot be. */
  async #placesOf(no: FileNo): Promise<SegmentPlaces | undefined> {
    const known = this.#places?.get(no);
    if (known !== undefined) return known;
    const forest = await this.#files.wholeForest([trees.C]);
    if (forest === undefined) {
      this.#leave('that the chunk index names frames that are there: a table of it is damaged');
      return undefined;
    }
    const left = this.#files
      .segments()
      .filter((segment) => segment.no >= no)
      .sort((a, b) => a.no - b.no)
      .map((segment) => ({
        no: segment.no,
        framesMax: 'frames' in segment ? segment.frames : dataEndOf(segment) / 72,
      }));
    const live = new Set(this.#files.segments().map((segment) => segment.no));
    const onHomeless = (error: VarveError, id: string): void => {
      this.#findings.blame(this.#findings.add('chunk', error), id);
    };
    try {
      this.#places = await collectPlaces(
        forest.chunks,
        nextGroup(left),
        live,
        this.#homelessTold ? undefined : onHomeless,
      );
      this.#homelessTold = true;
    } catch (error) {
      if (!isDamage(error) || isGone(error)) throw error;
      this.#findings.add('table', error);
      this.#leave(`that the chunk index names frames that are there: ${error.message}`);
      this.#places = new Map();
    }
    return this.#places.get(no);
  }

  /** Another catalog is the one to check by. */
  async #take(files: LiveFiles): Promise<void> {
    const before = this.#files;
    this.#files = files;
    this.#places = undefined;
    await before.close();
  }

  async #attribute(): Promise<void> {
    if (this.#findings.moreIds > 0)
      this.#leave(`keys of ${this.#findings.moreIds} damaged chunks beyond the bound`);
    const trouble = await attribute({
      ...this.#work.now,
      findings: this.#findings,
      pause: () => this.#pause(),
    });
    if (trouble !== undefined) this.#leave(`which keys are affected: ${trouble.message}`);
  }

  /** Lets others have the thread now and then, and ends an aborted check. */
  #pause(): Promise<void> | undefined {
    const { clock, checkAborted, share = 1, signal, isBackground } = this.#work;
    const worked = clock.monotonic() - this.#turnFrom;
    if (worked < turnMs) return undefined;
    checkAborted();
    const restMs = (worked * (1 - share)) / share;
    const rest = share < 1 ? clock.sleep(restMs, signal, isBackground !== true) : clock.turn();
    return rest.then(() => {
      this.#turnFrom = clock.monotonic();
    });
  }

  #progress(phase: VerifyPhase): void {
    const { onProgress } = this.#work;
    if (onProgress === undefined) return;
    const bytesPerSecond = this.#rate();
    onProgress({
      phase,
      done: this.#doneBytes,
      total: Math.max(this.#totalBytes, this.#doneBytes),
      unit: 'bytes',
      bytesPerSecond,
    });
  }

  #rate(): number {
    const ms = this.#work.clock.monotonic() - this.#beganAt;
    return ms === 0 ? 0 : Math.round((this.#checked.bytes * 1000) / ms);
  }

  #report(next: VerifyCursor | undefined): VerifyReport {
    const { list, more } = this.#findings;
    return {
      ok: list.length === 0 && this.#unchecked.size === 0,
      level: this.#work.level,
      done: next === undefined,
      ...(next === undefined ? {} : { cursor: encodeVerifyCursor(next) }),
      checked: { ...this.#checked },
      damage: list,
      ...(more === 0 ? {} : { moreDamage: more }),
      unchecked: Array.from(this.#unchecked),
      ms: this.#work.clock.monotonic() - this.#beganAt,
      bytesPerSecond: this.#rate(),
    };
  }
}
