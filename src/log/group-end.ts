/**
 * A group of transactions on its way to the log, and how it ends for everybody in it.
 *
 * Invariants (test/log/group-end.test.ts)
 * - It ends once, and everybody hears the same ("a group ends once, and everybody hears the same end").
 */
import type { Seq } from '../base/brands.ts';
import { VarveError } from '../base/errors.ts';
import { type Deferred, deferred } from '../base/sync.ts';
import type { ByteWriter } from '../codec/byte-writer.ts';
import type { FrameFields } from '../format/log-frame.ts';

/** Where frames go. */
export interface LogSink {
  readonly end: number;
  /** `buf` holds header space followed by the payload; borrowed until the result settles. */
  append(buf: Uint8Array, payloadLen: number, header: FrameFields): Promise<void> | void;
  dataSync(): Promise<void>;
}

/** Another file takes over behind the groups before it. */
export interface Cut {
  readonly next: () => Promise<LogSink>;
  readonly done: Deferred<void>;
}

/** Somebody who is told how a group ended; neither call may throw. */
export interface Waiter {
  done(): void;
  failed(error: unknown): void;
}

/** How a group ends: a promise for those who want one, and waiters, who are told without one. */
export class GroupEnd implements Deferred<void> {
  #promised: Deferred<void> | undefined;
  #waiters: Waiter[] = [];
  #ended: { readonly error: unknown } | undefined;

  /** Made when it is first asked for; a rejection that nobody awaits is not fatal. */
  get promise(): Promise<void> {
    if (this.#promised === undefined) {
      this.#promised = deferred<void>();
      this.#promised.promise.catch(ignoreHere);
      if (this.#ended !== undefined) settle(this.#promised, this.#ended.error);
    }
    return this.#promised.promise;
  }

  /** Tells `waiter` how the group ended; before it has. */
  tell(waiter: Waiter): void {
    this.#waiters.push(waiter);
  }

  resolve(): void {
    this.#end(undefined);
  }

  /** Ends well for who has the promise; the waiters are the caller's to tell, in their order. */
  release(): readonly Waiter[] {
    const waiters = this.#waiters;
    this.#waiters = [];
    this.#end(undefined);
    return waiters;
  }

  reject(error: unknown): void {
    this.#end(error);
  }

  #end(error: unknown): void {
    if (this.#ended !== undefined) return;
    this.#ended = { error };
    if (this.#promised !== undefined) settle(this.#promised, error);
    const waiters = this.#waiters;
    this.#waiters = [];
    for (let i = 0; i < waiters.length; i++) {
      if (error === undefined) waiters[i]!.done();
      else waiters[i]!.failed(error);
    }
  }
}

function settle(promised: Deferred<void>, error: unknown): void {
  if (error === undefined) promised.resolve();
  else promised.reject(error);
}

/** The failure of the log that `error` stands for. */
export function failureOf(error: unknown): VarveError {
  if (error instanceof VarveError) return error;
  return new VarveError('VARVE_IO', 'writing the log failed', { cause: error });
}

/** What callers hear whose commits were under way when `first` happened. */
export function unknownOutcome(first: VarveError): VarveError {
  const { code } = first;
  return new VarveError(
    code === 'VARVE_NO_SPACE' ? code : 'VARVE_COMMIT_UNKNOWN',
    'the commit could not be made durable; after reopening the store it is there whole or not at all',
    { cause: first },
  );
}

/** What every later caller hears once `failure` has happened. */
export function poisoned(failure: VarveError): VarveError {
  const message = 'an earlier write failed; reopen the store to write again';
  return new VarveError('VARVE_POISONED', message, { cause: failure });
}

/** Every waiter awaits the same promise; this handler only keeps a group nobody awaits from being fatal. */
export const ignoreHere = (): void => undefined;

/** A file whose bytes a frame names: must reach the kernel, or the disk, before the frame does. */
export interface NamedFile {
  /** Everything appended before the call is handed to the kernel. */
  flush(): Promise<unknown>;
  /** Everything appended before the call is on disk. */
  sync(): Promise<unknown>;
}

/** A frame in the making. `writer` is positioned behind the header space; ops are appended to it. */
export interface Group {
  readonly writer: ByteWriter;
  readonly type: number;
  readonly firstSeq: Seq;
  count: number;
  /** Commit time of everything in the group; never falls from one group to the next. */
  readonly timeMs: number;
  /** When it was made, monotonic ms. */
  readonly madeMs: number;
  readonly files: Set<NamedFile>;
  readonly done: GroupEnd;
}

/** A group without transactions; takes the writer. */
export function newGroup(
  writer: ByteWriter,
  type: number,
  firstSeq: Seq,
  timeMs: number,
  madeMs: number,
): Group {
  return { writer, type, firstSeq, count: 0, timeMs, madeMs, files: new Set(), done: new GroupEnd() };
}

/** Last number of a group that has any. */
export const lastOf = (group: Group): Seq => group.firstSeq + group.count - 1;
