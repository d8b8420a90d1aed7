/** Bytes of value specifications, made once each. */
import { Prng } from '../../src/base/prng.ts';
import type { ValueSpec } from './plan.ts';

const made = new WeakMap<ValueSpec, Uint8Array>();

/** The bytes of `spec`, never to be written to; equal specifications give equal bytes. */
export function bytesOf(spec: ValueSpec): Uint8Array {
  const bytes = made.get(spec) ?? make(spec);
  made.set(spec, bytes);
  return bytes;
}

/** The value as put takes it. */
export function givenOf(spec: ValueSpec): string | Uint8Array {
  const bytes = bytesOf(spec);
  return spec.text === true
    ? Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString('latin1')
    : bytes;
}

function make(spec: ValueSpec): Uint8Array {
  const bytes = edited(spec);
  if (spec.text === true) for (let i = 0; i < bytes.length; i++) bytes[i] = 32 + (bytes[i]! % 95);
  return bytes;
}

function edited(spec: ValueSpec): Uint8Array {
  const base = randomBytes(spec.seed, spec.length);
  const { edit } = spec;
  if (edit === undefined) return base;
  const at = Math.min(edit.at, base.length);
  const rest = base.subarray(Math.min(base.length, at + edit.cut));
  const added = randomBytes(spec.seed + edit.at + 1, edit.add);
  const out = new Uint8Array(at + added.length + rest.length);
  out.set(base.subarray(0, at));
  out.set(added, at);
  out.set(rest, at + added.length);
  return out;
}

/** Four bytes a step: most of what a plan's values cost is their making. */
function randomBytes(seed: number, length: number): Uint8Array {
  const prng = new Prng(seed);
  const words = new Uint32Array(Math.ceil(length / 4));
  for (let i = 0; i < words.length; i++) words[i] = prng.u32();
  return new Uint8Array(words.buffer, 0, length);
}
