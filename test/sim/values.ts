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

function make(spec: ValueSpec): Uint8Array {
  const base = new Prng(spec.seed).bytes(spec.length);
  const { edit } = spec;
  if (edit === undefined) return base;
  const at = Math.min(edit.at, base.length);
  const rest = base.subarray(Math.min(base.length, at + edit.cut));
  const added = new Prng(spec.seed + edit.at + 1).bytes(edit.add);
  const out = new Uint8Array(at + added.length + rest.length);
  out.set(base.subarray(0, at));
  out.set(added, at);
  out.set(rest, at + added.length);
  return out;
}
