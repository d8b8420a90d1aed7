/**
 * The writer lock: one writer per store directory.
 *
 * Three things together: a guard the kernel takes back (lock-guard.ts), flock where the caller has it, and
 * the owner record in LOCK, which sees owners the guard cannot (other containers and hosts). A writer takes
 * all it has, so that one without flock and one with it exclude each other. Past these, the engine fences
 * with the writer epoch. Writing over a network file system is not supported.
 *
 * Invariants
 * - Nothing is written to LOCK before guard and flock are held (writer-lock.test: "a refused writer …").
 * - A lock once lost is never written to again (writer-lock.test: "a broken lock …").
 * - A killed writer of this host leaves nothing to clean up (writer-lock-process.test: "kill -9 …").
 */
import path from 'node:path';
import { equalBytes, toHex } from '../base/bytes.ts';
import { awaited, type Clock } from '../base/clock.ts';
import { isVarveError, VarveError } from '../base/errors.ts';
import { lockName } from '../format/file-names.ts';
import type { FlockProvider } from './flock.ts';
import { HeldLock } from './held-lock.ts';
import { LockFile } from './lock-file.ts';
import { type Guard, guardAddress, guardIsHeld, takeGuard } from './lock-guard.ts';
import { judgeOwner, type LockFacts, type LockVerdict } from './lock-judge.ts';
import type { LockDescription, LockOwner, LockProvider, LockRequest, WriterLock } from './lock-port.ts';
import { decodeLockRecord } from './lock-record.ts';
import { ownIdentity, type ProcessIdentity, processLives } from './process-identity.ts';
import { identityOf } from './raw-fs.ts';

/** A record that stands still this long belongs to nobody who writes: owners touch theirs every 5 s. */
export const lockSilenceMs = 60_000;
const watchStepMs = 1_000;
const pollFirstMs = 5;
const pollLastMs = 500;

export interface WriterLockOptions extends LockRequest {
  /** The store directory; must exist. */
  dir: string;
  clock: Clock;
  /** From `loadFlock`, where it loaded. */
  flock?: FlockProvider;
  /** Who takes the lock; this process by default. */
  identity?: ProcessIdentity;
}

/** The lock of a store directory as a provider. */
export function nodeLock(options: { dir: string; clock: Clock; flock?: FlockProvider }): LockProvider {
  return {
    acquire: (request) => acquireWriterLock({ ...options, ...request }),
    describe: () => describeLock(options.dir),
  };
}

/**
 * Takes the lock, waiting up to `waitMs` while another writer has it. VARVE_LOCKED names that writer, with
 * its record in `actual`; VARVE_NOT_FOUND without the directory; VARVE_ABORTED by the signal; VARVE_IO when
 * the platform refuses a guard or flock.
 */
export async function acquireWriterLock(options: WriterLockOptions): Promise<WriterLock> {
  const { clock, signal } = options;
  const deadline = clock.monotonic() + options.waitMs;
  // The clock's timers let the process end, which must not happen to one that only waits for the lock.
  return await awaited(clock, async () => {
    for (let pause = pollFirstMs; ; pause = Math.min(pause * 2, pollLastMs)) {
      if (signal?.aborted) {
        throw new VarveError('VARVE_ABORTED', 'LOCK: waiting was aborted', { cause: signal.reason });
      }
      const outcome = await new Attempt(options).run();
      if (!(outcome instanceof VarveError)) return outcome;
      const left = deadline - clock.monotonic();
      if (left <= 0) throw outcome;
      await clock.sleep(Math.min(pause, left), signal);
    }
  });
}

/** The owner record and what can be seen of its owner; null where no writer ever was. Takes nothing. */
export async function describeLock(dir: string): Promise<LockDescription | null> {
  const owner = await readOwner(dir);
  if (owner === null) return null;
  const store = await identityOf(dir, dir);
  const guarded = store !== null && (await guardIsHeld(guardAddress(store)));
  const verdict = judgeOwner(owner, factsFor(ownIdentity(), false, false));
  const alive = guarded || verdict === 'alive' ? true : verdict === 'unknown' ? undefined : false;
  return { ...owner, alive, held: alive === true };
}

const ours = new Set<string>();

function factsFor(me: ProcessIdentity, flockHeld: boolean, hostGuardHeld: boolean): LockFacts {
  return { me, flockHeld, hostGuardHeld, isOurs: (nonce) => ours.has(nonce), lives: processLives };
}

async function readOwner(dir: string): Promise<LockOwner | null> {
  const file = await LockFile.openExisting(dir);
  if (file === null) return null;
  try {
    return decodeLockRecord(await file.read(), lockName);
  } finally {
    await file.close();
  }
}

/** One attempt: everything is held at its end, or nothing. */
class Attempt {
  readonly #options: WriterLockOptions;
  readonly #dir: string;
  readonly #me: ProcessIdentity;
  #guard: Guard | null = null;
  #file: LockFile | undefined;

  constructor(options: WriterLockOptions) {
    this.#options = options;
    this.#dir = path.resolve(options.dir);
    this.#me = options.identity ?? ownIdentity();
  }

