/**
 * Group commit: many transactions, one frame, one sync.
 *
 * Transactions are sequenced when they join (their number is fixed and they may be applied to memory above
 * the visible number at once); the loop then makes whole groups durable, in order, and only then publishes
 * them. While one round syncs, the next group fills: no timer is needed. Where filling one keeps the thread
 * for longer than a round takes, the next round begins with a part of the callers, and the disk works while
 * the others do (`Wakes`).
 *
 * Invariants (test/log/group-commit.test.ts):
 * - a group's promise resolves only after its frame, and every file it names, is as durable as the mode says;
 * - visibleSeq rises only over whole groups, in order;
 * - chunk data is written (and in `full` synced) before the frame that names it;
 * - after a failed write or sync nothing is ever acknowledged again, nor does anything become visible
 *   (test/regressions/commit-after-failure.test.ts, test/regressions/cut-after-failed-sync.test.ts).
 */
import type { Seq } from '../base/brands.ts';
import type { Clock } from '../base/clock.ts';
import type { VarveError } from '../base/errors.ts';
import { groupBytesTarget, logSyncBytes } from '../base/limits.ts';
import { deferred, Mutex } from '../base/sync.ts';
import { ByteWriter } from '../codec/byte-writer.ts';
import { frameHeaderBytes, frameTypes } from '../format/log-frame.ts';
import { Gathering } from './gathering.ts';
import {
  type Cut,
  failureOf,
  type Group,
  ignoreHere,
  type LogSink,
  lastOf,
  type NamedFile,
  newGroup,
  poisoned,
  unknownOutcome,
} from './group-end.ts';
import type { Durability, GroupCommitOptions } from './group-options.ts';
import { Wakes } from './wakes.ts';

export class GroupCommit {
  readonly #clock: Clock;
  readonly #durability: Durability;
  readonly #onFailed: (error: VarveError) => void;
  /** Undefined: no file was needed so far. */
  #log: LogSink | undefined;
  /** Makes the first file; undefined once it was asked to. */
  #first: ((openSeq: Seq) => Promise<LogSink>) | undefined;
  #lastSeq: Seq;
  #visibleSeq: Seq;
  #durableSeq: Seq;
  #lastTimeMs: number;
  #open: Group | undefined;
  #queue: (Group | Cut)[] = [];
  #running: Promise<void> | undefined;
  #failure: VarveError | undefined;
  #spare: ByteWriter[] = [];
  #unsyncedFiles = new Set<NamedFile>();
  readonly #syncs = new Mutex();
  #syncDue: Promise<void> | undefined;
  /** A sync that nobody asked for is under way. */
  #syncsAhead = false;
  /** Bytes of log behind the last sync that has begun. */
  #unsyncedBytes = 0;
  #queuedBytes = 0;
  /** Told when more became visible, and when nothing will any more; must not throw. */
  onProgress: () => void = () => undefined;
  readonly #wakes: Wakes;
  readonly #gathering: Gathering;
  readonly counters = { count: 0, groups: 0, syncs: 0, logBytes: 0 };

  constructor(options: GroupCommitOptions) {
    this.#clock = options.clock;
    this.#durability = options.durability;
    this.#onFailed = options.onFailed;
    if (typeof options.log === 'function') this.#first = options.log;
    else this.#log = options.log;
    this.#lastSeq = options.lastSeq;
    this.#visibleSeq = options.lastSeq;
    this.#durableSeq = options.lastSeq;
    this.#lastTimeMs = options.lastTimeMs;
    this.#wakes = new Wakes(options.clock);
    this.#gathering = new Gathering(options.clock, this.#wakes, options.durability === 'full');
  }

  /** Highest number readers may see. */
  get visibleSeq(): Seq {
    return this.#visibleSeq;
  }

  /** Highest number taken. */
  get lastSeq(): Seq {
    return this.#lastSeq;
  }

  /** Highest number known to be on disk with everything it names. */
  get durableSeq(): Seq {
    return this.#durableSeq;
  }

