/**
 * One large value in and out as streams, with the peak memory of the process:
 *
 *     node dist/bench/stream.js [--gib 2] [--json]
 *
 * The value is random bytes made as they are asked for (so nothing deduplicates), durable when put resolves;
 * what comes out is compared piece by piece. The time to make the bytes is measured apart and taken off. Peak
 * memory is the kernel's high-water mark of the process.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Prng } from '../src/base/prng.ts';
import { openEngine } from '../src/index.ts';
import { countOf, optionsOf } from './tools/command-line.ts';
import { report } from './tools/rounds.ts';

const pieceBytes = 1024 * 1024;

/** The same bytes for the same length, one buffer that is changed from piece to piece. */
class Source {
  readonly #bytes = new Prng(1).bytes(pieceBytes);
  readonly #words = new Uint32Array(this.#bytes.buffer);
  #at = 0;

  /** The next piece, borrowed until the next call. */
  next(): Uint8Array {
    const add = Math.imul(++this.#at, 0x9e3779b1) | 1;
    const words = this.#words;
    for (let i = 0; i < words.length; i++)
      words[i] = Math.imul(words[i]! + add, 0x85ebca6b) ^ (words[i]! >>> 13);
    return this.#bytes;
  }
}

async function* pieces(count: number): AsyncGenerator<Uint8Array> {
  const source = new Source();
  for (let i = 0; i < count; i++) yield source.next();
}

function secondsToMake(count: number): number {
  const source = new Source();
  const began = performance.now();
  for (let i = 0; i < count; i++) source.next();
  return (performance.now() - began) / 1000;
}

/** Compares `bytes` with the source from where the last call ended. */
class Comparison {
  readonly #source = new Source();
  #piece: Uint8Array = new Uint8Array(0);
  #used = 0;

  take(bytes: Uint8Array): void {
    for (let at = 0; at < bytes.length; ) {
      if (this.#used === this.#piece.length) {
        this.#piece = this.#source.next();
        this.#used = 0;
      }
      const n = Math.min(bytes.length - at, this.#piece.length - this.#used);
      const same = Buffer.compare(
        bytes.subarray(at, at + n),
        this.#piece.subarray(this.#used, this.#used + n),
      );
      if (same !== 0) throw new Error('the value read back differs');
      at += n;
      this.#used += n;
    }
  }
}

const usage = `One large value in and out as streams, with the peak memory of the process.

  --gib N   size of the value (2)
  --json    one line of JSON
  --help    this text`;

async function main(): Promise<void> {
  const { gib, json } = optionsOf(
    usage,
    { gib: { type: 'string', default: '2' }, json: { type: 'boolean', default: false } },
    (values) => ({ gib: countOf('gib', values.gib), json: values.json }),
  );
  const count = gib * 1024;
  const bytes = count * pieceBytes;
  const dir = mkdtempSync(join(tmpdir(), 'varve-stream-'));
  try {
    const making = secondsToMake(count);
    const engine = await openEngine(dir);
    let began = performance.now();
    const put = await engine.put('value', pieces(count));
    const inSeconds = (performance.now() - began) / 1000 - making;
    const comparison = new Comparison();
    let read = 0;
    began = performance.now();
    for await (const piece of engine.stream('value')) {
      comparison.take(piece);
      read += piece.length;
    }
    const outSeconds = (performance.now() - began) / 1000 - making;
    if (read !== bytes) throw new Error(`read ${read} of ${bytes} bytes`);
    await engine.close();
    const peakMiB = process.resourceUsage().maxRSS / 1024;
    const rates = { in: bytes / inSeconds / 1e6, out: bytes / outSeconds / 1e6 };
    report(json, { bytes, rates, peakMiB, chunks: put.chunks }, [
      `${gib} GiB, ${put.chunks} chunks: in ${rates.in.toFixed(0)} MB/s, ` +
        `out ${rates.out.toFixed(0)} MB/s, peak memory ${peakMiB.toFixed(0)} MiB`,
    ]);
  } finally {
    rmSync(dir, { recursive: true });
  }
}

await main();
