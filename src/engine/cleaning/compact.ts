/**
 * A full compaction on request: everything to tables, trees merged to one run each, segments with garbage
 * emptied, files removed.
 *
 *   checkpoint -> what is deleted is given back (reaper) -> merges -> cleaning, cycle by cycle, until nothing
 *   is left to do -> merges of what that made superfluous -> files unlinked
 *
 * Each step leaves a sound store, so it may end anywhere; another call goes on.
 *
 * Invariants (test/engine/cleaner.test.ts, test/engine/cleaner-crash.test.ts)
 * - No answer changes; it ends, and a second call has nothing left to do ("garbage goes, what is referenced
 *   stays, and no file is left over").
 * - It may be ended anywhere ("a signal ends it, and another call goes on").
 */
import { awaited } from '../../base/clock.ts';
import { invalid, isVarveError } from '../../base/errors.ts';
import { MiB } from '../../base/limits.ts';
import { checkFlags, checkFunctions, checkNames } from '../../base/names.ts';
import type { CleanLimits } from '../../chunk/clean-planner.ts';
import { orphansMax } from '../../chunk/liveness.ts';
import { checkShare } from '../health/verifying.ts';
import { throwIfAborted } from '../key-args.ts';
import { fullLimits } from '../opening/start-cleaning.ts';
import type { Store, WriteSide } from '../store.ts';
import { type CleanOutcome, newOutcome } from './clean-run.ts';
import { withReserve } from './reserve.ts';
import { pinnedSpace } from './space-stats.ts';
import type { CompactOptions, CompactProgress, CompactReport } from './space-types.ts';

const names = [
  'onProgress',
  'dryRun',
  'signal',
  'maxBytes',
  'bytesPerSecond',
  'share',
  'amplification',
  'memoryBytes',
] as const;

/** Longest wait for puts that claim frames of a condemned segment, ms. */
const drainMs = 5000;
/** Turns of the event loop that short reads are given to end. */
const readTurnsMax = 50;
/** Share of garbage above which an open segment is sealed, so that it can be emptied. */
const rollAbove = 0.05;
/** Memory for each frame of segments that are being emptied: where it lies, and where it lay. */
const frameMemory = 104;
/** Segments emptied in one step where garbage may stay. */
const stepSegments = 4;
/** Share of entries without use from which on the tables of the chunk tree are merged for them. */
const spentShare = 0.05;

/** Compacts. VARVE_ABORTED (signal), VARVE_NO_SPACE, VARVE_INVALID_ARGUMENT, and as every write. */
export async function compact(store: Store, options: CompactOptions = {}): Promise<CompactReport> {
  check(options);
  throwIfAborted(options.signal);
  const write = store.writable();
  try {
    return options.dryRun === true
      ? await dryRun(store, write, options)
      : await awaited(store.parts.env.clock, () =>
          // One that runs in the background is waited for, and may rest.
          write.cleaner.calls.run(() => new Compaction(store, write, options).run()),
        );
  } catch (error) {
    // Scans and merges end early where writing has ended as well: then that is what the caller is told.
    if (isVarveError(error, 'VARVE_ABORTED') && options.signal?.aborted !== true) store.stillWritable();
    throw error;
  }
}

function check(options: CompactOptions): void {
  checkNames(options, names, 'option');
  checkFlags(options, ['dryRun']);
  checkFunctions(options, ['onProgress']);
  for (const name of ['maxBytes', 'bytesPerSecond', 'memoryBytes'] as const) {
    const value = options[name];
    if (value !== undefined && !(Number.isSafeInteger(value) && value > 0)) {
      throw invalid(`${name} must be a whole number above 0`, { actual: value });
    }
  }
  checkShare('share', options.share);
  const { amplification, memoryBytes } = options;
  if (amplification !== undefined && !(typeof amplification === 'number' && amplification >= 1)) {
    throw invalid('amplification must be a number from 1 up', { actual: amplification });
  }
  if (memoryBytes !== undefined && memoryBytes < MiB) {
    throw invalid('memoryBytes must be at least 1048576', { actual: memoryBytes });
  }
}

/** What is emptied, and in what portions, by the options. */
function limitsOf(segmentBytes: number, { amplification = 1, memoryBytes }: CompactOptions): CleanLimits {
  const limits = fullLimits(segmentBytes);
  const inputFrames =
    memoryBytes === undefined ? limits.inputFrames : Math.min(2 ** 32, Math.floor(memoryBytes / frameMemory));
  if (amplification === 1) return { ...limits, inputFrames };
  // In small steps, so that it ends where it may; with no more garbage than that nothing is emptied.
  const inputBytes = stepSegments * segmentBytes;
  return { ...limits, inputBytes, inputFrames, maxGarbage: 1 - 1 / amplification, liveSoft: 0 };
}

