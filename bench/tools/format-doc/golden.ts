/** Golden values of the document, computed by the code that reads and writes stores. */
import { concatBytes, encodeUtf8, toHex, viewOf } from '../../../src/base/bytes.ts';
import { ByteWriter } from '../../../src/codec/byte-writer.ts';
import { xxh64 } from '../../../src/codec/checksum.ts';
import { hashKey32, mix32 } from '../../../src/codec/key-hash.ts';
import { encodeComponent, encodeIndexPrefix, hashComponent } from '../../../src/format/index-key.ts';
import { encodeIndexRow, indexKinds, indexStates } from '../../../src/format/index-rows.ts';
import { encodeInternalKey, encodeRowPrefix, encodeSysKey } from '../../../src/format/internal-key.ts';
import { encodeListNode } from '../../../src/format/list-node.ts';
import {
  beginTxn,
  endTxn,
  putChunk,
  putDelete,
  putPut,
  putSys,
  putTrash,
} from '../../../src/format/log-ops.ts';
import { encodeMetadata } from '../../../src/format/metadata.ts';
import { putListDrop, putPurge } from '../../../src/format/purge-ops.ts';
import { rowKinds } from '../../../src/format/row-kinds.ts';
import { encodeRangeRow, encodeSpaceRow, rangeKey, spaceKey } from '../../../src/format/system-rows.ts';
import { trees } from '../../../src/format/trees.ts';
import { deleteRecord, recordForms, writeValueRecord } from '../../../src/format/value-record.ts';
import { ChunkerPool, chunkAll } from '../../../src/kernels/chunker/chunker.ts';
import { deriveChunkerKey, publicChunkerSeed } from '../../../src/kernels/chunker/key.ts';
import { type ChunkerAlgorithm, solveParams } from '../../../src/kernels/chunker/params.ts';
import { sha256 } from '../../../src/kernels/hash/sha256.ts';

const timeMs = 1_700_000_000_000;
const sizes = { min: 4096, avg: 16_384, max: 65_536 } as const;
const streamBytes = 1024 * 1024;

type Row = readonly [what: string, value: string];

/** Blocks by the name the prose uses. */
export const goldens: Readonly<Record<string, () => string>> = {
  basics: () => table(basics()),
  keys: () => table(keys()),
  records: () => table(records()),
  indexes: () => table(indexes()),
  metadata: () => table(metadata()),
  ops: () => table(ops()),
  chunkers: () => table([...chunkerKey('fastcdc'), ...chunkerKey('sieve')]),
};

function table(rows: readonly Row[]): string {
  return ['| What | Value |', '|---|---|', ...rows.map(([what, value]) => `| ${what} | \`${value}\` |`)].join(
    '\n',
  );
}

function varintHex(value: number): string {
  const w = new ByteWriter();
  w.varint(value);
  return toHex(w.written());
}

const hex64 = (value: bigint): string => `0x${value.toString(16).padStart(16, '0')}`;
const hex32 = (value: number): string => `0x${value.toString(16).padStart(8, '0')}`;

function indexes(): Row[] {
  const row = {
    ...{ space: 0, name: 'by-n', index: 7, kind: indexKinds.range, unique: false, state: indexStates.ready },
    ...{ definedSeq: 5, readySeq: 9, on: ['tags', { metadata: 'a.b' }] as const, reason: undefined },
  };
  const values = [Number.NaN, -1.5, 0, 2, new Date(timeMs), 'a\u0000b', Uint8Array.of(0, 255)] as const;
  const shown = ['NaN', '-1.5', '0', '2', `date ${timeMs}`, '`a` 00 `b`', 'bytes 00 ff'];
  const entry = encodeIndexPrefix(7, encodeComponent('red'), encodeRowPrefix(0, encodeUtf8('k')));
  return [
    ...values.map((value, i): Row => [`component of ${shown[i]}`, toHex(encodeComponent(value))]),
    ['hash component of the string `red`', toHex(hashComponent(encodeComponent('red')))],
    ['key of index 7, string `red`, key `k`, number 1', toHex(encodeInternalKey(entry, 1))],
    ['definition of index 7 on tags and a.b, ready', toHex(encodeIndexRow(row))],
  ];
}

function basics(): Row[] {
  const text = encodeUtf8('varve');
  return [
    ['varint of 0', varintHex(0)],
    ['varint of 127', varintHex(127)],
    ['varint of 128', varintHex(128)],
    ['varint of 2^53-1', varintHex(Number.MAX_SAFE_INTEGER)],
    ['xxh64(0; "varve")', hex64(xxh64(text))],
    ['xxh64(1; "varve")', hex64(xxh64(text, 1n))],
    ['MurmurHash3 x86_32, seed 0, of "varve"', hex32(hashKey32(text, 0, text.length))],
    ['mix32(1)', hex32(mix32(1))],
  ];
}

