/**
 * Slows writers down while merges are behind, and while a flush is under way: each byte written costs time
 * that grows smoothly with the debt, or with how full memory is again, from nothing at the soft bounds. There
 * is no stop and no step, and a flush is never made to wait.
 *
 * Between the soft bound and a full memory a byte costs four times the square of the share that is used up,
 * of what the flush takes for it: so memory is full again about when the flush is over, and not before, when
 * everybody would have to wait for its end.
 *
 * Invariants (test/engine/write-pacer.test.ts)
 * - Below the soft bounds nobody waits; above them the cost grows without a jump ("the cost of a byte grows
 *   with the debt, from nothing, without a jump").
 * - The same holds for a flush ("while a flush runs the cost grows with the memory used").
 * - Nobody waits longer than the bound ("nobody waits longer than the bound").
 */
import type { Clock } from '../../base/clock.ts';
import {
  MiB,
  paceBytesHard,
  paceBytesSoft,
  paceFillSoft,
  paceLevel0Hard,
  paceLevel0Soft,
  paceMsPerMiB,
  paceWaitMsMax,
} from '../../base/limits.ts';
import { chunkEntry } from '../../format/chunk-table.ts';
import { recordForms } from '../../format/value-record.ts';
import type { CompactionDebt } from '../../tree/compaction-planner.ts';
import type { WriteOp } from '../../txn/txn-writer.ts';

/** What a row takes in a table beside its key and value, about. */
export const rowBytes = 32;

/** About what an operation adds to tables, bytes: its row, and entries of chunks named there. */
export function bytesOfOp(op: WriteOp): number {
  const key = op.prefix.length + rowBytes;
  if (op.kind === 'delete') return key;
  const { body } = op;
  if (body.form === recordForms.inline) return key + body.size;
  return key + (body.form === recordForms.list ? 2 * body.refs.length : 2 * chunkEntry.size);
}

/** 0 at the soft bounds, 1 at the hard ones, and on beyond them at most to 2. */
export function pressureOf({ level0Tables, bytes }: CompactionDebt): number {
  const byCount = (level0Tables - paceLevel0Soft) / (paceLevel0Hard - paceLevel0Soft);
  const byBytes = (bytes - paceBytesSoft) / (paceBytesHard - paceBytesSoft);
  return Math.min(2, Math.max(0, byCount, byBytes));
}

/** What a flush under way costs writers, ms for each MiB: `msPerMiB` is what it takes, 0 = there is none. */
export function flushCost(msPerMiB: number, fill: number): number {
  const share = (fill - paceFillSoft) / (1 - paceFillSoft);
  return share <= 0 ? 0 : 4 * msPerMiB * share ** 2;
}

export class WritePacer {
  readonly #clock: Clock;
  /** What flushes cost now, ms for each MiB. */
  readonly #flush: () => number;
  #pressure = 0;
  /** When the bytes written so far are paid for, monotonic ms. */
  #paidAt = 0;
  #waitedMs = 0;

  constructor(clock: Clock, flush: () => number = () => 0) {
    this.#clock = clock;
    this.#flush = flush;
  }

  /** The debt has changed. */
  setDebt(debt: CompactionDebt): void {
    this.#pressure = pressureOf(debt);
  }

  get pressure(): number {
    return this.#pressure;
  }

  /** Time writers were made to wait so far, ms. */
  get waitedMs(): number {
    return this.#waitedMs;
  }

  /** Bytes of rows were written: whoever writes next waits for them. */
  charge(bytes: number): void {
    const msPerMiB = this.#msPerMiB;
    if (msPerMiB === 0) return;
    const now = this.#clock.monotonic();
    this.#paidAt = Math.min(Math.max(now, this.#paidAt) + (bytes / MiB) * msPerMiB, now + paceWaitMsMax);
  }

  /** How long a writer is to wait now, ms; 0 = go on. */
  get waitMs(): number {
    if (this.#msPerMiB === 0) return 0;
    // Timers do not wait for less than a millisecond; what is owed below that adds up.
    const owed = this.#paidAt - this.#clock.monotonic();
    return owed < 1 ? 0 : owed;
  }

  /** What a mebibyte costs now, ms: for merges and for a flush. */
  get #msPerMiB(): number {
    return paceMsPerMiB * this.#pressure ** 2 + this.#flush();
  }

  /** Waits once. */
  async wait(): Promise<void> {
    const ms = this.waitMs;
    if (ms === 0) return;
    this.#waitedMs += ms;
    await this.#clock.sleep(ms, undefined, true);
  }
}
