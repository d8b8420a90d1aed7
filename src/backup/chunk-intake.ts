/**
 * Chunks of a vault on their way into a store that is restored: stretches of packs are read into memory that
 * threads share, the chunks asked for are held against their ids there, and frames that lie behind each other
 * are written to the store from where they lie. Nothing is copied on the way. What depends on chunks waits in
 * order behind them.
 *
 * A stretch is sent to be hashed once all of it was asked for, or its memory is wanted, or too much waits for
 * it; it stays readable until its memory is needed, for chunks that are asked for later.
 *
 * Memory: the buffers of the ring, and `actionsMax` rows that wait.
 *
 * Invariants (test/backup/chunk-intake.test.ts)
 * - No chunk is stored that was not found to be what its id says ("what is restored does not depend on
 *   threads").
 * - Actions run in the order they were given, each behind all chunks taken before it (same test).
 * - However it ends, every buffer goes back, and none before its bytes are written ("a failed write gives
 *   every buffer back", "an abort on the way gives every buffer back").
 */
import { corrupt, isDamage, isVarveError, type VarveError } from '../base/errors.ts';
import { KiB, MiB } from '../base/limits.ts';
import { type Deferred, deferred } from '../base/sync.ts';
import { ChunkFrame, checkChunkFrame, chunkFrame, frameBytes } from '../format/chunk-frame.ts';
import { chunkIdBytes, codecs } from '../format/chunk-ref.ts';
import { sha256Bytes } from '../kernels/hash/sha256.ts';
import { HashTurns } from '../pool/hash-turns.ts';
import type { HashThreads } from '../pool/id-checker.ts';
import { type ChunkOwner, IntakeWindow } from './intake-window.ts';
import { checkFramePlace } from './pack-reader.ts';
import type { StoreBuilder } from './store-builder.ts';
import { IndexHit } from './vault-index.ts';
import type { PlacedFrame, ReadFrame, VaultReader } from './vault-reader.ts';

/** Actions that wait: what they wait for is stored before there are more. */
const actionsMax = 4096;
/** Of a stretch that does not begin where another one ends. */
const firstBytes: number = MiB;
/** Runs that are shorter, and than a fourth of a buffer, are copied: a write each would cost more. */
const runBytesMin: number = 128 * KiB;
/** Buffers that are not for stretches that still fill: others are hashed and written meanwhile. */
const buffersBehind = 3;

interface Action {
  /** Behind the chunks that were taken before this moment. */
  readonly at: number;
  readonly run: () => Promise<void>;
}

export interface IntakeOptions {
  readonly reader: VaultReader;
  readonly builder: StoreBuilder;
  /** All on the calling thread without. */
  readonly threads: HashThreads | undefined;
  /** Bytes that are to come, about. */
  readonly expected: number;
}

export class ChunkIntake {
  readonly #options: IntakeOptions;
  readonly #turns: HashTurns | undefined;
  /** Stretches in memory, used last last. */
  readonly #windows: IntakeWindow[] = [];
  /** Those that are being hashed, oldest first. */
  readonly #sent: IntakeWindow[] = [];
  #actions: Action[] = [];
  readonly #frame = new ChunkFrame();
  #expected: number;
  #now = 0;
  #joined = false;
  #released = false;
  /** Who waits for a run to be written. */
  #written: Deferred<void> | undefined;

  constructor(options: IntakeOptions) {
    this.#options = options;
    if (options.threads !== undefined) options.reader.near = (id, idAt) => this.#near(id, idAt);
    this.#expected = options.expected;
    if (options.threads !== undefined) this.#turns = new HashTurns(options.threads.jobs, true);
  }

