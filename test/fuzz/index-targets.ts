/** Targets: keys and definitions of secondary indexes. */
import { concatBytes, encodeUtf8, toHex } from '../../src/base/bytes.ts';
import type { Prng } from '../../src/base/prng.ts';
import {
  decodeIndexKey,
  decodeTuple,
  encodeComponent,
  encodeIndexPrefix,
  hashComponent,
  type IndexValue,
  indexTags,
} from '../../src/format/index-key.ts';
import {
  decodeIndexRow,
  encodeIndexRow,
  type IndexField,
  indexRowKey,
  plainFields,
} from '../../src/format/index-rows.ts';
import { encodeInternalKey, encodeRowPrefix } from '../../src/format/internal-key.ts';
import { integer } from './op-targets.ts';
import { sameBytes, type Target } from './target.ts';

const place = { file: 'fuzzed', offset: 0 };
const columns = 2;

function value(prng: Prng): IndexValue {
  const values = [
    null,
    true,
    Number.NaN,
    prng.below(1e9) / 8 - 1e7,
    new Date(prng.below(1e9)),
    prng.bytes(prng.below(5)),
  ];
  return prng.chance(0.3) ? toHex(prng.bytes(prng.below(5))) : prng.pick(values);
}

const indexKey: Target = {
  name: 'index key',
  sample(prng) {
    const tuple = prng.chance(0.2)
      ? concatBytes([hashComponent(prng.bytes(4)), encodeComponent(value(prng))])
      : concatBytes([encodeComponent(value(prng)), encodeComponent(value(prng))]);
    const keyPrefix = encodeRowPrefix(0, prng.bytes(prng.below(6)));
    const bytes = encodeInternalKey(encodeIndexPrefix(prng.u32(), tuple, keyPrefix), integer(prng));
    this.run(bytes);
    return bytes;
  },
  run(bytes) {
    const { index, tuple, keyPrefix, seq } = decodeIndexKey(bytes, 0, bytes.length, columns, 0, place);
    sameBytes(bytes, encodeInternalKey(encodeIndexPrefix(index, tuple, keyPrefix), seq));
    if (tuple[0] !== indexTags.hash) {
      sameBytes(tuple, concatBytes(decodeTuple(tuple, place).map(encodeComponent)));
    }
  },
};

const indexRow: Target = {
  name: 'index definition',
  sample(prng) {
    const path = { metadata: toHex(prng.bytes(1 + prng.below(4))) };
    const on: IndexField[] = [prng.chance(0.5) ? prng.pick(plainFields) : path];
    const row = {
      ...{ space: 0, name: 'n', index: prng.u32(), kind: 1 + prng.below(2), unique: prng.chance(0.5) },
      ...{ state: 1 + prng.below(3), definedSeq: integer(prng), readySeq: integer(prng), on },
      reason: prng.chance(0.5) ? toHex(prng.bytes(3)) : undefined,
    };
    const bytes = encodeIndexRow(row);
    this.run(bytes);
    return bytes;
  },
  run(bytes) {
    const row = decodeIndexRow(concatBytes([indexRowKey(0, ''), encodeUtf8('n')]), bytes);
    sameBytes(bytes, encodeIndexRow(row));
  },
};

export const indexTargets: readonly Target[] = [indexKey, indexRow];
