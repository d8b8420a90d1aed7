/** Calls that put and delete. */
import type { VarveError } from '../../src/base/errors.ts';
import type { PutOptions } from '../../src/engine/types.ts';
import type { Conditions } from './attempts.ts';
import type { Caller } from './caller.ts';
import { keyOf, operationsOf, type RangeOp, removeRange, StreamBroke, spaceOf } from './calls.ts';
import type { OpOf, ValueSpec } from './plan.ts';
import { bytesOf, givenOf } from './values.ts';

export async function put(caller: Caller, op: OpOf<'put'>, number: number): Promise<void> {
  const { value, sha256 = false, big = 0 } = op;
  const labels = { contentType: 'x'.repeat(200), tags: ['b', 'a'] };
  const more = { ...(sha256 ? { sha256 } : {}), ...(big > 0 ? labels : {}) };
  await putWith(caller, op, value, (options) =>
    spaceOf(caller.life.engine, op.space).put(keyOf(op.key, number), givenOf(value), { ...options, ...more }),
  );
}

export async function putBrief(caller: Caller, op: OpOf<'putBrief'>, number: number): Promise<void> {
  const { value, ttlMs } = op;
  const space = spaceOf(caller.life.engine, op.space);
  const call = (options: PutOptions) =>
    space.put(keyOf(op.key, number), givenOf(value), { ...options, ttlMs });
  await putWith(caller, op, value, call, { ttlMs });
}

export async function putAborts(caller: Caller, op: OpOf<'putAborts'>, number: number): Promise<void> {
  const call = (options: PutOptions) => {
    const space = spaceOf(caller.life.engine, op.space);
    const once = (signal: AbortSignal) =>
      space.put(keyOf(op.key, number), givenOf(op.value), { ...options, signal });
    return caller.aborted(number, once);
  };
  await putWith(caller, op, op.value, call, {}, 'VARVE_ABORTED');
}

export async function putIf(caller: Caller, op: OpOf<'putIf'>, number: number): Promise<void> {
  const space = spaceOf(caller.life.engine, op.space);
  const ifSeq = await caller.ifSeq(op, op.key, number);
  if (ifSeq === undefined) return;
  const call = (options: PutOptions) => space.put(keyOf(op.key, number), givenOf(op.value), options);
  await putWith(caller, op, op.value, call, { ifSeq }, 'VARVE_CONFLICT');
}

/** A put of one key, whatever the form of its value. */
async function putWith(
  caller: Caller,
  op: { kind: string; space: string; key: string },
  value: ValueSpec,
  call: (options: PutOptions) => Promise<{ seq: number; size: number }>,
  conditions: Conditions = {},
  ...expected: VarveError['code'][]
): Promise<void> {
  const { ifSeq } = conditions;
  await caller.write(
    op.kind,
    op.space,
    new Map([[op.key, value]]),
    ({ id }) => call({ metadata: { id }, ...(ifSeq === undefined ? {} : { ifSeq }) }),
    ({ seq, size }) => {
      if (size !== bytesOf(value).length) throw new Error(`put says it has ${size} bytes`);
      return { outcome: 'done', seq };
    },
    conditions,
    ...expected,
  );
}

export async function stream(
  caller: Caller,
  op: OpOf<'stream' | 'streamThrows' | 'streamAborts'>,
  number: number,
): Promise<void> {
  const { engine, world } = caller.life;
  const bytes = bytesOf(op.value);
  const aborter = new AbortController();
  const breakAt = op.kind === 'stream' ? Number.MAX_SAFE_INTEGER : number % (op.pieces + 1);
  async function* pieces(): AsyncGenerator<Uint8Array> {
    for (let i = 0; i <= op.pieces; i++) {
      await world.scheduler.turn('stream');
      if (i === breakAt && op.kind === 'streamThrows') throw new StreamBroke();
      if (i === breakAt) aborter.abort();
      const from = Math.floor((i * bytes.length) / op.pieces);
      if (i < op.pieces) yield bytes.slice(from, Math.floor(((i + 1) * bytes.length) / op.pieces));
    }
  }
  const signal = op.kind === 'streamAborts' ? { signal: aborter.signal } : {};
  const source = () => (number % 3 === 0 ? ReadableStream.from(pieces()) : pieces());
  const call = (options: PutOptions) =>
    spaceOf(engine, op.space).put(keyOf(op.key, number), source(), { ...options, ...signal });
  await putWith(caller, op, op.value, call, {}, 'VARVE_ABORTED');
}

export async function remove(
  caller: Caller,
  op: OpOf<'delete' | 'deleteAborts' | 'deleteIf'>,
  number: number,
): Promise<void> {
  const space = spaceOf(caller.life.engine, op.space);
  const ifSeq = op.kind === 'deleteIf' ? await caller.ifSeq(op, op.key, number) : undefined;
  if (op.kind === 'deleteIf' && ifSeq === undefined) return;
  const call = (options: object) => space.delete(keyOf(op.key, number), options);
  await caller.write(
    'delete',
    op.space,
    new Map([[op.key, null]]),
    () => {
      if (op.kind === 'deleteAborts') return caller.aborted(number, (signal) => call({ signal }));
      return call(ifSeq === undefined ? {} : { ifSeq });
    },
    (removed) => ({ outcome: removed ? 'done' : 'nothing' }),
    { ifSeq },
    ...(op.kind === 'deleteAborts' ? (['VARVE_ABORTED'] as const) : []),
    ...(op.kind === 'deleteIf' ? (['VARVE_CONFLICT'] as const) : []),
  );
}

/** With a condition it is that of the first operation, which must be a put. */
export async function batch(caller: Caller, op: OpOf<'batch' | 'batchIf'>, number: number): Promise<void> {
  const space = spaceOf(caller.life.engine, op.space);
  const ifSeq = op.kind === 'batchIf' ? await caller.ifSeq(op, op.changes[0]!.key, number) : undefined;
  if (op.kind === 'batchIf' && ifSeq === undefined) return;
  const changes = new Map(op.changes.map(({ key, value }) => [key, value]));
  const puts = op.changes.some(({ value }) => value !== null);
  await caller.write(
    'batch',
    op.space,
    changes,
    ({ id }) => space.batch(operationsOf(op.changes, number, id, ifSeq)),
    // Removals of what is absent make no commit, and the call does not tell.
    ({ seq }) => (puts ? { outcome: 'done', seq } : { outcome: 'unknown' }),
    { ifSeq },
    ...(op.kind === 'batchIf' ? (['VARVE_CONFLICT'] as const) : []),
  );
}

export async function removeMany(caller: Caller, op: RangeOp, number: number): Promise<void> {
  const { engine } = caller.life;
  const aborts = op.kind === 'deleteRange' && op.aborts === true;
  const call = () => {
    if (!aborts) return removeRange(engine, op);
    return caller.aborted(number, (signal) => removeRange(engine, op, { signal }));
  };
  const bounds = op.kind === 'deleteRange' ? op.bounds : {};
  const expected = aborts ? (['VARVE_ABORTED'] as const) : [];
  await caller.write(op.kind, op.space, new Map(), call, (end) => end, { bounds }, ...expected);
}