  /** The lock, or the VARVE_LOCKED error to throw when waiting is over. */
  async run(): Promise<WriterLock | VarveError> {
    let taken: WriterLock | undefined;
    try {
      const outcome = await this.#take();
      if (!(outcome instanceof VarveError)) taken = outcome;
      return outcome;
    } finally {
      if (taken === undefined) {
        try {
          await this.#file?.close();
        } finally {
          await this.#guard?.close();
        }
      }
    }
  }

  async #take(): Promise<WriterLock | VarveError> {
    const { flock } = this.#options;
    const store = await identityOf(this.#dir, this.#options.dir);
    if (store === null) {
      const file = this.#options.dir;
      throw new VarveError('VARVE_NOT_FOUND', `${file}: no such directory`, { file, errno: 'ENOENT' });
    }
    const address = guardAddress(store);
    this.#guard = await takeGuard(address);
    if (this.#guard === null) return locked(await this.#ownerForMessage(), 'is open for writing');
    const file = await LockFile.openOrCreate(this.#dir);
    this.#file = file;
    if (flock !== undefined && !flock.tryLock(file.fd)) {
      return locked(await this.#ownerForMessage(), 'is open for writing');
    }
    if (!(await file.inPlace())) return locked(null, 'had its LOCK file replaced while it was being locked');

    const facts = factsFor(this.#me, flock !== undefined, address.kind === 'pipe');
    const bytes = await file.read();
    const { owner, verdict, damage } = examine(bytes, facts);
    if (verdict === 'alive') return locked(owner, 'is open for writing');
    if (verdict === 'unknown') {
      if (this.#options.breakLock !== true) return locked(owner, advice(damage), damage);
      if (!(await this.#standsStill(file, bytes, facts)))
        return locked(owner, 'is in use: its record changes');
    }
    return this.#hold(file, owner);
  }

  /** True when the record does not change for a minute, or is released meanwhile. */
  async #standsStill(file: LockFile, first: Uint8Array, facts: LockFacts): Promise<boolean> {
    const { clock, signal } = this.#options;
    const since = clock.monotonic();
    while (clock.monotonic() - since < lockSilenceMs) {
      await clock.sleep(watchStepMs, signal);
      const bytes = await file.read();
      if (!equalBytes(bytes, first)) {
        const { verdict } = examine(bytes, facts);
        return verdict === 'free' || verdict === 'stale';
      }
    }
    return true;
  }

  async #hold(file: LockFile, before: LockOwner | null): Promise<WriterLock | VarveError> {
    const { clock, flock } = this.#options;
    const now = Math.max(0, Math.floor(clock.now()));
    const owner: LockOwner = {
      ...this.#me,
      nonce: toHex(crypto.getRandomValues(new Uint8Array(16))),
      providers: flock === undefined ? ['socket'] : ['socket', 'flock'],
      writerEpoch: before?.writerEpoch ?? 0,
      takenMs: now,
      touchedMs: now,
      touches: (before?.touches ?? 0) + 1,
      released: false,
    };
    const written = await file.writeDurably(owner);
    // Another container may have found the same free record; the later writer has it.
    if (!equalBytes(await file.read(), written)) return locked(null, 'was taken by another writer just now');
    ours.add(owner.nonce);
    return new HeldLock({
      owner,
      written,
      file,
      guard: this.#guard!,
      clock,
      forget: (nonce) => ours.delete(nonce),
    });
  }

  /** The owner for an error message; a damaged record must not hide that the store is locked. */
  async #ownerForMessage(): Promise<LockOwner | null> {
    try {
      return await readOwner(this.#dir);
    } catch (error) {
      if (isVarveError(error, 'VARVE_CORRUPT', 'VARVE_FORMAT_VERSION')) return null;
      throw error;
    }
  }
}

/** A record that cannot be read may have an owner. One of a newer format is not ours to break. */
function examine(
  bytes: Uint8Array,
  facts: LockFacts,
): { owner: LockOwner | null; verdict: LockVerdict; damage?: VarveError } {
  try {
    const owner = decodeLockRecord(bytes, lockName);
    return { owner, verdict: judgeOwner(owner, facts) };
  } catch (error) {
    if (!isVarveError(error, 'VARVE_CORRUPT')) throw error;
    return { owner: null, verdict: 'unknown', damage: error };
  }
}

function advice(damage: VarveError | undefined): string {
  const why =
    damage === undefined
      ? 'may be open for writing on another host or in another container'
      : 'may be open for writing: its owner record is damaged';
  return `${why}; if that writer is gone, open with breakLock (it watches the record for 60 s first)`;
}

function locked(owner: LockOwner | null, what: string, cause?: unknown): VarveError {
  const by =
    owner === null || owner.released
      ? ''
      : ` (process ${owner.pid} on ${owner.host}, since ${new Date(owner.takenMs).toISOString()})`;
  const actual = owner ?? undefined;
  return new VarveError('VARVE_LOCKED', `LOCK: the store ${what}${by}`, { file: lockName, actual, cause });
}
