// sieve-1: the search for the first cut, 32 positions at a time (definition: sieve-reference.ts).
//
//      0  64   CK, 16 u32
//   4096  ...  window; positions are relative to it

const windowAt: usize = 4096;

// @ts-ignore: decorator
@inline
function sumOfProducts(c: usize): u32 {
  // The window of position c starts at c - 64; the constant offset makes up for it.
  const a = i32x4.mul(v128.load(c, windowAt - 64), v128.load(0, 0));
  const b = i32x4.mul(v128.load(c, windowAt - 48), v128.load(0, 16));
  const d = i32x4.mul(v128.load(c, windowAt - 32), v128.load(0, 32));
  const e = i32x4.mul(v128.load(c, windowAt - 16), v128.load(0, 48));
  const s = i32x4.add(i32x4.add(a, b), i32x4.add(d, e));
  return (
    i32x4.extract_lane(s, 0) + i32x4.extract_lane(s, 1) + i32x4.extract_lane(s, 2) + i32x4.extract_lane(s, 3)
  );
}

// @ts-ignore: decorator
@inline
function confirm(c: usize): u32 {
  let a = sumOfProducts(c);
  a ^= a >> 15;
  a *= 0x85ebca6b;
  a ^= a >> 13;
  a *= 0xc2b2ae35;
  a ^= a >> 16;
  return a;
}

// m of the 16 byte positions from p on: even lanes come from the pairs that start one byte earlier.
// @ts-ignore: decorator
@inline
function bytesOf(p: usize, k: v128): v128 {
  const even = v128.load(p, windowAt - 1);
  const odd = v128.load(p, windowAt);
  const evenProduct = i16x8.mul(even, i16x8.add(even, k));
  const oddProduct = i16x8.mul(odd, i16x8.add(odd, k));
  return v128.or(i16x8.shr_u(evenProduct, 8), v128.and(oddProduct, i16x8.splat(<i16>0xff00)));
}

// @ts-ignore: decorator
@inline
function second(m: v128, before: v128): v128 {
  const back2 = i8x16.shuffle(before, m, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29);
  return i8x16.sub(m, back2);
}

// @ts-ignore: decorator
@inline
function third(s2: v128, before: v128): v128 {
  const back4 = i8x16.shuffle(before, s2, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27);
  return v128.xor(s2, i8x16.add(back4, back4));
}

// @ts-ignore: decorator
@inline
function hits(s3: v128, before: v128, filterKey: v128): v128 {
  const back8 = i8x16.shuffle(before, s3, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23);
  return i8x16.eq(i8x16.sub(s3, back8), filterKey);
}

/** First c in [from, strictEnd) with a hash below `strict`, or in [strictEnd, end) below `loose`, else 0. */
export function scan(
  from: u32, strictEnd: u32, end: u32, strict: u32, loose: u32, k: u32, filterKey: u32,
): u32 {
  const ks = i16x8.splat(<i16>k);
  const fk = i8x16.splat(<i8>filterKey);
  // Position c is decided at byte c - 1. The filter reaches back 15 bytes, so one vector warms it up.
  let p: usize = <usize>from - 1;
  let m = bytesOf(p - 16, ks);
  let s2 = second(m, i8x16.splat(0));
  let s3 = third(s2, i8x16.splat(0));
  while (p + 1 < <usize>end) {
    const m1 = bytesOf(p, ks);
    const t2 = second(m1, m);
    const t3 = third(t2, s2);
    const hit1 = hits(t3, s3, fk);
    m = bytesOf(p + 16, ks);
    s2 = second(m, m1);
    s3 = third(s2, t2);
    const hit2 = hits(s3, t3, fk);
    if (v128.any_true(v128.or(hit1, hit2))) {
      let mask: u32 = <u32>i8x16.bitmask(hit1) | ((<u32>i8x16.bitmask(hit2)) << 16);
      while (mask != 0) {
        const c: usize = p + 1 + ctz<u32>(mask);
        if (c >= <usize>end) return 0;
        if (confirm(c) < select<u32>(strict, loose, c < <usize>strictEnd)) return <u32>c;
        mask &= mask - 1;
      }
    }
    p += 32;
  }
  return 0;
}
