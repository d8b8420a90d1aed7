/** The result of a lookup in an ordered tree: one object, reused for any number of lookups. */
import { emptyBytes } from '../base/bytes.ts';
import { seqBytes, writeSeq } from '../format/internal-key.ts';
import { rowKindAt } from '../format/row-kinds.ts';
import { BlockHold } from './block-hold.ts';

/** A found row: value = bytes[valueFrom..valueTo), borrowed until the next lookup with this object. */
export class RowRef {
  bytes: Uint8Array = emptyBytes;
  valueFrom = 0;
  valueTo = 0;
  /** Sequence number in the row's key. */
  seq = 0;
  /** The block of the table the row was found in; of no meaning for a row in memory. */
  block = 0;
  /** After MISS: `load` or `loadSync` it, then repeat the same lookup. */
  readonly pending: BlockHold;
  /** Scratch of the lookup: the sought key, target[0..targetTo). */
  target: Uint8Array = new Uint8Array(256);
  targetTo = 0;

  /** `borrows`: for readers, see BlockCache. */
  constructor(borrows = false) {
    this.pending = new BlockHold(borrows);
  }

  /** Kind of the row (format/row-kinds.ts); 0 when its value is empty. */
  get kind(): number {
    return this.valueFrom < this.valueTo ? rowKindAt(this.bytes, this.valueFrom) : 0;
  }

  /**
   * The scratch with room for a row prefix of `bytes`: write it at its start, then look it up from there. Its
   * content before is lost.
   */
  scratch(bytes: number): Uint8Array {
    if (bytes + seqBytes > this.target.length) this.target = new Uint8Array(2 * (bytes + seqBytes));
    return this.target;
  }

  /** Sets the sought key: prefixBuf[from..to), which may lie in the scratch, and the inverted `seqMax`. */
  aim(prefixBuf: Uint8Array, from: number, to: number, seqMax: number): void {
    const length = to - from;
    const target = this.scratch(length);
    if (prefixBuf !== target || from !== 0) {
      for (let i = 0; i < length; i++) target[i] = prefixBuf[from + i]!;
    }
    writeSeq(target, length, seqMax);
    this.targetTo = length + seqBytes;
  }
}