function keys(): Row[] {
  const prefix = encodeRowPrefix(0, encodeUtf8('a\0b'));
  return [
    ['row prefix of key `61 00 62` in space 0', toHex(prefix)],
    ['internal key of its version 1', toHex(encodeInternalKey(prefix, 1))],
    ['system key `space/x` of number 2', toHex(encodeSysKey(spaceKey('x'), 2))],
  ];
}

function records(): Row[] {
  const w = new ByteWriter();
  const bytes = encodeUtf8('hi');
  const body = { form: recordForms.inline, size: bytes.length, bytes } as const;
  writeValueRecord(w, { kind: rowKinds.put, timeMs, createdMs: timeMs - 300, body });
  const ids = concatBytes([sha256(encodeUtf8('a')), sha256(encodeUtf8('b'))]);
  const node = encodeListNode(0, ids, Float64Array.of(1, 2), 2, 2);
  return [
    [`PUT of "hi" at ${timeMs}, created 300 ms before`, toHex(w.written())],
    [`DELETE at ${timeMs}`, toHex(deleteRecord(timeMs))],
    ['list node over chunks "a" and "b"', toHex(node)],
    ['its id', toHex(sha256(node))],
  ];
}

function metadata(): Row[] {
  const tags = ['b', 'a', 'b'];
  const full = { contentType: 'text/plain', tags, metadata: { n: -1, at: new Date(timeMs) } };
  return [
    ['tags b, a, b', toHex(encodeMetadata({ tags }))],
    ['the same, content type text/plain, `{ n: -1, at: Date(1.7e12) }`', toHex(encodeMetadata(full))],
  ];
}

function ops(): Row[] {
  const prefix = encodeRowPrefix(0, encodeUtf8('k'));
  const id = sha256(encodeUtf8('a'));
  const range = { timeMs: 1.7e12, from: prefix, to: Uint8Array.of(0, 0, 0, 1) };
  return [
    [
      'PUT in tree K, key `k` of space 0, value `01`',
      op((w) => putPut(w, trees.K, prefix, Uint8Array.of(1))),
    ],
    ['DELETE of it', op((w) => putDelete(w, trees.K, prefix, 0))],
    ['CHUNK "a": segment 5, offset 64, 1 byte, data', op((w) => putChunk(w, id, 0, 5, 8, 1, 1, 0, 0))],
    ['TRASH: version 7 superseded by 9', op((w) => putTrash(w, 9, prefix, 7))],
    ['PURGE of version 7, of one chunk "a"', op((w) => putPurge(w, prefix, 7, id))],
    ['LISTDROP of "a", with one child "a"', op((w) => putListDrop(w, id, 0, id))],
    ['DELETE of it, late, of range delete 9', op((w) => putDelete(w, trees.K, prefix, 9))],
    ['SYS: `space/x` = 1', op((w) => putSys(w, spaceKey('x'), encodeSpaceRow(1)))],
    [
      'SYS: range delete 9, from `k` on, at 1.7e12 ms',
      op((w) => putSys(w, rangeKey(9), encodeRangeRow(range))),
    ],
  ];
}

/** A transaction of one op. */
function op(write: (w: ByteWriter) => void): string {
  const w = new ByteWriter();
  const start = beginTxn(w);
  write(w);
  endTxn(w, start);
  return toHex(w.written());
}

function chunkerKey(algorithm: ChunkerAlgorithm): Row[] {
  const key = deriveChunkerKey(algorithm);
  const params = solveParams({ algorithm, ...sizes });
  const chunker = new ChunkerPool(params, { key }).open();
  const ends = chunkAll(chunker, testStream());
  chunker.release();
  const shown = `${ends.slice(0, 8).join(' ')} …`;
  return [
    ...(algorithm === 'fastcdc' ? [['public seed', toHex(publicChunkerSeed())] as const] : []),
    [`${algorithm}: first 16 bytes of key material`, toHex(key.bytes.subarray(0, 16))],
    [`${algorithm}: check value`, hex64(key.check)],
    [
      `${algorithm}: parameters for ${sizes.min}, ${sizes.avg}, ${sizes.max}`,
      `normal ${params.normal}, strict ${params.strict}, loose ${params.loose}`,
    ],
    [`${algorithm}: ends of the first chunks of the test stream`, shown],
    [`${algorithm}: chunks of the test stream`, `${ends.length}`],
  ];
}

/** SHA-256 of 0, 1, 2, … as u32, back to back. */
function testStream(): Uint8Array {
  const out = new Uint8Array(streamBytes);
  const counter = new Uint8Array(4);
  for (let at = 0; at < out.length; at += 32) {
    viewOf(counter).setUint32(0, at / 32, true);
    out.set(sha256(counter), at);
  }
  return out;
}
