/**
 * One file of the simulated disk: what programs see (cache), what a power cut leaves (durable), and what lies
 * between the two (pending).
 *
 * Invariants
 * - durable plus every pending change in order is the cache, until a sync has failed (sim-file.test: "syncs
 *   and power cuts …").
 * - After a failed sync the dropped bytes never become durable by themselves (memory-file-system.test: "a
 *   failed sync …").
 */
import { PagedBytes } from './paged-bytes.ts';

/** Power cuts tear writes at this grain, or at a coarser one that the disk was made with. */
export const sectorBytes = 512;

/** A change not yet durable. `seq` is the number of the operation that made it. */
export type PendingChange =
  | { readonly kind: 'write'; readonly seq: number; readonly pos: number; readonly bytes: Uint8Array }
  | { readonly kind: 'truncate'; readonly seq: number; readonly length: number };

/** What a failed sync does to the bytes it did not write. */
export type LostBytes =
  /** Never durable; the cache still shows them (ext4, xfs, btrfs as measured). */
  | 'dropped'
  /** Never durable; the cache shows the durable bytes again. */
  | 'reverted'
  /**
   * What of their range was newly allocated reads as zeros after a power cut, whatever is written and synced
   * there later (ext4: the extents stay unwritten); what overwrites durable bytes is dropped.
   */
  | 'zeroed';

export class SimFile {
  readonly id: number;
  /** Path it was last given, for messages. */
  label: string;
  cache: PagedBytes = new PagedBytes();
  durable: PagedBytes = new PagedBytes();
  pending: PendingChange[] = [];
  /** Open handles. */
  handles = 0;
  /** Names and open handles that keep it alive. */
  refs = 0;
  mtime = 0;
  /** A failed sync that its own handle was not told of: the next sync through another one is. */
  untold: { readonly errno: string; readonly except: object } | undefined;
  /** Pairs from, to. */
  #zeroed: number[] = [];

  constructor(id: number, label: string) {
    this.id = id;
    this.label = label;
  }

  /** Copies `bytes` into the cache. */
  write(bytes: Uint8Array, pos: number, seq: number): void {
    this.cache.write(bytes, pos);
    this.pending.push({ kind: 'write', seq, pos, bytes: bytes.slice() });
    this.mtime = seq;
  }

  truncate(length: number, seq: number): void {
    this.cache.truncate(length);
    this.pending.push({ kind: 'truncate', seq, length });
    this.mtime = seq;
  }

  /** Makes every change numbered below `before` durable. */
  commit(before = Number.POSITIVE_INFINITY): void {
    let n = 0;
    while (n < this.pending.length && this.pending[n]!.seq < before)
      applyChange(this.durable, this.pending[n++]!);
    this.pending = n === this.pending.length ? [] : this.pending.slice(n);
    this.#applyZeroed(this.durable);
  }

  /** Makes every change durable but the end a truncation cut off: a smaller size is not needed to read. */
  commitData(seq: number): void {
    const size = this.cache.size;
    const tail = this.durable.copy(size, this.durable.size);
    this.commit();
    if (tail.length === 0) return;
    this.durable.write(tail, size);
    this.pending.push({ kind: 'truncate', seq, length: size });
  }

  /** A sync that failed. */
  lose(how: LostBytes): void {
    if (how === 'reverted') this.cache = this.durable.fork();
    if (how === 'zeroed') {
      for (const change of this.pending) {
        if (change.kind !== 'write') continue;
        const end = change.pos + change.bytes.length;
        const from = Math.max(change.pos, this.durable.size);
        if (from < end) this.#zeroed.push(from, end);
      }
    }
    this.pending = [];
  }

  /**
   * What the disk holds when the pending changes for which `keep` answers true survive; for a write, `keep`
   * may answer per sector of `grain` bytes of the file that the write touches (0 is the first).
   */
  survive(
    keep: (change: PendingChange) => boolean | ((sector: number) => boolean),
    grain: number = sectorBytes,
  ): PagedBytes {
    const bytes = this.durable.fork();
    for (const change of this.pending) {
      const verdict = keep(change);
      if (verdict === true) applyChange(bytes, change);
      else if (verdict !== false && change.kind === 'write') applySectors(bytes, change, verdict, grain);
    }
    this.#applyZeroed(bytes);
    return bytes;
  }

  /** An independent copy. */
  fork(): SimFile {
    const other = new SimFile(this.id, this.label);
    other.cache = this.cache.fork();
    other.durable = this.durable.fork();
    other.pending = this.pending.slice();
    other.mtime = this.mtime;
    other.#zeroed = this.#zeroed.slice();
    return other;
  }

  /** The file after a power cut that left `bytes` (taken). */
  rebooted(bytes: PagedBytes): SimFile {
    const other = new SimFile(this.id, this.label);
    other.durable = bytes;
    other.cache = bytes.fork();
    other.mtime = this.mtime;
    other.#zeroed = this.#zeroed.slice();
    return other;
  }

  #applyZeroed(bytes: PagedBytes): void {
    for (let i = 0; i < this.#zeroed.length; i += 2) bytes.zero(this.#zeroed[i]!, this.#zeroed[i + 1]!);
  }
}

/** Sectors of the file that a write touches. */
export function sectorCount(pos: number, length: number, grain: number = sectorBytes): number {
  if (length === 0) return 0;
  return Math.floor((pos + length - 1) / grain) - Math.floor(pos / grain) + 1;
}

function applyChange(bytes: PagedBytes, change: PendingChange): void {
  if (change.kind === 'write') bytes.write(change.bytes, change.pos);
  else bytes.truncate(change.length);
}

function applySectors(
  bytes: PagedBytes,
  write: { readonly pos: number; readonly bytes: Uint8Array },
  keep: (sector: number) => boolean,
  grain: number,
): void {
  const first = Math.floor(write.pos / grain);
  const end = write.pos + write.bytes.length;
  const count = sectorCount(write.pos, write.bytes.length, grain);
  for (let i = 0; i < count; i++) {
    if (!keep(i)) continue;
    const from = Math.max(write.pos, (first + i) * grain);
    const to = Math.min(end, (first + i + 1) * grain);
    bytes.write(write.bytes.subarray(from - write.pos, to - write.pos), from);
  }
}
