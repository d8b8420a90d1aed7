/**
 * The changes a frame of the log makes to the keys of one space, commit by commit: what a feed shows of it.
 * Positions are kept, not objects, so a frame of any size costs a few numbers for each change.
 *
 * A space has one number at a time; a name that was dropped and used again has had several. The rows that say
 * so are in the log too, before the first key and with the drop.
 *
 * Invariants (test/engine/changes.test.ts)
 * - Within a commit range deletes come first, since they hide what was there before it, then keys in order
 *   ("changes of a commit come in key order").
 * - What the engine does by itself later, late deletes and purges, is no change.
 */
import type { Seq } from '../../base/brands.ts';
import { compareRange, equalBytes, startsWith } from '../../base/bytes.ts';
import { boundsOf, spaceOf } from '../../format/internal-key.ts';
import { frameTypes } from '../../format/log-frame.ts';
import { type OpVisitor, visitOps } from '../../format/log-ops.ts';
import {
  decodeRangeRow,
  decodeSpaceRow,
  isRangeKey,
  spaceKey,
  spaceNameOf,
  spacePrefix,
} from '../../format/system-rows.ts';
import { type TreeId, trees } from '../../format/trees.ts';
import type { TailFrame } from '../../log/log-tail.ts';

/** In the place of a name: every space. */
export const everySpace: unique symbol = Symbol('every space');

/** What is looked for. */
export interface FrameFilter {
  /** Name of the space; undefined: the store's own keys; `everySpace`: all of them. */
  readonly space: string | undefined | typeof everySpace;
  /** Keys begin with it. */
  readonly prefix: Uint8Array;
  /** Commits up to this number do not count. */
  readonly since: Seq;
}

/** One change, as positions in the frame. */
export interface FramedChange {
  readonly seq: Seq;
  readonly space: number;
  readonly kind: 'put' | 'delete' | 'deleteRange';
  /** Row prefix; of a range its lower bound. */
  readonly keyFrom: number;
  readonly keyTo: number;
  /** Value record; of a range the row. */
  readonly valueFrom: number;
  readonly valueTo: number;
}

const kinds = { put: 0, delete: 1, deleteRange: 2 } as const;
const kindNames = ['put', 'delete', 'deleteRange'] as const;
const columns = 6;

/** Collects the changes of one frame at a time; knows the space's number from what it has seen. */
export class ChangeFrame implements OpVisitor {
  readonly #filter: FrameFilter;
  readonly #nameKey: Uint8Array | undefined;
  /** Undefined: there is no such space at this point of the log. */
  #space: number | undefined;
  readonly #bounds = new Map<number, { from: Uint8Array; to: Uint8Array | undefined }>();
  /** Names of spaces that are made in what was read. */
  readonly names = new Map<number, string>();
  #isDropping = false;
  #isDue = false;
  #seq: Seq = 0;
  #buf: Uint8Array = new Uint8Array(0);
  /** kind, space, keyFrom, keyTo, valueFrom, valueTo of each change; commits end where `#ends` says. */
  #rows: number[] = [];
  #ends: { readonly seq: Seq; readonly to: number }[] = [];
  // Of what readers see of keys these say nothing.
  readonly chunk = nothing;
  readonly move = nothing;
  readonly trash = nothing;
  readonly purge = nothing;
  readonly listDrop = nothing;

  /** `space`: the number at the point where the reading begins. */
  constructor(filter: FrameFilter, space: number | undefined) {
    this.#filter = filter;
    this.#nameKey = typeof filter.space === 'string' ? spaceKey(filter.space) : undefined;
    this.#space = space;
  }

  /** Takes a frame (borrowed while its changes are used) and returns its changes, commit by commit. */
  *changesOf(frame: TailFrame): Generator<readonly FramedChange[]> {
    if (frame.type !== frameTypes.batch) return;
    const { buf, payloadFrom, payloadTo, seqFirst, count, path, at } = frame;
    this.#buf = buf;
    this.#rows = [];
    this.#ends = [];
    visitOps(buf, payloadFrom, payloadTo, seqFirst, count, this, { file: path, offset: at });
    this.#endCommit();
    let from = 0;
    for (const { seq, to } of this.#ends) {
      yield this.#sorted(seq, from, to);
      from = to;
    }
  }

