/** Types of layouts: values follow from the table, reserved fields do not appear. */
import { expectTypeOf } from 'vitest';
import { decodeLayout, defineLayout, encodeLayout, f, type Values } from '../../src/codec/layout.ts';

const layout = defineLayout('sample', 'Sample', 24, {
  magic: f(0, 4, 'what it is'),
  count: f(4, 'u32', 'how many'),
  reserved0: f(8, 8, 'zero'),
  check: f(16, 'hash64', 'checksum'),
});

type Sample = Values<typeof layout.fields>;
expectTypeOf<Sample>().toEqualTypeOf<{ magic: Uint8Array; count: number; check: bigint }>();
expectTypeOf(decodeLayout(layout, new Uint8Array(24), 0, { file: 'x' })).toEqualTypeOf<Sample>();
expectTypeOf(layout.at.check).toEqualTypeOf<number>();

// @ts-expect-error a missing field is refused
encodeLayout(layout, { magic: new Uint8Array(4), count: 1 }, new Uint8Array(24));
// @ts-expect-error a number is not a checksum
encodeLayout(layout, { magic: new Uint8Array(4), count: 1, check: 1 }, new Uint8Array(24));