  /**
   * Sees that the store gets the chunk, or `owner` is told. A promise: wait for it before the next call.
   * VARVE_CORRUPT when that is known at once.
   */
  take(buf: Uint8Array, idAt: number, owner: ChunkOwner): void | Promise<void> {
    let open: IntakeWindow | undefined;
    let frame = -1;
    for (let w = this.#windows.length - 1; w >= 0; w--) {
      const window = this.#windows[w]!;
      const i = window.frames.find(buf, idAt);
      if (i < 0) continue;
      if (window.isStored(i)) return undefined;
      if (window.isWanted(i)) {
        window.want(i, owner, this.#now++);
        return undefined;
      }
      if (open !== undefined || window.hashed !== undefined) continue;
      open = window;
      frame = i;
    }
    // As a rule it lies in a stretch that is in memory: nothing is waited for.
    const has = this.#options.builder.hasNow(buf, idAt);
    if (has === true) return undefined;
    if (has === undefined || open === undefined) return this.#takeLater(buf, idAt, owner);
    this.#want(open, frame, owner);
  }

  /** Runs `action` behind all that was taken before; waits where too much is waiting. */
  async behind(action: () => Promise<void>): Promise<void> {
    if (this.#actions.length === 0 && this.#oldest() === undefined) {
      await action();
      return;
    }
    this.#actions.push({ at: this.#now, run: action });
    while (this.#actions.length >= actionsMax) await this.#storeNow(this.#oldest()!);
  }

  /** Resolves when everything is stored and every action has run. */
  async finish(): Promise<void> {
    for (let oldest = this.#oldest(); oldest !== undefined; oldest = this.#oldest())
      await this.#storeNow(oldest);
  }

  /** Gives up what is under way, and every buffer once nothing is written from it. Idempotent. */
  release(): void {
    if (this.#released) return;
    this.#released = true;
    const ring = this.#options.threads?.ring;
    for (const { hashed, writing, shared } of this.#windows) {
      // What a thread still makes of it is nobody's.
      if (hashed !== undefined) void this.#turns?.drop(hashed);
      if (writing === 0) ring?.give(shared);
    }
    this.#windows.length = 0;
    this.#sent.length = 0;
    this.#actions = [];
    if (this.#joined) ring?.leave();
  }

  async #takeLater(buf: Uint8Array, idAt: number, owner: ChunkOwner): Promise<void> {
    const { builder, reader, threads } = this.#options;
    if ((await builder.find(buf, idAt)) !== undefined) return;
    if (threads === undefined || !threads.jobs.pays(this.#expected)) {
      const { buf: bytes, pos, frame } = await reader.readFrame(buf, idAt);
      this.#expected -= frame.storedLen;
      threads?.jobs.passed(frame.storedLen);
      await builder.addFrame(bytes, pos, frame);
      return;
    }
    let read: ReadFrame;
    try {
      const window = await this.#windowOf(buf, idAt, threads);
      if (window !== undefined) {
        const i = window.frames.find(buf, idAt);
        if (!window.isStored(i)) this.#want(window, i, owner);
        return;
      }
      read = await reader.readFrame(buf, idAt);
    } catch (error) {
      if (!isVarveError(error, 'VARVE_CORRUPT')) throw error;
      read = await reader.readCopy(buf.slice(idAt, idAt + chunkIdBytes), error);
    }
    await builder.addFrame(read.buf, read.pos, read.frame);
  }

  /**
   * A list node or a node of the key tree, where it lies in a stretch that is in memory or is the next to be
   * read: chunks are asked for after the node that names them, and were stored before it. Its bytes are not
   * proved. Undefined: it is to be read by itself.
   */
  async #near(id: Uint8Array, idAt: number): Promise<PlacedFrame | undefined> {
    const window =
      this.#windows.findLast(({ frames }) => frames.find(id, idAt) >= 0) ?? (await this.#nextWith(id, idAt));
    const i = window?.frames.find(id, idAt) ?? -1;
    if (window === undefined || i < 0) return undefined;
    const { bytes: buf, positions, name: file, from } = window.frames;
    const pos = positions[i]!;
    const frame = new ChunkFrame();
    if (checkChunkFrame(buf, pos, positions[i + 1]!, frame) !== 'ok' || frame.codec !== codecs.raw)
      return undefined;
    window.pass(i);
    if (window.isComplete && window.wanted > 0 && window.hashed === undefined) this.#send(window);
    return { buf, pos, frame, file, offset: from + pos };
  }

  /** Reads on behind a stretch where the chunk lies there, not far away. */
  async #nextWith(id: Uint8Array, idAt: number): Promise<IntakeWindow | undefined> {
    const { threads, reader } = this.#options;
    if (this.#windows.length === 0 || threads === undefined) return undefined;
    const hit = new IndexHit();
    const answer = reader.index.find(id, idAt, hit);
    if (!(typeof answer === 'boolean' ? answer : await answer)) return undefined;
    const to = hit.off8 * 8 + frameBytes(hit.storedLen);
    const before = this.#windows.find(({ pack, frames: { next } }) => {
      return pack === hit.pack && next <= hit.off8 * 8 && to - next <= threads.ring.bufferBytes;
    });
    if (before === undefined) return undefined;
    hit.off8 = before.frames.next / 8;
    const shared = await this.#room(threads);
    if (shared === undefined) return undefined;
    return await this.#open(hit, shared, new Uint8Array(shared));
  }

  /** The stretch the chunk lies in, where more can be asked for; undefined: there is no memory for it. */
  async #windowOf(buf: Uint8Array, idAt: number, threads: HashThreads): Promise<IntakeWindow | undefined> {
    const known = this.#windows.find(({ frames }) => frames.find(buf, idAt) >= 0);
    if (known !== undefined) {
      while (known.hashed !== undefined) await this.#storeOldest();
      return known;
    }
    const hit = await this.#options.reader.locate(buf, idAt);
    const { bufferBytes } = threads.ring;
    const isAhead = this.#windows.some(
      ({ pack, frames }) => pack === hit.pack && frames.next === hit.off8 * 8,
    );
    const length = Math.max(
      frameBytes(hit.storedLen),
      Math.min(isAhead ? bufferBytes : firstBytes, bufferBytes),
    );
    const shared = length > bufferBytes ? undefined : await this.#room(threads);
    if (shared === undefined) return undefined;
    const opened = await this.#open(hit, shared, new Uint8Array(shared, 0, length));
    const { frames } = opened;
    if (frames.find(buf, idAt) === 0) return opened;
    checkFramePlace(frames.bytes, 0, frames.name, frames.from, this.#frame, buf, idAt);
    throw corrupt('pack does not have the frame its index names', { file: frames.name, offset: frames.from });
  }

  /** Reads what lies from `hit` on into `memory`, which lies in `shared`; both are taken. */
  async #open(hit: IndexHit, shared: SharedArrayBuffer, memory: Uint8Array): Promise<IntakeWindow> {
    const { reader, threads } = this.#options;
    const frames = await reader.readStretch(hit, memory).catch((error: unknown) => {
      threads!.ring.give(shared);
      throw error;
    });
    const opened = new IntakeWindow(shared, hit.pack, frames);
    this.#windows.push(opened);
    return opened;
  }