interface Sizes {
  readonly segments: number;
  readonly segmentBytes: number;
  readonly tables: number;
  readonly tableBytes: number;
}

function sizesOf({ parts, forest }: Store): Sizes {
  const { lanes } = parts;
  const open = lanes.openBytes();
  const sealed = lanes.sealed();
  const tables = forest.tables;
  return {
    segments: sealed.length + open.count,
    segmentBytes: sealed.reduce((sum, { size }) => sum + size, 0) + open.bytes,
    tables: tables.length,
    tableBytes: tables.reduce((sum, { meta }) => sum + meta.size, 0),
  };
}

async function dryRun(store: Store, write: WriteSide, options: CompactOptions): Promise<CompactReport> {
  const { clock } = store.parts.env;
  const started = clock.monotonic();
  const sizes = sizesOf(store);
  // What is deleted counts as garbage once it is given back, which is due in any case.
  await givenBack(write);
  const liveness = await write.cleaner.measure(() => options.signal?.aborted === true, options.share);
  throwIfAborted(options.signal);
  await store.companions.held.measure();
  const { freedBytes, copyBytes, dead, victims } = write.cleaner.planNow(
    {
      ...limitsOf(write.cleaner.segmentBytes, options),
      inputBytes: Number.MAX_SAFE_INTEGER,
      inputFrames: 2 ** 32,
    },
    liveness,
  );
  return report(store, {
    sizes,
    outcome: { ...newOutcome(), copiedBytes: copyBytes, emptied: dead.length + victims.length },
    merges: 0,
    dryRun: true,
    complete: true,
    reclaimedBytes: freedBytes + (store.companions.held.last?.goingBytes ?? 0),
    ms: clock.monotonic() - started,
  });
}

/** Range deletes and purges that are due are carried out. */
async function givenBack({ reaper, purger }: WriteSide): Promise<void> {
  reaper.work.startIfDue();
  await reaper.work.idle();
  purger.work.startIfDue();
  await purger.work.idle();
}

/** One call of compact. */
class Compaction {
  readonly #store: Store;
  readonly #write: WriteSide;
  readonly #options: CompactOptions;
  readonly #outcome = newOutcome();

  constructor(store: Store, write: WriteSide, options: CompactOptions) {
    this.#store = store;
    this.#write = write;
    this.#options = options;
  }

