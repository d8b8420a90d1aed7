/**
 * Copies out of memory that threads share.
 *
 * V8 copies such memory word by word only where source and target lie alike within a word, and else byte by
 * byte, which takes six times as long: chunks begin anywhere.
 */

const wordBytes = 8;
/** What `copyShared` may write over. */
const before = new Uint8Array(wordBytes);

/**
 * `to.set(from[start..end), at)` by the shortest way. Where the source is shared the eight bytes of `to` in
 * front of `at` (which is at least 8) are written too: fill those afterwards.
 */
export function copyShared(to: Uint8Array, at: number, from: Uint8Array, start: number, end: number): void {
  const apart = (from.byteOffset + start - to.byteOffset - at) & (wordBytes - 1);
  const isShared = typeof SharedArrayBuffer !== 'undefined' && from.buffer instanceof SharedArrayBuffer;
  if (!isShared || apart === 0 || start < apart || at < wordBytes) {
    to.set(start === 0 && end === from.length ? from : from.subarray(start, end), at);
    return;
  }
  // Words to words, a little before their place, then as ordinary memory into it.
  const near = at - wordBytes;
  to.set(from.subarray(start - apart, end), near);
  to.copyWithin(at, near + apart, near + apart + end - start);
}

/** The same, where everything before `at` is to stay. */
export function copyBehind(to: Uint8Array, at: number, from: Uint8Array, start: number, end: number): void {
  const kept = Math.max(0, at - before.length);
  for (let i = kept; i < at; i++) before[i - kept] = to[i]!;
  copyShared(to, at, from, start, end);
  for (let i = kept; i < at; i++) to[i] = before[i - kept]!;
}
