/**
 * The writer lock while it is held: keeps the owner record fresh and notices when the lock is gone.
 *
 * Invariants
 * - Changes of the record run one after another (writer-lock.test: "touches, epochs and a release …").
 * - The record is rewritten only while it still holds what was last written here (writer-lock.test: "a
 *   broken lock …").
 */
import { equalBytes } from '../base/bytes.ts';
import type { Clock } from '../base/clock.ts';
import { isVarveError, VarveError } from '../base/errors.ts';
import { Mutex } from '../base/sync.ts';
import type { LockFile } from './lock-file.ts';
import type { Guard } from './lock-guard.ts';
import type { LockOwner, WriterLock } from './lock-port.ts';

/** The record is rewritten this often. */
export const lockTouchMs = 5_000;

export interface HeldLockParts {
  owner: LockOwner;
  /** The record as written. */
  written: Uint8Array;
  /** Taken: closed at release. */
  file: LockFile;
  /** Taken: closed at release. */
  guard: Guard;
  clock: Clock;
  /** Told the nonce when the lock ends. */
  forget: (nonce: string) => void;
}

export class HeldLock implements WriterLock {
  onLost: ((reason: Error) => void) | undefined;
  readonly #parts: HeldLockParts;
  readonly #mutex = new Mutex();
  readonly #stop = new AbortController();
  readonly #touching: Promise<void>;
  #owner: LockOwner;
  #written: Uint8Array;
  #lost: Error | undefined;
  #released: Promise<void> | undefined;

  constructor(parts: HeldLockParts) {
    this.#parts = parts;
    this.#owner = parts.owner;
    this.#written = parts.written;
    parts.guard.onLost = (reason) => this.#lose(reason);
    this.#touching = this.#keepTouching();
  }

  get owner(): LockOwner {
    return this.#owner;
  }

  get providers(): readonly string[] {
    return this.#owner.providers;
  }

  get lost(): boolean {
    return this.#lost !== undefined;
  }

  async setEpoch(epoch: number): Promise<void> {
    this.#refuseReleased();
    await this.#mutex.run(() => this.#rewrite({ writerEpoch: epoch }, true));
  }

  async touch(): Promise<void> {
    this.#refuseReleased();
    await this.#mutex.run(() => this.#rewrite({}, false));
  }

  release(): Promise<void> {
    this.#released ??= this.#release();
    return this.#released;
  }

  async #release(): Promise<void> {
    const { file, guard, forget } = this.#parts;
    this.#stop.abort();
    await this.#touching;
    try {
      if (this.#lost === undefined) await this.#mutex.run(() => this.#rewrite({ released: true }, false));
    } finally {
      guard.onLost = undefined;
      forget(this.#owner.nonce);
      try {
        await file.close();
      } finally {
        await guard.close();
      }
    }
  }

  async #rewrite(change: Partial<LockOwner>, durable: boolean): Promise<void> {
    const { file, clock } = this.#parts;
    if (this.#lost !== undefined) throw this.#lost;
    try {
      await this.#checkOurs();
      const touchedMs = Math.max(0, Math.floor(clock.now()));
      const next = { ...this.#owner, touchedMs, touches: this.#owner.touches + 1, ...change };
      this.#written = durable ? await file.writeDurably(next) : await file.write(next);
      this.#owner = next;
    } catch (error) {
      const reason = error instanceof Error ? error : new Error(String(error));
      this.#lose(reason);
      throw reason;
    }
  }

  async #checkOurs(): Promise<void> {
    const { file } = this.#parts;
    if (!(await file.inPlace())) throw gone('the LOCK file was replaced');
    if (!equalBytes(await file.read(), this.#written)) throw gone('another writer broke the lock');
  }

  async #keepTouching(): Promise<void> {
    while (this.#lost === undefined && !this.#stop.signal.aborted) {
      try {
        await this.#parts.clock.sleep(lockTouchMs, this.#stop.signal);
        if (!this.#stop.signal.aborted) await this.#mutex.run(() => this.#rewrite({}, false));
      } catch (error) {
        // An aborted sleep is the release; a failed rewrite has told onLost. Neither leaves work here.
        if (!isVarveError(error, 'VARVE_ABORTED'))
          this.#lose(error instanceof Error ? error : gone(String(error)));
      }
    }
  }

  #lose(reason: Error): void {
    if (this.#lost !== undefined) return;
    this.#lost = reason;
    this.onLost?.(reason);
  }

  #refuseReleased(): void {
    if (this.#released !== undefined) throw new VarveError('VARVE_CLOSED', 'LOCK: the lock was released');
  }
}

function gone(what: string): VarveError {
  return new VarveError('VARVE_LOCKED', `LOCK: ${what}; this writer has to stop`, {
    file: 'LOCK',
    retryable: false,
  });
}