  async run(): Promise<CompactReport> {
    const { checkpointer, compactor } = this.#write;
    const { clock } = this.#store.parts.env;
    const started = clock.monotonic();
    const sizes = sizesOf(this.#store);
    const merged = compactor.counters.merges;
    this.#tell('checkpoint', 0, undefined, 0);
    await checkpointer.run();
    this.#go();
    await givenBack(this.#write);
    this.#go();
    this.#tell('tables', 0, undefined, 0);
    await this.#dropOrphans();
    await this.#merge(false);
    const { fs } = this.#store.parts.env;
    const complete = await withReserve(fs, this.#store.parts.options.logger, () => this.#clean());
    this.#go();
    await this.#dropSpent();
    this.#tell('finish', 0, undefined, 0);
    await this.#finish();
    await this.#store.companions.held.measure();
    const after = sizesOf(this.#store);
    return report(this.#store, {
      sizes,
      outcome: this.#outcome,
      merges: compactor.counters.merges - merged,
      dryRun: false,
      complete,
      reclaimedBytes: sizes.segmentBytes + sizes.tableBytes - after.segmentBytes - after.tableBytes,
      ms: clock.monotonic() - started,
    });
  }

  #turn = (): Promise<void> =>
    this.#write.cleaner.courtesy.turn({ isAwaited: true, cancelled: () => this.#isAborted });

  get #isAborted(): boolean {
    return this.#options.signal?.aborted === true;
  }

  /** VARVE_ABORTED once the signal has fired; VARVE_POISONED when a write has failed. */
  #go(): void {
    throwIfAborted(this.#options.signal);
    this.#store.stillWritable();
  }

  /** List nodes of puts that were given up die like others, and with them what only they refer to. */
  async #dropOrphans(): Promise<void> {
    const { cleaner, purger } = this.#write;
    for (let left = orphansMax; left === orphansMax; ) {
      const { orphans } = await cleaner.measure(() => this.#isAborted, this.#options.share);
      this.#go();
      for (const id of orphans) purger.nodes.add(id, 0, 0, 0);
      purger.work.startIfDue();
      await purger.work.idle();
      this.#go();
      left = orphans.length;
    }
  }

  /** False on a disk too full for merges: no reason not to empty segments, which makes room. */
  async #merge(spent: boolean): Promise<boolean> {
    try {
      await this.#write.compactor.mergeAll(spent, () => this.#isAborted, this.#turn);
    } catch (error) {
      if (!isVarveError(error, 'VARVE_NO_SPACE')) throw error;
      this.#go();
      this.#store.parts.options.logger.warn?.('no room to merge tables', { error });
      return false;
    }
    this.#go();
    return true;
  }

  /** False when the budget ended it. */
  async #clean(): Promise<boolean> {
    const { cleaner } = this.#write;
    const { clock } = this.#store.parts.env;
    const { maxBytes, bytesPerSecond } = this.#options;
    const started = clock.monotonic();
    const outcome = await cleaner.run({
      limits: limitsOf(cleaner.segmentBytes, this.#options),
      share: this.#options.share ?? 1,
      rollAbove,
      isAwaited: true,
      drainMs,
      bytesPerSecond,
      copyBytesMax: maxBytes ?? Number.POSITIVE_INFINITY,
      cancelled: () => this.#isAborted,
      onStep: (done) => {
        const seconds = (clock.monotonic() - started) / 1000;
        this.#tell('segments', done.copiedBytes, undefined, seconds === 0 ? 0 : done.copiedBytes / seconds);
      },
    });
    Object.assign(this.#outcome, outcome);
    return maxBytes === undefined || outcome.copiedBytes < maxBytes;
  }

  /** Entries of chunks that are gone, where they are many beside those that must be rewritten. */
  async #dropSpent(): Promise<void> {
    const { cleaner, checkpointer } = this.#write;
    // The run has ended behind a scan that found nothing more to empty.
    const liveness =
      cleaner.measured?.liveness ?? (await cleaner.measure(() => this.#isAborted, this.#options.share));
    if (liveness.spent === 0 || liveness.spent < liveness.entries * spentShare) return;
    // What is in memory goes to a table first, so that all parts of an entry meet.
    await checkpointer.run();
    if (await this.#merge(true)) return;
    // What was emptied takes its room until it is unlinked.
    await this.#finish();
    await this.#merge(true);
  }

  /** Lets short reads end, removes what they held, and unlinks: two installs after a file was dropped. */
  async #finish(): Promise<void> {
    const { cleaner, checkpointer } = this.#write;
    for (let i = 0; i < readTurnsMax && cleaner.leaving.count > 0; i++) {
      await this.#store.parts.env.clock.turn();
      await cleaner.removeReady();
    }
    this.#go();
    await checkpointer.removeSegments([]);
    await checkpointer.removeSegments([]);
    await checkpointer.removals.done();
  }

  #tell(
    phase: CompactProgress['phase'],
    done: number,
    total: number | undefined,
    bytesPerSecond: number,
  ): void {
    this.#options.onProgress?.({ phase, done, total, unit: 'bytes', bytesPerSecond });
  }
}

interface Facts {
  readonly sizes: Sizes;
  readonly outcome: CleanOutcome;
  readonly merges: number;
  readonly dryRun: boolean;
  readonly complete: boolean;
  readonly reclaimedBytes: number;
  readonly ms: number;
}

function report(store: Store, facts: Facts): CompactReport {
  const { sizes, outcome } = facts;
  const after = sizesOf(store);
  const pinned = pinnedSpace(store, outcome.busy);
  const damage = outcome.damage.map(({ file, offset, message }) => ({
    file: file ?? '',
    ...(offset === undefined ? {} : { offset }),
    message,
  }));
  return {
    ok: damage.length === 0 && (facts.dryRun || (facts.complete && pinned.length === 0)),
    dryRun: facts.dryRun,
    complete: facts.complete,
    segmentsBefore: sizes.segments,
    segmentsAfter: after.segments,
    bytesBefore: sizes.segmentBytes + sizes.tableBytes,
    bytesAfter: after.segmentBytes + after.tableBytes,
    reclaimedBytes: facts.reclaimedBytes,
    copiedBytes: outcome.copiedBytes,
    removedSegments: outcome.emptied,
    tables: {
      before: sizes.tables,
      after: after.tables,
      bytesBefore: sizes.tableBytes,
      bytesAfter: after.tableBytes,
      merges: facts.merges,
    },
    pinned,
    damage,
    ms: facts.ms,
  };
}
