/** LEB128 varints for exact integers 0 .. 2^53-1 (1 to 8 bytes). Only the shortest form is accepted. */

/** Writes `value` at `at`; returns the position after it. */
export function writeVarint(out: Uint8Array, at: number, value: number): number {
  while (value >= 128) {
    if (value < 2 ** 31) {
      out[at++] = (value & 127) | 128;
      value >>>= 7;
    } else {
      out[at++] = (value % 128) | 128;
      value = Math.floor(value / 128);
    }
  }
  out[at++] = value;
  return at;
}

/** Bytes `writeVarint` takes for `value`. */
export function varintBytes(value: number): number {
  let n = 1;
  for (let rest = value; rest >= 128; n++) rest = rest < 2 ** 31 ? rest >>> 7 : Math.floor(rest / 128);
  return n;
}
