/** Order of fixed-size entries by a leading id, without moving them. */
import { compareRange, i32be } from '../base/bytes.ts';
import { pagedWords } from '../base/own-pages.ts';

const digitBits = 11;
const digits = 2 ** digitBits;

/**
 * Slots 0 .. n-1 in unsigned byte order of their ids, which begin every `stride` bytes of `bytes` (borrowed)
 * and are at least 4 long. Ids should be evenly spread (digests): a radix sort on the first 4 bytes, then
 * comparisons within the few groups that share them. Needs 16 B per slot while it runs.
 */
export function sortSlots(bytes: Uint8Array, stride: number, idBytes: number, n: number): Uint32Array {
  let words = pagedWords(n);
  let slots = pagedWords(n);
  for (let slot = 0, at = 0; slot < n; slot++, at += stride) {
    words[slot] = i32be(bytes, at);
    slots[slot] = slot;
  }
  let otherWords = pagedWords(n);
  let otherSlots = pagedWords(n);
  for (let shift = 0; shift < 32; shift += digitBits) {
    distribute(words, slots, otherWords, otherSlots, shift);
    [words, otherWords] = [otherWords, words];
    [slots, otherSlots] = [otherSlots, slots];
  }
  for (let from = 0; from < n; ) {
    let to = from + 1;
    while (to < n && words[to] === words[from]) to++;
    if (to - from > 1) {
      slots.subarray(from, to).sort((a, b) => {
        const aAt = a * stride;
        const bAt = b * stride;
        return compareRange(bytes, aAt, aAt + idBytes, bytes, bAt, bAt + idBytes);
      });
    }
    from = to;
  }
  return slots;
}

/** One stable counting pass on the digit at `shift`. */
function distribute(
  words: Uint32Array,
  slots: Uint32Array,
  toWords: Uint32Array,
  toSlots: Uint32Array,
  shift: number,
): void {
  const starts = new Uint32Array(digits);
  for (let i = 0; i < words.length; i++) starts[(words[i]! >>> shift) & (digits - 1)]!++;
  let start = 0;
  for (let digit = 0; digit < digits; digit++) {
    const size = starts[digit]!;
    starts[digit] = start;
    start += size;
  }
  for (let i = 0; i < words.length; i++) {
    const to = starts[(words[i]! >>> shift) & (digits - 1)]!++;
    toWords[to] = words[i]!;
    toSlots[to] = slots[i]!;
  }
}
