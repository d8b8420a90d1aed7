/**
 * Chunks of a vault on their way into a store that is restored: stretches of packs are read into memory that
 * threads share, the chunks asked for are held against their ids there, and frames that lie behind each other
 * are written to the store from where they lie. Nothing is copied on the way. What depends on chunks waits in
 * order behind them.
 *
 * A stretch is sent to be hashed once all of it was asked for, or its memory is wanted, or too much waits for
 * it; it stays readable until its memory is needed, for chunks that are asked for later. Behind one that
 * began where another one ended the next is read ahead, if there is memory for it.
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
import { corrupt, isVarveError } from '../base/errors.ts';
import { MiB } from '../base/limits.ts';
import { type Deferred, deferred } from '../base/sync.ts';
import { ChunkFrame, checkChunkFrame, frameBytes } from '../format/chunk-frame.ts';
import { chunkIdBytes, codecs } from '../format/chunk-ref.ts';
import { HashTurns } from '../pool/hash-turns.ts';
import type { HashThreads } from '../pool/id-checker.ts';
import type { FrameWindow } from './frame-window.ts';
import { IntakeStore } from './intake-store.ts';
import { type ChunkOwner, IntakeWindow } from './intake-window.ts';
import { checkFramePlace } from './pack-reader.ts';
import type { StoreBuilder } from './store-builder.ts';
import { IndexHit } from './vault-index.ts';
import type { PlacedFrame, ReadFrame, VaultReader } from './vault-reader.ts';

/** Actions that wait: what they wait for is stored before there are more. */
const actionsMax = 4096;
/** Of a stretch that does not begin where another one ends. */
const firstBytes: number = MiB;
/** Buffers that are not for stretches that still fill: others are hashed and written meanwhile. */
const buffersBehind = 3;

