/**
 * The writer lock of a file system in memory: one writer per disk object; a crash or fork starts unlocked.
 */

import type { Clock } from '../base/clock.ts';
import { VarveError } from '../base/errors.ts';
import type { LockDescription, LockOwner, LockProvider, LockRequest, WriterLock } from './lock-port.ts';

interface DiskLock {
  owner: LockOwner | undefined;
  holder: MemoryWriterLock | undefined;
  taken: number;
}

const locks = new WeakMap<object, DiskLock>();
const pollMs = 5;

/** Locks `disk` (any object stands for a disk). `clock` times the waiting. */
export function memoryLock(disk: object, clock: Clock): LockProvider {
  let state = locks.get(disk);
  if (state === undefined) {
    state = { owner: undefined, holder: undefined, taken: 0 };
    locks.set(disk, state);
  }
  return new MemoryLockProvider(state, clock);
}

class MemoryLockProvider implements LockProvider {
  readonly #state: DiskLock;
  readonly #clock: Clock;

  constructor(state: DiskLock, clock: Clock) {
    this.#state = state;
    this.#clock = clock;
  }

  async acquire(request: LockRequest): Promise<WriterLock> {
    const deadline = this.#clock.monotonic() + request.waitMs;
    for (;;) {
      if (request.signal?.aborted) throw new VarveError('VARVE_ABORTED', 'LOCK: waiting was aborted');
      if (this.#state.holder === undefined) return this.#take();
      const left = deadline - this.#clock.monotonic();
      if (left <= 0) {
        const actual = this.#state.owner;
        throw new VarveError('VARVE_LOCKED', 'LOCK: the store is open for writing', { file: 'LOCK', actual });
      }
      await this.#clock.sleep(Math.min(pollMs, left), request.signal);
    }
  }

  async describe(): Promise<LockDescription | null> {
    const { owner, holder } = this.#state;
    const held = holder !== undefined;
    return owner === undefined ? null : { ...owner, alive: held, held };
  }

  #take(): WriterLock {
    const state = this.#state;
    const now = Math.max(0, Math.floor(this.#clock.now()));
    state.owner = {
      host: 'memory',
      bootId: '',
      pid: 1,
      pidNamespace: '',
      processStart: '',
      nonce: String(++state.taken),
      providers: ['memory'],
      writerEpoch: state.owner?.writerEpoch ?? 0,
      takenMs: now,
      touchedMs: now,
      touches: 0,
      released: false,
    };
    state.holder = new MemoryWriterLock(state, this.#clock);
    return state.holder;
  }
}

class MemoryWriterLock implements WriterLock {
  onLost: ((reason: Error) => void) | undefined;
  readonly lost = false;
  readonly providers: readonly string[] = ['memory'];
  readonly #state: DiskLock;
  readonly #clock: Clock;
  #owner: LockOwner;

  constructor(state: DiskLock, clock: Clock) {
    this.#state = state;
    this.#clock = clock;
    this.#owner = state.owner!;
  }

  get owner(): LockOwner {
    return this.#owner;
  }

  async setEpoch(epoch: number): Promise<void> {
    this.#update({ writerEpoch: epoch });
  }

  async touch(): Promise<void> {
    this.#update({ touchedMs: Math.max(0, Math.floor(this.#clock.now())), touches: this.#owner.touches + 1 });
  }

  async release(): Promise<void> {
    if (this.#owner.released) return;
    this.#update({ released: true });
    this.#state.holder = undefined;
  }

  #update(change: Partial<LockOwner>): void {
    if (this.#owner.released) throw new VarveError('VARVE_CLOSED', 'LOCK: the lock was released');
    this.#owner = { ...this.#owner, ...change };
    this.#state.owner = this.#owner;
  }
}
