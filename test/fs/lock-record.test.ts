import fc from 'fast-check';
import { expect, test } from 'vitest';
import { isVarveError } from '../../src/base/errors.ts';
import { xxh64 } from '../../src/codec/checksum.ts';
import type { LockOwner } from '../../src/fs/lock-port.ts';
import { decodeLockRecord, encodeLockRecord } from '../../src/fs/lock-record.ts';

const owner: LockOwner = {
  host: 'alpha',
  bootId: '874d7a16-6f2a-4626-928d-fbb90a162b0f',
  pid: 4711,
  pidNamespace: 'pid:[4026531836]',
  processStart: '127611',
  nonce: '00112233445566778899aabbccddeeff',
  providers: ['socket', 'flock'],
  writerEpoch: 3,
  takenMs: 1_700_000_000_000,
  touchedMs: 1_700_000_005_000,
  touches: 9,
  released: false,
};

test('the record is these bytes, twice', () => {
  const bytes = encodeLockRecord(owner);
  expect(bytes.length).toBe(4096);
  expect(bytes.subarray(0, 2048)).toEqual(bytes.subarray(2048));
  const text = Buffer.from(bytes.subarray(0, 2048)).toString('latin1');
  expect(text.trimEnd()).toBe(
    'varve-lock 1 ddff80513fd8f3d0\n' +
      '{"host":"alpha","bootId":"874d7a16-6f2a-4626-928d-fbb90a162b0f","pid":4711,' +
      '"pidNamespace":"pid:[4026531836]","processStart":"127611",' +
      '"nonce":"00112233445566778899aabbccddeeff",' +
      '"providers":["socket","flock"],"writerEpoch":3,"takenMs":1700000000000,"touchedMs":1700000005000,' +
      '"touches":9,"released":false}',
  );
  expect(text.endsWith(' \n')).toBe(true);
});

test('any owner comes back as it was written', () => {
  const text = fc.string({ maxLength: 128 });
  const count = fc.nat({ max: Number.MAX_SAFE_INTEGER });
  const owners = fc.record<LockOwner>({
    host: text,
    bootId: fc.uuid(),
    pid: count,
    pidNamespace: fc.string({ maxLength: 30 }),
    processStart: fc.string({ maxLength: 20 }),
    nonce: fc.stringMatching(/^[0-9a-f]{32}$/),
    providers: fc.array(fc.constantFrom('socket', 'flock'), { maxLength: 2 }),
    writerEpoch: count,
    takenMs: count,
    touchedMs: count,
    touches: count,
    released: fc.boolean(),
  });
  fc.assert(
    fc.property(owners, (o) => {
      expect(decodeLockRecord(encodeLockRecord(o), 'LOCK')).toEqual(o);
    }),
  );
});

test('no single flipped bit changes the owner that is read', () => {
  const bytes = encodeLockRecord(owner);
  const expected = JSON.stringify(owner);
  for (let bit = 0; bit < 4096 * 8; bit += bit % 16_384 < 3_500 ? 1 : 3) {
    bytes[bit >> 3]! ^= 1 << (bit & 7);
    if (JSON.stringify(decodeLockRecord(bytes, 'LOCK')) !== expected) throw new Error(`bit ${bit}`);
    bytes[bit >> 3]! ^= 1 << (bit & 7);
  }
});

test('a flipped bit in both copies is damage, or an unknown version', () => {
  const bytes = encodeLockRecord(owner);
  // Every bit of the text, every seventh of the padding.
  for (let bit = 0; bit < 2048 * 8; bit += bit < 3_500 ? 1 : 7) {
    for (const at of [bit >> 3, 2048 + (bit >> 3)]) bytes[at]! ^= 1 << (bit & 7);
    const error = thrown(() => decodeLockRecord(bytes, 'LOCK'));
    if (!isVarveError(error, 'VARVE_CORRUPT', 'VARVE_FORMAT_VERSION')) throw new Error(`bit ${bit}`);
    for (const at of [bit >> 3, 2048 + (bit >> 3)]) bytes[at]! ^= 1 << (bit & 7);
  }
});

test('of two copies from different writes the later one counts', () => {
  const bytes = encodeLockRecord(owner);
  bytes.set(encodeLockRecord({ ...owner, touches: 10, released: true }).subarray(0, 2048));
  expect(decodeLockRecord(bytes, 'LOCK')).toMatchObject({ touches: 10, released: true });
  bytes.copyWithin(2048, 0);
  bytes.set(encodeLockRecord(owner).subarray(0, 2048));
  expect(decodeLockRecord(bytes, 'LOCK')).toMatchObject({ touches: 10, released: true });
});

test('a file that was cut off is read as far as a copy is whole', () => {
  const bytes = encodeLockRecord(owner);
  expect(decodeLockRecord(bytes.subarray(0, 0), 'LOCK')).toBe(null);
  expect(decodeLockRecord(new Uint8Array(4096), 'LOCK')).toBe(null);
  expect(decodeLockRecord(bytes.subarray(0, 2048), 'LOCK')).toEqual(owner);
  expect(() => decodeLockRecord(bytes.subarray(0, 2047), 'LOCK')).toThrow('cut off');
});

test('a valid checksum over unexpected content is still refused', () => {
  const bad = (text: string, version = '1'): Uint8Array => {
    const copy = Buffer.alloc(2048, ' ');
    copy.write('\n', 2047);
    const head = 'varve-lock 1 0123456789abcdef\n'.length;
    copy.write(text, head);
    copy.write(`varve-lock ${version} ${xxh64(copy.subarray(head)).toString(16).padStart(16, '0')}\n`, 0);
    return Buffer.concat([copy, copy]);
  };
  const good = JSON.stringify(owner);
  expect(decodeLockRecord(bad(`${good}\n`), 'LOCK')).toEqual(owner);
  const changes = ['{', 'null', '[]', '7', '', good.replace('4711', '-1'), good.replace('4711', '"1"')];
  changes.push(
    good.replace('"alpha"', '7'),
    good.replace('false', '0'),
    good.replace('["socket","flock"]', '[1]'),
  );
  changes.push(good.replace('"alpha"', JSON.stringify('x'.repeat(256))), good.replace('"touches":9,', ''));
  for (const text of changes) {
    expect(() => decodeLockRecord(bad(`${text}\n`), 'LOCK'), text).toThrow('unexpected fields');
  }
  expect(() => decodeLockRecord(bad(`${good}\n`, '2'), 'LOCK')).toThrow(
    expect.objectContaining({ code: 'VARVE_FORMAT_VERSION' }),
  );
});

function thrown(task: () => unknown): unknown {
  try {
    task();
  } catch (error) {
    return error;
  }
  return undefined;
}