  /** A buffer nobody uses; undefined where none is to be had. */
  async #room({ ring, jobs }: HashThreads): Promise<SharedArrayBuffer | undefined> {
    if (!this.#joined) ring.join();
    this.#joined = true;
    while (this.#sent[0]?.hashed?.isHashed === true) await this.#storeOldest();
    const filling = this.#windows.filter(({ wanted, hashed }) => wanted > 0 && hashed === undefined);
    if (filling.length > Math.max(1, ring.count - buffersBehind)) this.#send(filling[0]!);
    for (;;) {
      const spare =
        this.#idle(({ isComplete }) => isComplete) ??
        (jobs.usable ? ring.take(this.#windows.length) : undefined) ??
        this.#idle(() => true);
      if (spare !== undefined) return spare;
      const [oldest] = this.#windows;
      if (this.#sent.length > 0) await this.#storeOldest();
      else if (this.#windows.some(({ writing }) => writing > 0)) await this.#nextWritten();
      else if (oldest !== undefined) this.#send(oldest);
      else return undefined;
    }
  }

  /** The memory of a stretch of which nothing is wanted or being written. */
  #idle(isRight: (window: IntakeWindow) => boolean): SharedArrayBuffer | undefined {
    const at = this.#windows.findIndex((one) => one.wanted === 0 && one.writing === 0 && isRight(one));
    return at < 0 ? undefined : this.#windows.splice(at, 1)[0]!.shared;
  }

  #want(window: IntakeWindow, i: number, owner: ChunkOwner): void {
    window.want(i, owner, this.#now++);
    if (this.#windows.at(-1) !== window) {
      this.#windows.splice(this.#windows.indexOf(window), 1);
      this.#windows.push(window);
    }
    if (window.isComplete) this.#send(window);
  }

  #send(window: IntakeWindow): void {
    window.hashed = this.#turns!.offer(window.shared, window.ranges());
    this.#expected -= window.frames.bytes.length;
    this.#sent.push(window);
  }

  /** The stretch that has waited longest for something that is wanted. */
  #oldest(): IntakeWindow | undefined {
    let oldest: IntakeWindow | undefined;
    for (const window of this.#windows)
      if (window.wanted > 0 && (oldest === undefined || window.since < oldest.since)) oldest = window;
    return oldest;
  }

  async #storeNow(window: IntakeWindow): Promise<void> {
    if (window.hashed === undefined) this.#send(window);
    while (window.hashed !== undefined) await this.#storeOldest();
  }

  async #storeOldest(): Promise<void> {
    const window = this.#sent[0]!;
    const digests = await this.#turns!.result(window.hashed!);
    const lost = await this.#store(window, digests);
    this.#sent.shift();
    window.settle(lost);
    await this.#act();
  }

  /** Runs the actions that nothing wanted lies before. */
  async #act(): Promise<void> {
    const barrier = this.#oldest()?.since ?? Number.POSITIVE_INFINITY;
    const actions = this.#actions;
    let count = 0;
    while (count < actions.length && actions[count]!.at <= barrier) await actions[count++]!.run();
    if (count > 0) this.#actions = actions.slice(count);
  }

