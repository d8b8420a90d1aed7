// FastCDC on a 64-bit gear hash: the search for the first cut (definition: fastcdc-reference.ts).
//
//      0  2048  gear table, 256 u64
//   4096   ...  window; positions are relative to it

const windowAt: usize = 4096;

// @ts-ignore: decorator
@inline
function absorb(h: u64, c: usize): u64 {
  return (h << 1) + load<u64>((<usize>load<u8>(c, windowAt)) << 3);
}

/** First c in [from, strictEnd) with a hash below `strict`, or in [strictEnd, end) below `loose`, else 0. */
export function scan(from: u32, strictEnd: u32, end: u32, strict: u32, loose: u32): u32 {
  let c: usize = from;
  let h: u64 = 0;
  for (let p: usize = c - 64; p < c; p += 4) {
    h = absorb(absorb(absorb(absorb(h, p), p + 1), p + 2), p + 3);
  }
  // The upper half of h is compared; h below threshold * 2^32 is the same test.
  let below: u64 = (<u64>strict) << 32;
  let stop: usize = min<u32>(strictEnd, end);
  for (let phase = 0; phase < 2; phase++) {
    while (c + 8 <= stop) {
      if (h < below) return <u32>c;
      h = absorb(h, c);
      if (h < below) return <u32>c + 1;
      h = absorb(h, c + 1);
      if (h < below) return <u32>c + 2;
      h = absorb(h, c + 2);
      if (h < below) return <u32>c + 3;
      h = absorb(h, c + 3);
      if (h < below) return <u32>c + 4;
      h = absorb(h, c + 4);
      if (h < below) return <u32>c + 5;
      h = absorb(h, c + 5);
      if (h < below) return <u32>c + 6;
      h = absorb(h, c + 6);
      if (h < below) return <u32>c + 7;
      h = absorb(h, c + 7);
      c += 8;
    }
    while (c < stop) {
      if (h < below) return <u32>c;
      h = absorb(h, c);
      c++;
    }
    below = (<u64>loose) << 32;
    stop = end;
  }
  return 0;
}