  /** A commit is under way: its caller has not been told. The OPEN frame of a file keeps nobody waiting. */
  get isWaitedFor(): boolean {
    return (this.#open?.count ?? 0) > 0 || this.#queue.some((item) => !('next' in item));
  }

  /** Nothing was written, nor is anything about to be. */
  get isUnused(): boolean {
    return this.#first !== undefined;
  }

  get lastTimeMs(): number {
    return this.#lastTimeMs;
  }

  /** Bytes joined and not yet written: what backpressure looks at. */
  get pendingBytes(): number {
    return this.#queuedBytes + (this.#open === undefined ? 0 : this.#open.writer.pos);
  }

  get failure(): VarveError | undefined {
    return this.#failure;
  }

  /**
   * The group that takes the next transaction of about `bytes`; synchronous. Throws once the log has failed.
   */
  group(bytes: number): Group {
    if (this.#failure !== undefined) throw poisoned(this.#failure);
    const open = this.#open;
    if (open !== undefined && open.count > 0 && open.writer.pos + bytes <= groupBytesTarget) return open;
    this.#closeOpen();
    const group = this.#newGroup(frameTypes.batch);
    this.#open = group;
    return group;
  }

  /** Takes the next number for a transaction of `group`. The caller encodes it before anything else runs. */
  take(group: Group): Seq {
    group.count++;
    this.counters.count++;
    this.#lastSeq++;
    this.#start();
    return this.#lastSeq;
  }

  /** A frame of its own (STAGE) with one number, durable when it resolves. `encode` throwing is a failure. */
  frame(
    type: number,
    files: Iterable<NamedFile>,
    encode: (writer: ByteWriter, seq: Seq) => void,
  ): Promise<void> {
    if (this.#failure !== undefined) throw poisoned(this.#failure);
    this.#closeOpen();
    const group = this.#newGroup(type);
    for (const file of files) group.files.add(file);
    try {
      encode(group.writer, group.firstSeq);
    } catch (error) {
      // What was applied to memory is in no frame: nothing may be built on it.
      this.fail(error);
      throw error;
    }
    group.count = 1;
    this.#lastSeq++;
    this.#enqueue(group);
    this.#start();
    return group.done.promise;
  }

  /**
   * Ends the log file here: everything joined before the call is made durable in every mode, then `next`
   * makes the file that takes over, and `done` settles. `lastSeq` is the last number before the cut.
   */
  cut(next: (openSeq: Seq, prevEnd: number) => Promise<LogSink>): { lastSeq: Seq; done: Promise<void> } {
    if (this.#failure !== undefined) throw poisoned(this.#failure);
    this.#begin();
    this.#closeOpen();
    const lastSeq = this.#lastSeq;
    return { lastSeq, done: this.#turnTo((openSeq) => next(openSeq, this.#log!.end)) };
  }

  /** The first file is made before the first frame is written. */
  #begin(): void {
    const first = this.#first;
    this.#first = undefined;
    if (first !== undefined) this.#turnTo(first);
  }

  /** Takes a number for the OPEN frame of the next file, which `make` makes when all before it is written. */
  #turnTo(make: (openSeq: Seq) => Promise<LogSink>): Promise<void> {
    this.#lastSeq++;
    const openSeq = this.#lastSeq;
    const done = deferred<void>();
    done.promise.catch(ignoreHere);
    this.#queue.push({ next: () => make(openSeq), done });
    this.#start();
    return done.promise;
  }

  /**
   * Resolves when everything joined before the call is durable in the sense of the mode; later joiners wait
   * on.
   */
  async drained(): Promise<void> {
    this.#closeOpen();
    await this.#queue.at(-1)?.done.promise.catch(ignoreHere);
    if (this.#failure !== undefined) throw poisoned(this.#failure);
  }

  /** Resolves when nothing is under way that was begun before a failure: the files may then be closed. */
  async settled(): Promise<void> {
    await this.#running;
    await this.#syncs.run(async () => undefined);
  }

  /** Puts everything acknowledged so far on disk, in every mode. */
  async syncNow(): Promise<void> {
    await this.drained();
    await this.#syncAll();
    if (this.#failure !== undefined) throw poisoned(this.#failure);
  }

  #newGroup(type: number): Group {
    this.#begin();
    this.#lastTimeMs = Math.max(this.#lastTimeMs, this.#clock.now());
    const writer = this.#spare.pop() ?? new ByteWriter(64 * 1024);
    writer.clear();
    writer.zeros(frameHeaderBytes);
    return newGroup(writer, type, this.#lastSeq + 1, this.#lastTimeMs, this.#clock.monotonic());
  }

  #closeOpen(): void {
    const open = this.#open;
    this.#open = undefined;
    if (open === undefined) return;
    if (open.count > 0) this.#enqueue(open);
    else this.#keepWriter(open);
  }

  #keepWriter({ writer }: Group): void {
    if (this.#spare.length < 2 && writer.bytes.length <= groupBytesTarget) this.#spare.push(writer);
  }

  #enqueue(group: Group): void {
    this.#queuedBytes += group.writer.pos;
    this.#queue.push(group);
  }

  #start(): void {
    this.#running ??= this.#run().finally(() => {
      this.#running = undefined;
      if (this.#failure === undefined && (this.#queue.length > 0 || (this.#open?.count ?? 0) > 0))
        this.#start();
    });
  }

  async #run(): Promise<void> {
    await this.#gathering.more(() => this.#open);
    for (;;) {
      this.#closeOpen();
      if (this.#queue.length === 0 || this.#failure !== undefined) return;
      await this.#guard(() => this.#round());
      await this.#gathering.more(() => this.#open);
    }
  }

  /** Writes everything up to the next cut as one round: one sync for all of it. */
  async #round(): Promise<void> {
    const first = this.#queue[0]!;
    if ('next' in first) {
      await this.#syncAll();
      if (this.#failure !== undefined) return;
      this.#log = await first.next();
      this.#queue.shift();
      first.done.resolve();
      return;
    }
    const groups: Group[] = [];
    for (const item of this.#queue) {
      if ('next' in item) break;
      groups.push(item);
    }
    const began = this.#clock.monotonic();
    await this.#makeFilesReady(groups);
    for (const group of groups) await this.#append(group);
    if (this.#durability === 'full') {
      await this.#log!.dataSync();
      this.counters.syncs++;
    }
    // Something else may have failed meanwhile; then the callers have been told that the outcome is unknown.
    if (this.#failure !== undefined) return;
    this.#gathering.roundMs = this.#clock.monotonic() - began;
    if (this.#durability === 'full') this.#durableSeq = lastOf(groups.at(-1)!);
    this.#publish(groups);
  }

  async #makeFilesReady(groups: readonly Group[]): Promise<void> {
    const files = new Set<NamedFile>();
    for (const group of groups) for (const file of group.files) files.add(file);
    if (files.size === 0) return;
    const full = this.#durability === 'full';
    await Promise.all(Array.from(files, (file) => (full ? file.sync() : file.flush())));
    if (!full) for (const file of files) this.#unsyncedFiles.add(file);
  }

  async #append(group: Group): Promise<void> {
    const { writer } = group;
    const payloadLen = writer.pos - frameHeaderBytes;
    writer.align8();
    const written = this.#log!.append(writer.bytes, payloadLen, {
      type: group.type,
      seqFirst: group.firstSeq,
      count: group.count,
      commitTimeMs: group.timeMs,
      durableSeq: this.#durableSeq,
    });
    if (written !== undefined) await written;
    this.counters.groups++;
    this.counters.logBytes += writer.pos;
    this.#unsyncedBytes += writer.pos;
  }

  #publish(groups: readonly Group[]): void {
    this.#queue.splice(0, groups.length);
    for (const group of groups) {
      this.#queuedBytes -= Math.min(this.#queuedBytes, group.writer.pos);
      this.#visibleSeq = lastOf(group);
      if (this.#durability === 'full') this.#wakes.add(group.done.release());
      else group.done.resolve();
      this.#keepWriter(group);
    }
    if (this.#queue.length === 0) this.#queuedBytes = 0;
    this.onProgress();
    if (typeof this.#durability === 'object') this.#scheduleSync(this.#durability.groupMs);
    if (this.#durability !== 'full' && this.#unsyncedBytes >= logSyncBytes) this.#syncAhead();
  }

  /**
   * A cut syncs what is not on disk yet while every commit waits for it: what was written long before it is
   * synced beside the commits.
   */
  #syncAhead(): void {
    if (this.#syncsAhead) return;
    this.#syncsAhead = true;
    this.#syncAll().finally(() => {
      this.#syncsAhead = false;
    });
  }

  #scheduleSync(ms: number): void {
    this.#syncDue ??= this.#clock.sleep(ms).then(async () => {
      this.#syncDue = undefined;
      const isDue = this.#durableSeq < this.#visibleSeq && this.#failure === undefined;
      if (isDue) await this.#syncAll();
    });
  }

  /**
   * One at a time: a second one may not call durable what the first has taken to sync and not synced yet, nor
   * what it could not sync.
   */
  #syncAll(): Promise<void> {
    return this.#syncs.run(() => this.#guard(() => this.#syncOnce()));
  }

  async #syncOnce(): Promise<void> {
    if (this.#failure !== undefined) return;
    const upTo = this.#visibleSeq;
    this.#unsyncedBytes = 0;
    const files = Array.from(this.#unsyncedFiles);
    this.#unsyncedFiles.clear();
    await Promise.all(files.map((file) => file.sync()));
    await this.#log?.dataSync();
    if (this.#failure !== undefined) return;
    this.counters.syncs++;
    this.#durableSeq = Math.max(this.#durableSeq, upTo);
  }

  async #guard(step: () => Promise<void>): Promise<void> {
    try {
      await step();
    } catch (error) {
      this.fail(error);
    }
  }

  /** Stops all writing because of a failure elsewhere (a segment, catalog or lock). The first counts. */
  fail(error: unknown): void {
    if (this.#failure !== undefined) return;
    const first = failureOf(error);
    this.#failure = first;
    const unknown = unknownOutcome(first);
    this.#closeOpen();
    const queue = this.#queue;
    this.#queue = [];
    this.#queuedBytes = 0;
    this.#onFailed(first);
    for (const item of queue) item.done.reject(unknown);
    this.onProgress();
  }
}
