/**
 * Speed of the chunkers and of SHA-256, alone and together, on 128 MiB of random bytes in memory.
 * `node dist/bench/micro-chunker.js [rounds]` prints median, least and most MB/s (10^6 bytes) of the rounds.
 */
import { MiB } from '../src/base/limits.ts';
import { Prng } from '../src/base/prng.ts';
import { createChunker, type StreamChunker } from '../src/kernels/chunker/chunker.ts';
import { type ChunkerAlgorithm, solveParams } from '../src/kernels/chunker/params.ts';
import { setSha256, sha256Into } from '../src/kernels/hash/sha256.ts';
import { nodeSha256 } from '../src/kernels/hash/sha256-node.ts';

const inputBytes = 128 * MiB;
const writeBytes = 256 * 1024;
const digests = new Uint8Array(32);

/** Streams `input` through `chunker` in writes of 256 KiB and calls `onChunk` for each chunk. */
function stream(
  chunker: StreamChunker,
  input: Uint8Array,
  onChunk: (window: Uint8Array, from: number, to: number) => void,
): void {
  chunker.reset();
  let taken = 0;
  while (taken < input.length) {
    taken += chunker.write(input.subarray(0, Math.min(input.length, taken + writeBytes)), taken);
    const atEnd = taken === input.length;
    for (let n = chunker.next(atEnd); n > 0; n = chunker.next(atEnd)) {
      onChunk(chunker.buffer, chunker.start, chunker.start + n);
      chunker.consume();
    }
  }
}

function measure(name: string, rounds: number, run: () => void): void {
  const rates: number[] = [];
  run();
  for (let round = 0; round < rounds; round++) {
    const began = performance.now();
    run();
    rates.push(inputBytes / (performance.now() - began) / 1000);
  }
  rates.sort((a, b) => a - b);
  const [median, least, most] = [rates[rates.length >> 1]!, rates[0]!, rates.at(-1)!].map(Math.round);
  console.log(`${name.padEnd(36)} ${median} MB/s (${least} to ${most})`);
}

const rounds = Number(process.argv[2] ?? 5);
setSha256(nodeSha256);
const input = new Prng(1).bytes(inputBytes);
const hash = (window: Uint8Array, from: number, to: number): void => sha256Into(window, from, to, digests, 0);

measure('copy, pieces of 256 KiB', rounds, () => {
  const target = new Uint8Array(writeBytes);
  for (let at = 0; at < input.length; at += writeBytes) target.set(input.subarray(at, at + writeBytes));
});
measure('sha-256, pieces of 16 KiB', rounds, () => {
  for (let at = 0; at < input.length; at += 16_384) hash(input, at, at + 16_384);
});
for (const algorithm of ['fastcdc', 'sieve'] satisfies ChunkerAlgorithm[]) {
  const params = solveParams({ algorithm, min: 4096, avg: 16_384, max: 65_536 });
  const chunker = createChunker(params);
  measure(`${algorithm} (${chunker.kind}), with the copy`, rounds, () =>
    stream(chunker, input, () => undefined),
  );
  measure(`${algorithm} and sha-256`, rounds, () => stream(chunker, input, hash));
}
