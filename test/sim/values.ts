/** Bytes of value specifications, made once each. */
import { Prng } from '../../src/base/prng.ts';
import type { ValueSpec } from './plan.ts';

/** The bytes of `spec`; equal specifications give equal bytes. */
export function bytesOf(spec: ValueSpec): Uint8Array {
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
