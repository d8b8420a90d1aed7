/** The machine around a simulated disk: operations counted and recorded, faults injected, power lost. */
import { assert } from '../base/assert.ts';
import { fsError } from './fs-errors.ts';
import type { LostBytes } from './sim-file.ts';

/** Operations that change something, or make something durable: each is a point to crash at. */
export type MutatingKind =
  | 'create'
  | 'write'
  | 'truncate'
  | 'sync'
  | 'dataSync'
  | 'mkdir'
  | 'rename'
  | 'link'
  | 'unlink'
  | 'rmdir'
  | 'syncDir';

export type ReadingKind = 'open' | 'read' | 'size' | 'list' | 'stat' | 'free' | 'close';

export interface FsOp {
  readonly kind: MutatingKind | ReadingKind;
  readonly path: string;
  /**
   * Number of the operation among the mutating ones, from 0; for a reading one, that of the next mutating.
   */
  readonly index: number;
  /** Offset and length of a read or write; target of a rename in `to`. */
  readonly pos?: number;
  readonly length?: number;
  readonly to?: string;
}

/** 'crash': the machine goes off before the operation. Otherwise the operation fails with `errno`. */
export type FsFault =
  | 'crash'
  | {
      readonly errno: string;
      /** Of a write: this many bytes reach the cache before it fails. */
      readonly written?: number;
      /** Of a sync: what becomes of the bytes it should have written; 'dropped' by default. */
      readonly lost?: LostBytes;
      /**
       * Of a sync: it answers with success all the same, and the next sync of the file through another handle
       * fails instead of it (Linux tells each error to one descriptor).
       */
      readonly elsewhere?: boolean;
    }
  | FsLie;

/**
 * The operation answers with success and was not done as asked.
 * 'lost': a write that the cache shows and that never becomes durable; a sync that makes nothing durable.
 * 'misdirected': a read or write of the same length at `pos`.
 * 'stale': a read of what was durable, not of what was written since.
 * 'short': a read that ends after `length` bytes although the file goes on.
 * 'rot': a read with bit `bit` of the buffer inverted (0 is the lowest of byte 0).
 */
export type FsLie =
  | { readonly lie: 'lost' }
  | { readonly lie: 'misdirected'; readonly pos: number }
  | { readonly lie: 'stale' }
  | { readonly lie: 'short'; readonly length: number }
  | { readonly lie: 'rot'; readonly bit: number };

export type FaultHook = (op: FsOp) => FsFault | undefined;

/**
 * Thrown by every call on a simulated disk whose machine is off. Not an engine error: nobody is left to see
 * it.
 */
export class CrashNow extends Error {
  override readonly name: string = 'CrashNow';

  constructor(path: string) {
    super(`simulated power cut (at ${path === '' ? '.' : path})`);
  }
}

export type ErrnoFault = Exclude<FsFault, 'crash' | FsLie>;
/** A fault that the caller acts out. */
export type ActedFault = ErrnoFault | FsLie;

/** Counts, records and fails operations. */
export class SimMachine {
  /** Every mutating operation so far, faulty ones included. */
  readonly trace: FsOp[] = [];
  /** Asked before each operation; undefined lets it happen. */
  faults: FaultHook | undefined;
  /** Awaited before each asynchronous operation takes effect: a seeded scheduler puts them in its order. */
  schedule: ((op: FsOp) => Promise<void> | undefined) | undefined;
  /** Awaited after a sync of a file took effect, before its caller is told: writes go on meanwhile. */
  answer: (() => Promise<void>) | undefined;
  off = false;
  readonly #planned = new Map<number, FsFault>();

  /** The mutating operation with this index fails. */
  failAt(index: number, fault: FsFault): void {
    this.#planned.set(index, fault);
  }

  /**
   * Counts a mutating operation. Throws CrashNow when the machine is off or goes off; returns the fault
   * when there is one that the caller has to act out.
   */
  mutate(
    kind: MutatingKind,
    path: string,
    more: { pos?: number; length?: number; to?: string } = {},
  ): ActedFault | undefined {
    if (this.off) throw new CrashNow(path);
    const op: FsOp = { kind, path, index: this.trace.length, ...more };
    this.trace.push(op);
    const fault = this.#planned.get(op.index) ?? this.faults?.(op);
    return this.#act(fault, path);
  }

  /** Same as `mutate` for operations that change nothing; throws an error, returns the lie of a read. */
  look(kind: ReadingKind, path: string, pos?: number, length?: number): FsLie | undefined {
    if (this.off) throw new CrashNow(path);
    if (this.faults === undefined) return undefined;
    const op: FsOp = { kind, path, index: this.trace.length, ...(pos === undefined ? {} : { pos, length }) };
    const fault = this.#act(this.faults(op), path);
    if (fault === undefined) return undefined;
    if (!('lie' in fault)) throw fsError(fault.errno, `${kind} failed`, path);
    assert(kind === 'read', 'only reads, writes and syncs lie');
    return fault;
  }

  /** Throws the fault of an operation that leaves nothing half done. */
  mutateOrThrow(kind: MutatingKind, path: string, to?: string): number {
    const seq = this.trace.length;
    const fault = this.mutate(kind, path, to === undefined ? {} : { to });
    if (fault === undefined) return seq;
    assert(!('lie' in fault), 'only reads, writes and syncs lie');
    throw fsError(fault.errno, `${kind} failed`, path);
  }

  #act(fault: FsFault | undefined, path: string): ActedFault | undefined {
    if (fault !== 'crash') return fault;
    this.off = true;
    throw new CrashNow(path);
  }
}
