/** The writer lock as a port: one writer per store, whoever provides it. */

/** The owner record: who has, or last had, the store open for writing. */
export interface LockOwner {
  readonly host: string;
  /** Changes with every boot of the kernel; '' where the platform does not tell. */
  readonly bootId: string;
  readonly pid: number;
  /** Pids mean something only inside their namespace; '' where the platform has none. */
  readonly pidNamespace: string;
  /** When the process started, as the platform counts it; tells a reused pid. '' where it does not tell. */
  readonly processStart: string;
  /** Random, per acquisition. */
  readonly nonce: string;
  /** What the owner held: 'socket', 'flock'. */
  readonly providers: readonly string[];
  /** Highest writer epoch the engine reported with `setEpoch`; carried over from owner to owner. */
  readonly writerEpoch: number;
  /** Wall clock, ms; for people only. */
  readonly takenMs: number;
  readonly touchedMs: number;
  /** Counts rewrites of the record: a record that stands still has no live owner. */
  readonly touches: number;
  /** The owner let go in order. */
  readonly released: boolean;
}

/** The lock, held. */
export interface WriterLock {
  readonly owner: LockOwner;
  readonly providers: readonly string[];
  /** True once the lock is known to be gone (broken by someone, LOCK replaced): stop writing at once. */
  readonly lost: boolean;
  /** Called once when `lost` becomes true, with the reason as a VARVE_LOCKED or VARVE_IO error. */
  onLost: ((reason: Error) => void) | undefined;
  /** Records a writer epoch; durable when it resolves. VARVE_LOCKED when the lock is lost. */
  setEpoch(epoch: number): Promise<void>;
  /** Shows that the owner lives and checks that the lock is still ours. Runs by itself every 5 s as well. */
  touch(): Promise<void>;
  /** Marks the record released and lets go. Idempotent. */
  release(): Promise<void>;
}

export interface LockRequest {
  /** How long to wait for another writer to let go, ms; 0 tries once. */
  waitMs: number;
  signal?: AbortSignal;
  /**
   * Takes the lock from an owner that cannot be proved dead (another host or pid namespace, a damaged
   * record), after its record stood still for 60 s. Never from a process known to live.
   */
  breakLock?: boolean;
}

/** What `describe` tells about the owner record. */
export interface LockDescription extends LockOwner {
  /** Undefined when it cannot be known from here (another host or pid namespace). */
  readonly alive: boolean | undefined;
  /** Somebody holds the lock now, as far as can be seen from here. */
  readonly held: boolean;
}

export interface LockProvider {
  /** VARVE_LOCKED with the owner in `actual` when another writer keeps it; VARVE_ABORTED by the signal. */
  acquire(request: LockRequest): Promise<WriterLock>;
  /** The owner record, or null where there never was one. Takes nothing. VARVE_CORRUPT when unreadable. */
  describe(): Promise<LockDescription | null>;
}
