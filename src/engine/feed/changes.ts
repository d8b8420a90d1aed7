/**
 * The change feed: what was committed to a space, in the order of the commits, from any number that is still
 * kept, and then on as it happens. It is read from the log, live as well as old, so there is one order and
 * nothing to be handed over between two sources; a reader that is slow holds one file and one frame.
 *
 * Invariants (test/engine/changes.test.ts)
 * - Every commit above `since` is shown once, whole and in order, over checkpoints, reopens and crashes, or
 *   the feed ends with VARVE_HISTORY_GONE ("a feed equals the history of calls").
 * - Nothing is shown that readers do not see yet.
 * - Nobody polls: a feed that has shown everything is woken by the next commit.
 */
import type { Seq } from '../../base/brands.ts';
import { decodeUtf8, toHex } from '../../base/bytes.ts';
import { invalid, VarveError } from '../../base/errors.ts';
import { keyBytesMax } from '../../base/limits.ts';
import { checkFlags, checkNames } from '../../base/names.ts';
import { type KeyRange, seqBytes, writeUserKey } from '../../format/internal-key.ts';
import { decodeMetadata } from '../../format/metadata.ts';
import { keyBoundsOf } from '../../format/row-bounds.ts';
import { decodeRangeRow } from '../../format/system-rows.ts';
import { parseValueRecord, recordForms } from '../../format/value-record.ts';
import { LogTail, type TailFrame } from '../../log/log-tail.ts';
import { recordDigest } from '../../value/value-writer.ts';
import { ownVersion } from '../history/own-version.ts';
import { keyBytes, throwIfAborted } from '../key-args.ts';
import { Reads } from '../reading/reads.ts';
import type { Store } from '../store.ts';
import type { Key } from '../types.ts';
import {
  ChangeFrame,
  DroppedNames,
  everySpace,
  type FramedChange,
  type FrameFilter,
  SpaceFinder,
} from './change-frame.ts';
import type { Change, ChangeFeed, ChangesOptions, KeyBounds, PutChange } from './change-types.ts';
import type { FeedWaits } from './feed-waits.ts';

/** Begins a feed; options are checked, and the default `since` is fixed, at the call. */
export function changes(store: Store, name: string | undefined, options: ChangesOptions): ChangeFeed<Key> {
  store.assertReadable();
  checkNames(options, ['since', 'prefix', 'live', 'values', 'spaces', 'signal'], 'option');
  checkFlags(options, ['live', 'values', 'spaces']);
  const { since = store.visibleSeq, live = true, values = false, spaces = false } = options;
  if (!(Number.isSafeInteger(since) && since >= 0)) {
    throw invalid('since must be a sequence number, or 0 for everything', { actual: since });
  }
  const prefix =
    options.prefix === undefined ? new Uint8Array(0) : keyBytes(options.prefix, 'prefix').slice();
  throwIfAborted(options.signal);
  return new Feed(
    store,
    { space: spaces ? everySpace : name, prefix, since },
    values,
    live && store.parts.write !== undefined,
    options.signal,
  );
}

type Result = IteratorResult<Change<Key>, undefined>;

class Feed implements ChangeFeed<Key> {
  readonly #store: Store;
  readonly #filter: FrameFilter;
  readonly #reads: Reads | undefined;
  readonly #isLive: boolean;
  readonly #signal: AbortSignal | undefined;
  readonly #tail: LogTail;
  #frames: ChangeFrame | undefined;
  /** The frame that is being shown, and what of it is left. */
  #frame: TailFrame | undefined;
  #commits: Generator<readonly FramedChange[]> | undefined;
  #commit: readonly FramedChange[] = [];
  #shown = 0;
  #seq: Seq;
  #isOver = false;
  #endWait: (() => void) | undefined;
  #turns: Promise<unknown> = Promise.resolve();
  /** Calls of `next` that have not ended. */
  #calls = 0;
  /** What a look without waiting met: the next call that waits is told. */
  #fault: { readonly error: unknown } | undefined;

