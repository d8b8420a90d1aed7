/** Snapshots, views and states of before: each shows one state, whatever is written or freed meanwhile. */
import type { ReadView } from '../../src/engine/history/read-view.ts';
import type { Key } from '../../src/engine/types.ts';
import type { Caller } from './caller.ts';
import { keyOf, spaceOf } from './calls.ts';
import type { OpOf } from './plan.ts';
import { observeScan } from './reading.ts';

const wholeScan = (space: string) => ({ kind: 'scan', space, scan: {}, entries: 0 }) as const;

/** Makes a snapshot of the name, or deletes it. */
export async function nameState(caller: Caller, op: OpOf<'snapshot' | 'snapshotDrop'>): Promise<void> {
  const { engine, world } = caller.life;
  const { marks } = world.oracle;
  const makes = op.kind === 'snapshot';
  const mark = marks.begin(`snapshot ${op.name}`, makes);
  const settled = await caller.settle(async () => {
    if (makes) return String((await engine.snapshots.create(op.name)).seq);
    await engine.snapshots.delete(op.name);
    return true;
  });
  const refusal = makes ? 'VARVE_CONFLICT' : 'VARVE_NOT_FOUND';
  marks.end(mark, settled, caller.viewAfter, refusal);
  if ('error' in settled) caller.judge(settled.error, refusal);
}

/** Reads a state of before: of a snapshot, or of a number, which need not be kept any more. */
export async function readPast(caller: Caller, op: OpOf<'past'>, number: number): Promise<void> {
  const { engine, view } = caller.life;
  if (op.share !== undefined) {
    const seq = Math.floor(view * op.share);
    await readAt(caller, op, number, { at: seq, seq, isKept: () => false });
    return;
  }
  const list = await caller.read(async () => engine.snapshots.list());
  if (list === undefined || list.value.length === 0) return;
  const { name, seq } = list.value[number % list.value.length]!;
  const { marks } = caller.life.world.oracle;
  const since = marks.tick;
  // It may be deleted, and made again, before it is looked up.
  const isKept = (): boolean => !marks.isTouched(`snapshot ${name}`, since);
  await readAt(caller, op, number, { at: { snapshot: name }, seq, isKept });
}

async function readAt(
  caller: Caller,
  op: OpOf<'past'>,
  number: number,
  { at, seq, isKept }: { at: number | { snapshot: string }; seq: number; isKept: () => boolean },
): Promise<void> {
  const { engine, world } = caller.life;
  const about = { view: seq, space: op.space };
  const space = spaceOf(engine, op.space);
  const got = await caller.settle(() => space.get(keyOf(op.key, number), { at }));
  const seen = await caller.settle(() =>
    observeScan((options) => space.scan<Key>({ ...options, at }), wholeScan(op.space), about),
  );
  const kept = isKept();
  for (const settled of [got, seen]) {
    if ('error' in settled)
      caller.judge(settled.error, ...(kept ? [] : (['VARVE_HISTORY_GONE', 'VARVE_NOT_FOUND'] as const)));
  }
  if (!kept && typeof at !== 'number') return;
  if ('value' in got) world.oracle.observe({ kind: 'value', ...about, key: op.key, bytes: got.value });
  if ('value' in seen) world.oracle.observe(seen.value);
}

/** A view shows the same before and after what nobody needs was freed. */
export async function holdView(caller: Caller, op: OpOf<'view'>, number: number): Promise<void> {
  const { engine } = caller.life;
  // A space may be looked up on the disk, which may fail or end the life.
  const made = await caller.read(async () => spaceOf(engine, op.space).view());
  if (made === undefined) return;
  const view = made.value;
  try {
    await readView(caller, view, op, number);
    await caller.read(async () => void (await (op.compacts ? engine.compact() : engine.flush())));
    await readView(caller, view, op, number);
  } finally {
    view.close();
  }
}

async function readView(caller: Caller, view: ReadView, op: OpOf<'view'>, number: number): Promise<void> {
  const { oracle } = caller.life.world;
  const about = { view: view.seq, space: op.space };
  const got = await caller.read(() => view.get(keyOf(op.key, number)));
  if (got !== undefined) oracle.observe({ kind: 'value', ...about, key: op.key, bytes: got.value });
  const seen = await caller.read(() =>
    observeScan((options) => view.scan<Key>(options), wholeScan(op.space), about),
  );
  if (seen !== undefined) oracle.observe(seen.value);
}
