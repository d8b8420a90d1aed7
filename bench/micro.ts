/**
 * The parts that every byte or row goes through, alone, with `benchmark`:
 *
 *     npm run bench:micro -- [--only chunk] [--seconds 1] [--rounds 9] [--json]
 *
 * The last lines (`--only threads`) are one stream of 64 MiB cut and hashed on one thread and on two beside
 * the calling one, exactly as one thread alone would, against SHA-256 alone on the same threads: medians of
 * `--rounds` rounds in which both take turns.
 *
 * MB/s are 10^6 bytes of input per second, one thread, over 1 MiB that lies in the cache; the others are
 * calls a second. Beside each rate stands what bounds it, measured in the same run: a memory copy for what
 * only looks at bytes, SHA-256 for what also hashes them. `±` is the relative margin of error at 95 %.
 */
import Benchmark from 'benchmark';
import { MiB } from '../src/base/limits.ts';
import { Prng } from '../src/base/prng.ts';
import { ByteWriter } from '../src/codec/byte-writer.ts';
import { initChecksum, StreamingChecksum, xxh64 } from '../src/codec/checksum.ts';
import { decodeMsgpack, encodeMsgpack } from '../src/codec/msgpack.ts';
import { DataBlockBuilder, EntrySpot, searchDataBlock } from '../src/format/data-block.ts';
import { encodeInternalKey, encodeRowPrefix } from '../src/format/internal-key.ts';
import { rowKinds } from '../src/format/row-kinds.ts';
import { parseValueRecord, recordForms, writeValueRecord } from '../src/format/value-record.ts';
import { createChunker, type StreamChunker } from '../src/kernels/chunker/chunker.ts';
import { type ChunkerAlgorithm, solveParams } from '../src/kernels/chunker/params.ts';
import { setSha256, sha256Into } from '../src/kernels/hash/sha256.ts';
import { nobleSha256 } from '../src/kernels/hash/sha256-noble.ts';
import { nodeSha256 } from '../src/kernels/hash/sha256-node.ts';
import { measureThreads, type ThreadRates } from './micro-threads.ts';
import { countOf, optionsOf } from './tools/command-line.ts';
import { report, show } from './tools/rounds.ts';

interface Micro {
  readonly name: string;
  /** Bytes of input of one call; undefined: calls are counted. */
  readonly bytes?: number;
  /** Name of what bounds it. */
  readonly limit?: string;
  readonly run: () => unknown;
}

interface Figure {
  readonly name: string;
  readonly unit: 'bytes' | 'calls';
  /** A second. */
  readonly value: number;
  /** Relative margin of error, %. */
  readonly error: number;
  readonly limit?: string;
  readonly share?: number;
}

const data = new Prng(1).bytes(MiB);
const hashPieceBytes = 16 * 1024;
const copy = 'memory copy';
const hash = 'SHA-256, node:crypto';
const digest = new Uint8Array(32);

/** Cuts the data as one stream and calls `onChunk` for each chunk. */
function stream(chunker: StreamChunker, onChunk: (from: number, to: number) => void): void {
  chunker.reset();
  for (let taken = 0; ; ) {
    taken += chunker.write(data, taken);
    const atEnd = taken === data.length;
    for (let n = chunker.next(atEnd); n > 0; n = chunker.next(atEnd)) {
      onChunk(chunker.start, chunker.start + n);
      chunker.consume();
    }
    if (atEnd) return;
  }
}

function hashPieces(): void {
  for (let at = 0; at < data.length; at += hashPieceBytes)
    sha256Into(data, at, at + hashPieceBytes, digest, 0);
}

function chunkers(): Micro[] {
  const kinds = ['fastcdc', 'sieve'] as const satisfies ChunkerAlgorithm[];
  return kinds.flatMap((algorithm) => {
    const params = solveParams({ algorithm, min: 4096, avg: 16_384, max: 65_536 });
    const [fast, plain] = [createChunker(params), createChunker(params, { kernel: 'javascript' })];
    const bytes = data.length;
    const nothing = (): void => undefined;
    const hashed = (from: number, to: number): void => sha256Into(fast.buffer, from, to, digest, 0);
    return [
      { name: `chunk, ${algorithm}, ${fast.kind}`, bytes, limit: copy, run: () => stream(fast, nothing) },
      { name: `chunk, ${algorithm}, javascript`, bytes, limit: copy, run: () => stream(plain, nothing) },
      { name: `chunk, ${algorithm}, with SHA-256`, bytes, limit: hash, run: () => stream(fast, hashed) },
    ];
  });
}

function bytewise(): Micro[] {
  const bytes = data.length;
  const target = new Uint8Array(bytes);
  const block = data.subarray(0, 4096);
  return [
    { name: copy, bytes, run: () => target.set(data) },
    { name: hash, bytes, run: hashPieces },
    {
      name: 'SHA-256, @noble/hashes',
      bytes: hashPieceBytes,
      limit: hash,
      run: () => nobleSha256.into(data, 0, hashPieceBytes, digest, 0),
    },
    { name: 'checksum, xxh64 of 4 KiB', bytes: block.length, limit: copy, run: () => xxh64(block) },
    {
      name: 'checksum, xxh64 in pieces of 64 KiB',
      bytes,
      limit: copy,
      run: () => {
        const sum = new StreamingChecksum();
        for (let at = 0; at < bytes; at += 65_536) sum.update(data.subarray(at, at + 65_536));
        return sum.digest();
      },
    },
  ];
}

