/**
 * Deletes versions whose time has come, in the background: the queue of expiry rows, in the order of time,
 * becomes deletes of the keys that still hold the version each row names, some at a time as one commit.
 *
 * That a version expires is a row the log gives with its PUT; reads let it count as absent from that moment
 * on (format/expiry.ts), so nothing depends on when this runs. Time is the wall clock, but never before the
 * last commit: a clock that steps back revives nothing, and one that steps forward is seen within a minute.
 *
 * Invariants (test/engine/expirer.test.ts)
 * - A key is deleted only while its newest version is the one that expired, decided when the delete is
 *   sequenced ("a key that was put again stays").
 * - What has expired is deleted, across reopens and kills ("expired keys go, whatever happens in between").
 */
import { reapDeletesMax } from '../../base/limits.ts';
import { decodeInternalKey, encodeInternalKey } from '../../format/internal-key.ts';
import { decodeQueueKey, expiryKey, expiryPrefix, type QueuedVersion } from '../../format/system-rows.ts';
import type { TxnWriter } from '../../txn/txn-writer.ts';
import { Background, type BackgroundOptions } from './background.ts';
import { type PaceParts, relieved, settled } from './paced-step.ts';
import { queueFrom, scanQueue } from './queue-scan.ts';

/** Longest sleep until the clock is looked at again, ms. */
const sleepMsMax = 60_000;
/** What a delete takes in the log beside its key, about. */
const rowBytes = 128;

export interface ExpirerOptions extends BackgroundOptions, PaceParts {
  readonly txn: TxnWriter;
}

export class Expirer {
  /** Told of keys that were deleted, once readers see it. */
  onExpired: (space: number, userKey: Uint8Array) => void = () => undefined;
  /** Keys deleted since the engine was opened. */
  deleted = 0;
  /** Started, it also comes back by itself when more expires. */
  readonly work: Background;
  readonly #options: ExpirerOptions;
  /** No row is known that expires before; 0: nobody has looked yet. */
  #nextMs = 0;
  /** Where the next look begins; undefined: at the front. */
  #from: Uint8Array | undefined;
  #sleepsUntil = Number.POSITIVE_INFINITY;

  constructor(options: ExpirerOptions) {
    this.#options = options;
    this.work = new Background(options, {
      what: 'deleting expired keys',
      isDue: () => this.#nextMs <= this.#nowMs,
      step: () => this.#step(),
      // A step under way looks itself when to come back.
      asked: () => {
        if (!this.work.isRunning) this.#sleep();
      },
    });
  }

  /** A version that expires then was sequenced. */
  noted(expireAtMs: number): void {
    if (expireAtMs >= this.#nextMs) return;
    this.#nextMs = expireAtMs;
    this.#sleep();
  }

  get #nowMs(): number {
    return this.#options.txn.now();
  }

  #sleep(): void {
    if (this.work.isOver || this.#nextMs === Number.POSITIVE_INFINITY) return;
    const { clock } = this.#options.env;
    const wait = Math.min(sleepMsMax, Math.max(1, this.#nextMs - this.#nowMs, this.work.retryMs));
    const until = clock.monotonic() + wait;
    if (until >= this.#sleepsUntil) return;
    this.#sleepsUntil = until;
    const woken = (): void => {
      if (this.#sleepsUntil === until) this.#sleepsUntil = Number.POSITIVE_INFINITY;
      if (!this.work.signal.aborted) this.work.startIfDue();
    };
    clock.sleep(wait, this.work.signal).then(woken, woken);
  }

  async #step(): Promise<void> {
    const { forest, txn } = this.#options;
    await relieved(this.work, this.#options);
    const now = this.#nowMs;
    let later = Number.POSITIVE_INFINITY;
    const isOver = (key: Uint8Array): boolean => {
      const { at } = decodeQueueKey(expiryPrefix, key);
      if (at > now) later = at;
      return at <= now;
    };
    // A row put from now on that is earlier than this look has reached lowers the mark again.
    this.#nextMs = Number.POSITIVE_INFINITY;
    try {
      const slice = await scanQueue(forest.system, expiryPrefix, this.#from, isOver, reapDeletesMax);
      const rows = slice.keys.map((key) => decodeQueueKey(expiryPrefix, key));
      for (const { rowPrefix } of rows) if (!txn.isWarm(rowPrefix)) await txn.warm(rowPrefix);
      if (!this.work.isOver) await this.#commit(rows);
      this.#from = slice.next ?? queueFrom(expiryPrefix, now);
      this.#nextMs = slice.next === undefined ? Math.min(this.#nextMs, later) : 0;
    } catch (error) {
      this.#nextMs = 0;
      throw error;
    } finally {
      this.#sleep();
    }
  }

  async #commit(rows: readonly QueuedVersion[]): Promise<void> {
    const { txn } = this.#options;
    if (rows.length === 0) return;
    // From here to the commit nothing else runs: what is decided is what is sequenced.
    const expired = onePerKey(rows.filter(({ rowPrefix, seq }) => txn.newestPut(rowPrefix) === seq));
    const deletes = expired.map(({ rowPrefix, seq }) => {
      return { kind: 'delete' as const, prefix: rowPrefix, ifSeq: seq, isExpired: true };
    });
    const gone = rows.map(({ at, rowPrefix, seq }) => {
      return { key: expiryKey(at, rowPrefix, seq), value: undefined };
    });
    const committed = txn.commit(deletes, [], gone);
    if (committed === undefined) return;
    this.deleted += expired.length;
    const bytes = rows.reduce((sum, { rowPrefix }) => sum + rowBytes + 2 * rowPrefix.length, 0);
    const told = committed.done.then(() => this.#tell(expired));
    await settled(this.work, this.#options, bytes, told);
  }

  #tell(expired: readonly QueuedVersion[]): void {
    for (const { rowPrefix, seq } of expired) {
      const whole = encodeInternalKey(rowPrefix, seq);
      const { space, userKey } = decodeInternalKey(whole, 0, whole.length);
      this.onExpired(space, userKey);
    }
  }
}

function onePerKey(rows: readonly QueuedVersion[]): QueuedVersion[] {
  const byKey = new Map<string, QueuedVersion>();
  for (const row of rows) byKey.set(Buffer.from(row.rowPrefix).toString('latin1'), row);
  return Array.from(byKey.values());
}