  /** Stores what is wanted of a stretch; returns the frames that are not to be had. */
  async #store(window: IntakeWindow, digests: Uint8Array): Promise<number[]> {
    const { count, bytes, positions } = window.frames;
    const lost: number[] = [];
    let run = -1;
    for (let i = 0, digest = 0; i <= count; i++) {
      const isWanted = i < count && window.isWanted(i);
      const fault = isWanted ? window.faultOf(i, digests, digest++ * sha256Bytes, this.#frame) : undefined;
      const isWhole = isWanted && fault === undefined;
      if (isWhole && window.isData(i)) {
        if (run < 0) run = i;
        continue;
      }
      const pos = positions[i]!;
      if (run >= 0) await this.#storeRun(window, run, i);
      run = -1;
      // Where equal bytes were stored as a list node.
      if (isWhole) await this.#options.builder.addRun(bytes.subarray(pos, positions[i + 1]!), 1);
      if (fault !== undefined && !(await this.#storeCopy(window, i, fault))) lost.push(i);
    }
    return lost;
  }

  /** Frames `from` to `to` - 1, which lie behind each other. */
  async #storeRun(window: IntakeWindow, from: number, to: number): Promise<void> {
    const { bytes, positions } = window.frames;
    const run = bytes.subarray(positions[from]!, positions[to]!);
    if (run.length < Math.min(runBytesMin, window.shared.byteLength / 4)) {
      await this.#options.builder.addRun(run, to - from);
      return;
    }
    window.writing++;
    await this.#options.builder.addRun(run, to - from, () => this.#runWritten(window));
  }

  #runWritten(window: IntakeWindow): void {
    window.writing--;
    if (this.#released && window.writing === 0) this.#options.threads?.ring.give(window.shared);
    this.#written?.resolve();
    this.#written = undefined;
  }

  async #nextWritten(): Promise<void> {
    this.#written ??= deferred();
    await this.#written.promise;
  }

  /** Another copy of a chunk that is not whole; false where there is none, and its owners are told. */
  async #storeCopy(window: IntakeWindow, i: number, fault: VarveError): Promise<boolean> {
    const { builder, reader } = this.#options;
    const { bytes, positions } = window.frames;
    const idAt = positions[i]! + chunkFrame.at.chunkId;
    let copy: ReadFrame;
    try {
      copy = await reader.readCopy(bytes.slice(idAt, idAt + chunkIdBytes), fault);
    } catch (error) {
      if (!isDamage(error) && !isVarveError(error, 'VARVE_FORMAT_VERSION')) throw error;
      for (const owner of window.ownersOf(i)) owner.failed ??= error;
      return false;
    }
    await builder.addFrame(copy.buf, copy.pos, copy.frame);
    return true;
  }
}