function rows(): Micro[] {
  const writer = new ByteWriter(1024);
  const value = data.subarray(0, 100);
  const body = { form: recordForms.inline, size: value.length, bytes: value } as const;
  const write = (): void => {
    writer.pos = 0;
    writeValueRecord(writer, { kind: rowKinds.put, timeMs: 1_700_000_000_000, body });
  };
  write();
  const record = writer.bytes.slice(0, writer.pos);
  const place = { file: 'bench', offset: 0 };
  const metadata = {
    type: 'file',
    mode: 0o644,
    mtimeMs: 1_700_000_000_000,
    mtimeNs: 123_456,
    tags: ['a', 'b'],
  };
  const packed = encodeMsgpack(metadata);
  return [
    { name: 'row, write a record of 100 B', run: write },
    {
      name: 'row, parse a record of 100 B',
      run: () => parseValueRecord(record, 0, record.length, place),
    },
    ...blocks(record),
    { name: `msgpack, encode ${packed.length} B`, run: () => encodeMsgpack(metadata) },
    { name: `msgpack, decode ${packed.length} B`, run: () => decodeMsgpack(packed, place) },
  ];
}

/** A block of 128 rows: built, and searched for each of its keys in turn. */
function blocks(record: Uint8Array): Micro[] {
  const keys = Array.from({ length: 128 }, (_, i) =>
    encodeInternalKey(encodeRowPrefix(0, new TextEncoder().encode(`user/${String(i).padStart(8, '0')}`)), 1),
  );
  const builder = new DataBlockBuilder();
  const build = (): Uint8Array => {
    for (const key of keys)
      builder.add(key, 0, key.length, record, 0, record.length, builder.sharedWithLast(key, 0, key.length));
    const { bytes, length } = builder.finish(0);
    return bytes.subarray(0, length);
  };
  const block = build().slice();
  const spot = new EntrySpot();
  let at = 0;
  return [
    { name: 'block, build of 128 rows', run: build },
    {
      name: 'block, search among 128 rows',
      run: () => {
        const key = keys[at++ % keys.length]!;
        if (!searchDataBlock(block, key, key.length, spot))
          throw new Error('a key of the block is not found');
      },
    },
  ];
}

function measure(micros: readonly Micro[], seconds: number): Figure[] {
  const suite = new Benchmark.Suite();
  for (const { name, run } of micros) suite.add(name, run, { maxTime: seconds });
  const figures: Figure[] = [];
  const rates = new Map<string, number>();
  suite.on('cycle', ({ target: done }: Benchmark.Event) => {
    const micro = micros.find(({ name }) => name === done.name)!;
    const { bytes, limit } = micro;
    const value = done.hz! * (bytes ?? 1);
    rates.set(done.name!, value);
    const most = limit === undefined ? undefined : rates.get(limit);
    figures.push({
      name: micro.name,
      unit: bytes === undefined ? 'calls' : 'bytes',
      value,
      error: done.stats!.rme,
      ...(limit === undefined || most === undefined ? {} : { limit, share: value / most }),
    });
  });
  suite.on('error', ({ target }: Benchmark.Event) => {
    throw new Error(`${target.name} failed`, { cause: Reflect.get(target, 'error') });
  });
  suite.run();
  return figures;
}

function line({ name, unit, value, error, limit, share }: Figure): string {
  const rate =
    unit === 'bytes' ? `${(value / 1e6).toFixed(0)} MB/s` : `${Math.round(value).toLocaleString('en-US')}/s`;
  const bound = limit === undefined ? '' : `${(100 * share!).toFixed(0)} % of ${limit}`;
  return `${name.padEnd(38)} ${rate.padStart(16)} ±${error.toFixed(1).padStart(4)} %   ${bound}`.trimEnd();
}

function threadsLine({ threads, hashOnly, cutAndHash, share }: ThreadRates): string {
  const mbs = (rate: number): string => `${(rate / 1e6).toFixed(0)} MB/s`;
  const { median, least, most } = share;
  const percent = show({ median: median * 100, least: least * 100, most: most * 100 });
  return (
    `threads, ${threads}: SHA-256 alone ${mbs(hashOnly.median)}, ` +
    `cut, hashed and stitched ${mbs(cutAndHash.median)} = ${percent} %`
  );
}

const usage = `The parts that every byte or row goes through, alone.

  --only TEXT    those with it in their name
  --seconds N    for each (1)
  --rounds N     of a stream on threads against SHA-256 on threads, whose name is threads (9)
  --json         one line of JSON
  --help         this text`;

async function main(): Promise<void> {
  const options = optionsOf(
    usage,
    {
      only: { type: 'string', default: '' },
      seconds: { type: 'string', default: '1' },
      rounds: { type: 'string', default: '9' },
      json: { type: 'boolean', default: false },
    },
    (values) => ({
      ...values,
      seconds: countOf('seconds', values.seconds),
      rounds: countOf('rounds', values.rounds),
    }),
  );
  await initChecksum();
  setSha256(nodeSha256);
  const isLimit = ({ name }: Micro): boolean => name === copy || name === hash;
  const micros = [...bytewise(), ...chunkers(), ...rows()].filter(
    (micro) => isLimit(micro) || micro.name.includes(options.only),
  );
  const figures = measure(micros, options.seconds);
  const threads: ThreadRates[] = [];
  for (const count of 'threads'.includes(options.only) ? [1, 2] : [])
    threads.push(await measureThreads(count, options.rounds));
  report(options.json, { figures, threads }, [...figures.map(line), ...threads.map(threadsLine)]);
}

await main();
