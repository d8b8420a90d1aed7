/** Calls that read the newest state, of the store or of a reader beside it; and a second writer. */
import type { Engine } from '../../src/engine/engine.ts';
import { openWithEnv } from '../../src/engine/opening/open.ts';
import type { Key } from '../../src/engine/types.ts';
import type { Caller } from './caller.ts';
import { keyOf, spaceOf } from './calls.ts';
import type { Observation, ReadAt } from './observations.ts';
import type { OpOf } from './plan.ts';
import { observeRange, observeScan, observeStat } from './reading.ts';

type KeyOp = OpOf<'get' | 'getSync' | 'getAborts' | 'has' | 'stat'>;

/** Calls that read one space. */
export type ReadOp =
  | KeyOp
  | OpOf<'getMany'>
  | OpOf<'scan' | 'scanStops' | 'scanAborts'>
  | OpOf<'read' | 'readCancels'>;

const isOfKey = (op: ReadOp): op is KeyOp => 'key' in op && !('start' in op);

/** Reads; `view` is the number up to which `engine` shows commits now. */
export async function read(
  caller: Caller,
  op: ReadOp,
  engine: Engine,
  number: number,
  view: number,
): Promise<void> {
  const [{ oracle }, space] = [caller.life.world, spaceOf(engine, op.space)];
  const dropping = engine === caller.life.engine && oracle.isDropping(op.space);
  const about = { view, space: op.space, ...(dropping ? { mayBeDropped: true } : {}) };
  if (isOfKey(op)) await readKey(caller, op, space, number, about);
  else if ('scan' in op) {
    const expected = op.kind === 'scanAborts' ? (['VARVE_ABORTED'] as const) : [];
    const scan = () => observeScan((options) => space.scan<Key>(options), op, about);
    await caller.observe(scan, (seen) => seen, ...expected);
  } else if (op.kind === 'getMany') {
    const keys = op.keys.map((key, i) => keyOf(key, number + i));
    await caller.observe(
      () => space.getMany(keys),
      (found) => found.map((bytes, i) => ({ kind: 'value', ...about, key: op.keys[i]!, bytes })),
    );
  } else {
    await caller.observe(
      () => observeRange(space, op, keyOf(op.key, number), about),
      (seen) => seen,
    );
  }
}

async function readKey(
  caller: Caller,
  op: KeyOp,
  space: Engine,
  number: number,
  about: ReadAt,
): Promise<void> {
  const key = keyOf(op.key, number);
  const ofKey = { ...about, key: op.key };
  const value = (bytes: Uint8Array | undefined): Observation => ({ kind: 'value', ...ofKey, bytes });
  if (op.kind === 'has') {
    await caller.observe(
      () => space.has(key),
      (found) => ({ kind: 'has', ...ofKey, found }),
    );
  } else if (op.kind === 'stat') {
    await caller.observe(
      () => space.stat(key),
      (stat) => ({ kind: 'stat', ...ofKey, stat: observeStat(stat) }),
    );
  } else if (op.kind === 'getAborts') {
    const abort = () => caller.aborted(number, (signal) => space.get(key, { signal }));
    await caller.observe(abort, value, 'VARVE_ABORTED');
  } else {
    const isSync = op.kind === 'getSync';
    await caller.observe(async () => (isSync ? space.getSync(key) : await space.get(key)), value);
  }
}

export async function tryRival(caller: Caller): Promise<void> {
  const settled = await caller.settle(() => caller.life.tryRival());
  if ('error' in settled) caller.judge(settled.error, 'VARVE_LOCKED');
}

export async function openReader(caller: Caller, op: OpOf<'reader'>, number: number): Promise<void> {
  const { life } = caller;
  const viewOf = life.beforeReader();
  const readOnly = { ...life.options, readOnly: true };
  const opened = await caller.read(() => openWithEnv(life.env, readOnly, life.bounds));
  if (opened === undefined) return;
  const reader = opened.value;
  const view = viewOf(reader);
  if (view !== undefined) {
    const { space, keys } = op;
    const options = { scan: {}, entries: Number.MAX_SAFE_INTEGER };
    await read(caller, { kind: 'getMany', space, keys }, reader, number, view);
    await read(caller, { kind: 'scan', space, ...options }, reader, number, view);
  }
  await caller.read(() => reader.close());
}