  constructor(
    store: Store,
    filter: FrameFilter,
    withValues: boolean,
    isLive: boolean,
    signal: AbortSignal | undefined,
  ) {
    this.#store = store;
    this.#filter = filter;
    this.#reads = withValues ? new Reads(store) : undefined;
    this.#isLive = isLive;
    this.#signal = signal;
    this.#seq = filter.since;
    this.#tail = this.#newTail();
    store.feeds.add(this.#tail);
    forgotten.register(this, { tail: this.#tail, feeds: store.feeds });
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  get seq(): Seq {
    return this.#seq;
  }

  next(): Promise<Result> {
    const mayWait = this.#reads !== undefined;
    if (
      !mayWait &&
      this.#calls === 0 &&
      !this.#isOver &&
      !this.#store.isClosing &&
      this.#signal?.aborted !== true
    ) {
      const change = this.#ofFrameNow();
      if (change !== undefined) return Promise.resolve({ value: change, done: false });
    }
    this.#calls++;
    const turn = this.#turns
      .then(() => this.#next())
      .finally(() => {
        this.#calls--;
      });
    this.#turns = turn.catch(() => undefined);
    return turn;
  }

  async return(): Promise<Result> {
    this.#isOver = true;
    this.#endWait?.();
    await this.#turns;
    return await this.#end();
  }

  #newTail(): LogTail {
    const { parts, logHistory } = this.#store;
    return new LogTail(parts.env.fs, logHistory, parts.identity.dbUuid, this.#filter.since);
  }

  async #next(): Promise<Result> {
    try {
      for (;;) {
        if (this.#isOver || this.#store.isClosing) return await this.#end();
        throwIfAborted(this.#signal);
        if (this.#fault !== undefined) throw this.#fault.error;
        const change = this.#nextOfFrame();
        if (change !== undefined) {
          if (this.#reads !== undefined && change.type === 'put') await this.#addValue(this.#reads, change);
          return { value: change, done: false };
        }
        if (await this.#nextFrame()) continue;
        if (!this.#isLive) return await this.#end();
        const { failure } = this.#store.parts.write?.log ?? {};
        if (failure !== undefined) {
          throw new VarveError('VARVE_POISONED', 'an earlier write failed; there will be no more commits', {
            cause: failure,
          });
        }
        if (this.#store.visibleSeq > this.#tail.seq) continue;
        await this.#wait();
      }
    } catch (error) {
      await this.#end();
      // Closing takes the file from under a read.
      if (this.#store.isClosing) return { value: undefined, done: true };
      throw this.#store.seen(error);
    }
  }

  /** The next change of the frame under way, for a call that needs no promise but its own. */
  #ofFrameNow(): Change<Key> | undefined {
    try {
      return this.#nextOfFrame();
    } catch (error) {
      this.#fault = { error };
      return undefined;
    }
  }

  /** The next change of the frame under way. */
  #nextOfFrame(): Change<Key> | undefined {
    while (this.#shown === this.#commit.length) {
      if (this.#commit.length > 0) this.#seq = this.#commit[0]!.seq;
      const next = this.#commits?.next();
      this.#shown = 0;
      if (next === undefined || next.done === true) {
        this.#commit = [];
        this.#commits = undefined;
        this.#seq = Math.max(this.#seq, this.#tail.seq);
        return undefined;
      }
      this.#commit = next.value;
    }
    const change = this.#commit[this.#shown++]!;
    return this.#changeOf(change, this.#shown === this.#commit.length);
  }

  /** The value of the put that was shown last. */
  async #addValue(reads: Reads, change: PutChange<Key>): Promise<void> {
    const store = this.#store;
    const { buf, path, at } = this.#frame!;
    const { seq, keyFrom, keyTo, valueFrom, valueTo } = this.#commit[this.#shown - 1]!;
    const record = parseValueRecord(buf, valueFrom, valueTo, { file: path, offset: at });
    if (record.form === recordForms.inline) {
      change.value = buf.slice(record.bodyFrom, record.bodyFrom + record.size);
      return;
    }
    const prefix = buf.slice(keyFrom, keyTo);
    // What is there when the number is pinned stays until it is read.
    const pin = store.marks.pin(seq);
    try {
      const found = await store.run(async () => {
        const version = await ownVersion(store, prefix, seq);
        return version === 'gone' || version === undefined ? undefined : await reads.value(version.record);
      });
      if (found === undefined) change.gone = true;
      else change.value = found;
    } finally {
      pin.end();
    }
  }

  /** False when everything that readers see was shown. */
  async #nextFrame(): Promise<boolean> {
    const { visibleSeq } = this.#store;
    if (this.#filter.since > visibleSeq) {
      const message =
        'the store has no commit of that number: it is another one, or it lost what was not synced';
      throw new VarveError('VARVE_HISTORY_GONE', message, {
        expected: this.#filter.since,
        actual: visibleSeq,
      });
    }
    this.#frames ??= await this.#begin();
    this.#frame = await this.#tail.next(visibleSeq);
    if (this.#frame === undefined) {
      this.#seq = Math.max(this.#seq, this.#tail.seq);
      return false;
    }
    this.#commits = this.#frames.changesOf(this.#frame);
    return true;
  }

  async #begin(): Promise<ChangeFrame> {
    const { space } = this.#filter;
    if (space !== everySpace) return new ChangeFrame(this.#filter, await this.#firstSpace(space));
    const { spaces } = this.#store.parts;
    // Those dropped since are in the log, and those made since, before their first key.
    const names = new Map(spaces.names().map((name) => [spaces.numberOf(name), name]));
    const dropped = new DroppedNames();
    await this.#overLog((frame) => {
      dropped.look(frame);
      return false;
    });
    const frames = new ChangeFrame(this.#filter, undefined);
    for (const [number, name] of [...dropped.names, ...names]) {
      if (!dropped.made.has(number)) frames.names.set(number, name);
    }
    return frames;
  }

  /** The number the space has where the feed begins: the log says when that changed since. */
  async #firstSpace(name: string | undefined): Promise<number | undefined> {
    if (name === undefined) return 0;
    const { spaces } = this.#store.parts;
    const now = spaces.known(name);
    const finder = new SpaceFinder(name, this.#filter.since);
    await this.#overLog((frame) => {
      finder.look(frame);
      return finder.found !== undefined;
    });
    if (finder.found !== undefined) return finder.found.number;
    return spaces.known(name) === now ? now : await this.#firstSpace(name);
  }

  /** Looks at the frames up to what readers see, until one is `last`. */
  async #overLog(isLast: (frame: TailFrame) => boolean): Promise<void> {
    // Names change when a drop is sequenced, the log when it is written.
    await this.#store.parts.write?.log.drained();
    const tail = this.#newTail();
    try {
      const { visibleSeq } = this.#store;
      for (;;) {
        const frame = await tail.next(visibleSeq);
        if (frame === undefined || isLast(frame)) return;
      }
    } finally {
      await tail.close();
    }
  }

  async #wait(): Promise<void> {
    const signal = this.#signal;
    // Between the last look and here nothing can have been published: this is one turn.
    await this.#store.feeds.wait((end) => {
      this.#endWait = end;
      signal?.addEventListener('abort', end, { once: true });
    });
    if (this.#endWait !== undefined) signal?.removeEventListener('abort', this.#endWait);
    this.#endWait = undefined;
  }

  async #end(): Promise<Result> {
    this.#isOver = true;
    this.#commits = undefined;
    this.#commit = [];
    this.#shown = 0;
    this.#store.feeds.drop(this.#tail);
    await this.#tail.close();
    return { value: undefined, done: true };
  }

  #changeOf(change: FramedChange, last: boolean): Change<Key> {
    const { buf, path, commitTimeMs, at } = this.#frame!;
    const { seq, kind, space, keyFrom, keyTo, valueFrom, valueTo } = change;
    const name = this.#frames!.names.get(space);
    const common = {
      seq,
      time: new Date(commitTimeMs),
      last,
      ...(name === undefined ? {} : { space: name }),
    };
    const place = { file: path, offset: at };
    if (kind === 'deleteRange') {
      const row = decodeRangeRow(buf.slice(keyFrom, keyTo), buf.subarray(valueFrom, valueTo));
      return { ...common, type: kind, range: this.#boundsOut(keyBoundsOf(row.from, row.to, space)) };
    }
    const length = writeUserKey(userKey, buf, keyFrom, keyTo + seqBytes, place);
    const key = this.#keyOut(userKey.slice(0, length));
    if (kind === 'delete') return { ...common, type: kind, key };
    const record = parseValueRecord(buf, valueFrom, valueTo, place);
    const { size, metadataFrom, metadataTo } = record;
    const put: Change<Key> = { ...common, type: kind, key, size, digest: toHex(recordDigest(record)) };
    if (metadataFrom === metadataTo) return put;
    const { contentType, tags, metadata } = decodeMetadata(buf, place, metadataFrom, metadataTo);
    if (contentType !== undefined) put.contentType = contentType;
    if (tags.length > 0) put.tags = tags;
    if (metadata !== undefined) put.metadata = metadata;
    return put;
  }

  #boundsOut(range: KeyRange): KeyBounds<Key> {
    const bounds: KeyBounds<Key> = {};
    for (const name of ['gt', 'gte', 'lt', 'lte'] as const) {
      const bound = range[name];
      if (bound !== undefined) bounds[name] = this.#keyOut(bound);
    }
    return bounds;
  }

  /** A feed must get past every key: one that is not UTF-8 comes as bytes. */
  #keyOut(bytes: Uint8Array): Key {
    return this.#store.keyEncoding === 'bytes' ? bytes : (decodeUtf8(bytes) ?? bytes);
  }
}

/** The key a change is made of, for the length of a call. */
const userKey: Uint8Array = new Uint8Array(keyBytesMax + 1);

/** A feed nobody has any more gives back what it held; what closing fails with concerns nobody. */
const forgotten = new FinalizationRegistry<{ tail: LogTail; feeds: FeedWaits }>(({ tail, feeds }) => {
  feeds.drop(tail);
  tail.close().catch(() => undefined);
});
