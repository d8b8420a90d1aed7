import { expect, test } from 'vitest';
import { toHex } from '../../src/base/bytes.ts';
import {
  decodeIndexRow,
  decodeNextIndex,
  encodeIndexRow,
  encodeNextIndex,
  type IndexRow,
  indexAtKey,
  indexAtPrefix,
  indexDropKey,
  indexKinds,
  indexRowKey,
  indexStates,
  numberedIndex,
} from '../../src/format/index-rows.ts';
import { codeOf } from '../engine/engine-kit.ts';

const row: IndexRow = {
  space: 3,
  name: 'by-n',
  index: 7,
  kind: indexKinds.hash,
  unique: true,
  state: indexStates.failed,
  definedSeq: 5,
  readySeq: 9,
  on: ['tags', { metadata: 'a.b' }],
  reason: 'two',
};

test('a definition has these bytes', () => {
  expect(toHex(indexRowKey(3, 'by-n'))).toBe('696e6465782f0000000362792d6e');
  expect(toHex(encodeIndexRow(row))).toBe(
    '070000000201030005000000000000000900000000000000' + '9292a47461677381a86d65746164617461a3612e62a374776f',
  );
});

test('a definition decodes to what it was made of', () => {
  for (const given of [row, { ...row, reason: undefined, unique: false, on: ['size'] } as IndexRow]) {
    expect(decodeIndexRow(indexRowKey(given.space, given.name), encodeIndexRow(given))).toEqual(given);
  }
});

test('what a newer version may have written is told from damage', async () => {
  const key = indexRowKey(3, 'by-n');
  const changed = (at: number, byte: number): Uint8Array => {
    const bytes = encodeIndexRow(row);
    bytes[at] = byte;
    return bytes;
  };
  expect(await codeOf(() => decodeIndexRow(key, changed(4, 3)))).toBe('VARVE_FORMAT_VERSION');
  expect(await codeOf(() => decodeIndexRow(key, changed(5, 2)))).toBe('VARVE_FORMAT_VERSION');
  expect(await codeOf(() => decodeIndexRow(key, changed(6, 4)))).toBe('VARVE_FORMAT_VERSION');
  expect(await codeOf(() => decodeIndexRow(key, changed(7, 1)))).toBe('VARVE_CORRUPT');
  expect(await codeOf(() => decodeIndexRow(key, encodeIndexRow(row).subarray(0, 23)))).toBe('VARVE_CORRUPT');
  expect(await codeOf(() => decodeIndexRow(key, encodeIndexRow({ ...row, on: [] })))).toBe('VARVE_CORRUPT');
  expect(await codeOf(() => decodeIndexRow(key.subarray(0, 10), encodeIndexRow(row)))).toBe('VARVE_CORRUPT');
});

test('numbered rows give their index back', async () => {
  expect(toHex(indexAtKey(7))).toBe('696e64657861742f00000007');
  expect(toHex(indexDropKey(7))).toBe('696e64657864726f702f00000007');
  expect(numberedIndex(indexAtPrefix, indexAtKey(7))).toBe(7);
  expect(decodeNextIndex(encodeNextIndex(8))).toBe(8);
  expect(await codeOf(() => numberedIndex(indexAtPrefix, indexAtKey(7).subarray(1)))).toBe('VARVE_CORRUPT');
  expect(await codeOf(() => decodeNextIndex(new Uint8Array(3)))).toBe('VARVE_CORRUPT');
});