/** A stretch that is being read before anything in it was asked for. */
interface Ahead {
  readonly pack: number;
  readonly from: number;
  readonly shared: SharedArrayBuffer;
  /** Undefined: it cannot be read now; whoever asks for what lies there reads it again, and is told why. */
  readonly frames: Promise<FrameWindow | undefined>;
}

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
  #ahead: Ahead | undefined;
  #actions: Action[] = [];
  readonly #store: IntakeStore;
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
    this.#store = new IntakeStore(options, (window) => this.#runWritten(window));
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

  /**
   * Gives up what is under way, and every buffer: where something is written from it, once that is done; of
   * the others all when it resolves. Idempotent.
   */
  async release(): Promise<void> {
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
    await this.#arrived();
    for (const { shared } of this.#windows.splice(0)) ring?.give(shared);
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
        await this.#readOn(window, threads);
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
    const { next } = before.frames;
    const window = (await this.#arrivedAt(hit.pack, next)) ?? (await this.#next(hit.pack, next, threads));
    if (window !== undefined) await this.#readOn(window, threads);
    return window;
  }

  /** The stretch from `offset` of a pack on, where another one ends; undefined: there is no memory for it. */
  async #next(pack: number, offset: number, threads: HashThreads): Promise<IntakeWindow | undefined> {
    const shared = await this.#room(threads);
    if (shared === undefined) return undefined;
    return await this.#open({ pack, off8: offset / 8 }, shared, new Uint8Array(shared), true);
  }

  /** The stretch the chunk lies in, where more can be asked for; undefined: there is no memory for it. */
  async #windowOf(buf: Uint8Array, idAt: number, threads: HashThreads): Promise<IntakeWindow | undefined> {
    const known = this.#windows.find(({ frames }) => frames.find(buf, idAt) >= 0);
    if (known !== undefined) {
      while (known.hashed !== undefined) await this.#storeOldest();
      return known;
    }
    const hit = await this.#options.reader.locate(buf, idAt);
    const ahead = await this.#arrivedAt(hit.pack, hit.off8 * 8);
    if (ahead !== undefined && ahead.frames.find(buf, idAt) >= 0) return ahead;
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
    const opened = await this.#open(hit, shared, new Uint8Array(shared, 0, length), isAhead);
    const { bytes, name: file, from: offset } = opened.frames;
    if (opened.frames.find(buf, idAt) === 0) return opened;
    checkFramePlace(bytes, 0, file, offset, new ChunkFrame(), buf, idAt);
    throw corrupt('pack does not have the frame its index names', { file, offset });
  }

  /** Reads what lies from `hit` on into `memory`, which lies in `shared`; both are taken. */
  async #open(
    hit: Pick<IndexHit, 'pack' | 'off8'>,
    shared: SharedArrayBuffer,
    memory: Uint8Array,
    follows: boolean,
  ): Promise<IntakeWindow> {
    const { reader, threads } = this.#options;
    const frames = await reader.readStretch(hit, memory).catch((error: unknown) => {
      threads!.ring.give(shared);
      throw error;
    });
    return this.#opened(hit.pack, shared, frames, follows);
  }

  #opened(pack: number, shared: SharedArrayBuffer, frames: FrameWindow, follows: boolean): IntakeWindow {
    const opened = new IntakeWindow(shared, pack, frames, follows);
    this.#windows.push(opened);
    return opened;
  }

  /** Begins to read what lies behind `window`, where packs are read from front to back. */
  async #readOn({ pack, follows, frames: { next } }: IntakeWindow, threads: HashThreads): Promise<void> {
    const { reader } = this.#options;
    const isKnown = this.#windows.some((one) => one.pack === pack && one.frames.from === next);
    if (!follows || isKnown || next >= reader.endOf(pack)) return;
    if (this.#ahead?.pack === pack && this.#ahead.from === next) return;
    await this.#arrived();
    while (this.#sent[0]?.hashed?.isHashed === true) await this.#storeOldest();
    const shared = this.#spare(threads);
    if (shared === undefined) return;
    const frames = reader
      .readStretch({ pack, off8: next / 8 }, new Uint8Array(shared))
      .catch(() => undefined);
    this.#ahead = { pack, from: next, shared, frames };
  }

  /** What is read ahead from `offset` of a pack on, or from before it, once it is there. */
  async #arrivedAt(pack: number, offset: number): Promise<IntakeWindow | undefined> {
    const ahead = this.#ahead;
    if (ahead === undefined || ahead.pack !== pack) return undefined;
    if (offset < ahead.from || offset >= ahead.from + ahead.shared.byteLength) return undefined;
    return await this.#arrived();
  }

  /** The stretch that is read ahead, once it is there. */
  async #arrived(): Promise<IntakeWindow | undefined> {
    const ahead = this.#ahead;
    const frames = await ahead?.frames;
    if (ahead === undefined) return undefined;
    this.#ahead = undefined;
    if (frames !== undefined) return this.#opened(ahead.pack, ahead.shared, frames, true);
    this.#options.threads!.ring.give(ahead.shared);
    return undefined;
  }

  /** Memory that nobody uses, and that holds nothing that may still be asked for. */
  #spare({ ring, jobs }: HashThreads): SharedArrayBuffer | undefined {
    const held = this.#windows.length + (this.#ahead === undefined ? 0 : 1);
    return this.#idle(({ isComplete }) => isComplete) ?? (jobs.usable ? ring.take(held) : undefined);
  }

  /** A buffer nobody uses; undefined where none is to be had. */
  async #room(threads: HashThreads): Promise<SharedArrayBuffer | undefined> {
    const { ring } = threads;
    if (!this.#joined) ring.join();
    this.#joined = true;
    while (this.#sent[0]?.hashed?.isHashed === true) await this.#storeOldest();
    const filling = this.#windows.filter(({ wanted, hashed }) => wanted > 0 && hashed === undefined);
    if (filling.length > Math.max(1, ring.count - buffersBehind)) this.#send(filling[0]!);
    for (;;) {
      const spare = this.#spare(threads) ?? this.#idle(() => true);
      if (spare !== undefined) return spare;
      const [oldest] = this.#windows;
      if (this.#sent.length > 0) await this.#storeOldest();
      else if (this.#windows.some(({ writing }) => writing > 0)) await this.#nextWritten();
      else if (oldest !== undefined) this.#send(oldest);
      else if (this.#ahead !== undefined) await this.#arrived();
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
    const lost = await this.#store.take(window, digests);
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
}