  txn(seq: Seq): void {
    this.#endCommit();
    this.#seq = seq;
    this.#isDue = seq > this.#filter.since;
  }

  put(
    tree: TreeId,
    _seq: Seq,
    _buf: Uint8Array,
    keyFrom: number,
    keyTo: number,
    valueFrom: number,
    valueTo: number,
  ): void {
    if (tree === trees.K) this.#note(kinds.put, keyFrom, keyTo, valueFrom, valueTo);
  }

  del(tree: TreeId, _seq: Seq, _buf: Uint8Array, keyFrom: number, keyTo: number, covering: Seq): void {
    if (tree === trees.K && covering === 0) this.#note(kinds.delete, keyFrom, keyTo, 0, 0);
  }

  sys(_seq: Seq, buf: Uint8Array, keyFrom: number, keyTo: number, valueFrom: number, valueTo: number): void {
    const key = buf.subarray(keyFrom, keyTo);
    if (isRangeKey(key)) {
      if (valueTo >= 0) this.#range(key, keyFrom, keyTo, valueFrom, valueTo);
      return;
    }
    if (!startsWith(key, spacePrefix)) return;
    if (this.#filter.space === everySpace && valueTo >= 0) {
      const { name, number } = decodeSpaceRow(key, buf.subarray(valueFrom, valueTo));
      this.names.set(number, name);
    }
    if (this.#nameKey === undefined || !equalBytes(key, this.#nameKey)) return;
    if (valueTo < 0) this.#isDropping = true;
    else this.#space = decodeSpaceRow(key, buf.subarray(valueFrom, valueTo)).number;
  }

  /** What is looked for in the space; undefined: nothing. */
  #boundsIn(space: number): { from: Uint8Array; to: Uint8Array | undefined } | undefined {
    const isEvery = this.#filter.space === everySpace;
    // A space without a name has nothing: a range deleted in it is no change.
    const isAsked = isEvery ? space === 0 || this.names.has(space) : space === this.#space;
    if (!this.#isDue || !isAsked) return undefined;
    const known = this.#bounds.get(space);
    if (known !== undefined) return known;
    const bounds = boundsOf({ prefix: this.#filter.prefix }, space);
    this.#bounds.set(space, bounds);
    return bounds;
  }

  #range(key: Uint8Array, keyFrom: number, keyTo: number, valueFrom: number, valueTo: number): void {
    const { from, to } = decodeRangeRow(key, this.#buf.subarray(valueFrom, valueTo));
    const space = spaceOf(from, 0);
    const own = this.#boundsIn(space);
    if (own === undefined) return;
    const endsBefore = to !== undefined && compareRange(to, 0, to.length, own.from, 0, own.from.length) <= 0;
    const isBehind =
      own.to !== undefined && compareRange(own.to, 0, own.to.length, from, 0, from.length) <= 0;
    if (endsBefore || isBehind) return;
    this.#rows.push(kinds.deleteRange, space, keyFrom, keyTo, valueFrom, valueTo);
  }

  #note(kind: number, keyFrom: number, keyTo: number, valueFrom: number, valueTo: number): void {
    const space = spaceOf(this.#buf, keyFrom);
    const own = this.#boundsIn(space);
    if (own === undefined) return;
    if (compareRange(this.#buf, keyFrom, keyTo, own.from, 0, own.from.length) < 0) return;
    const { to } = own;
    if (to !== undefined && compareRange(this.#buf, keyFrom, keyTo, to, 0, to.length) >= 0) return;
    this.#rows.push(kind, space, keyFrom, keyTo, valueFrom, valueTo);
  }

  #endCommit(): void {
    if (this.#isDropping) this.#space = undefined;
    this.#isDropping = false;
    if (this.#rows.length > (this.#ends.at(-1)?.to ?? 0)) {
      this.#ends.push({ seq: this.#seq, to: this.#rows.length });
    }
  }

  #sorted(seq: Seq, from: number, to: number): FramedChange[] {
    const changes: FramedChange[] = [];
    for (let at = from; at < to; at += columns) {
      const [kind, space, keyFrom, keyTo, valueFrom, valueTo] = this.#rows.slice(at, at + columns);
      changes.push({
        seq,
        kind: kindNames[kind!]!,
        space: space!,
        keyFrom: keyFrom!,
        keyTo: keyTo!,
        valueFrom: valueFrom!,
        valueTo: valueTo!,
      });
    }
    const isRange = ({ kind }: FramedChange): number => (kind === 'deleteRange' ? 0 : 1);
    const buf = this.#buf;
    return changes.sort(
      (a, b) => isRange(a) - isRange(b) || compareRange(buf, a.keyFrom, a.keyTo, buf, b.keyFrom, b.keyTo),
    );
  }
}

/** Meets the system rows of frames, and nothing else of them. */
abstract class SystemVisitor implements OpVisitor {
  readonly put = nothing;
  readonly del = nothing;
  readonly chunk = nothing;
  readonly move = nothing;
  readonly trash = nothing;
  readonly purge = nothing;
  readonly listDrop = nothing;

  look({ type, buf, payloadFrom, payloadTo, seqFirst, count, path, at }: TailFrame): void {
    if (type !== frameTypes.batch) return;
    visitOps(buf, payloadFrom, payloadTo, seqFirst, count, this, { file: path, offset: at });
  }

  abstract sys(
    seq: Seq,
    buf: Uint8Array,
    keyFrom: number,
    keyTo: number,
    valueFrom: number,
    valueTo: number,
  ): void;
}

/** Looks for the first row in a frame that says what number a space has, or had. */
export class SpaceFinder extends SystemVisitor {
  readonly #key: Uint8Array;
  /** Undefined until one is found; `number` undefined: the space was made here, so before there was none. */
  found: { readonly number: number | undefined } | undefined;
  #isDropping = false;
  readonly #since: Seq;

  constructor(name: string, since: Seq) {
    super();
    this.#key = spaceKey(name);
    this.#since = since;
  }

  sys(seq: Seq, buf: Uint8Array, keyFrom: number, keyTo: number, valueFrom: number, valueTo: number): void {
    if (this.found !== undefined || seq <= this.#since) return;
    const key = buf.subarray(keyFrom, keyTo);
    if (equalBytes(key, this.#key)) {
      if (valueTo >= 0) this.found = { number: undefined };
      else this.#isDropping = true;
    } else if (this.#isDropping && valueTo >= 0 && isRangeKey(key)) {
      // The drop deletes all keys of the space it drops.
      this.found = { number: spaceOf(decodeRangeRow(key, buf.subarray(valueFrom, valueTo)).from, 0) };
    }
  }
}

/**
 * Collects the names of spaces that are dropped, by their numbers, and the numbers of those that are made.
 */
export class DroppedNames extends SystemVisitor {
  readonly names = new Map<number, string>();
  readonly made = new Set<number>();
  #dropping: string | undefined;

  txn(): void {
    this.#dropping = undefined;
  }

  sys(_seq: Seq, buf: Uint8Array, keyFrom: number, keyTo: number, valueFrom: number, valueTo: number): void {
    const key = buf.subarray(keyFrom, keyTo);
    if (startsWith(key, spacePrefix)) {
      if (valueTo < 0) this.#dropping = spaceNameOf(key);
      else this.made.add(decodeSpaceRow(key, buf.subarray(valueFrom, valueTo)).number);
    } else if (valueTo >= 0 && this.#dropping !== undefined && isRangeKey(key)) {
      // The drop deletes all keys of the space it drops.
      const { from } = decodeRangeRow(key, buf.subarray(valueFrom, valueTo));
      this.names.set(spaceOf(from, 0), this.#dropping);
    }
  }
}

const nothing = (): void => undefined;
