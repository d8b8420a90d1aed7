/** Calls that define and drop indexes of the store's own keys, and that ask them. */
import type { Engine } from '../../src/engine/engine.ts';
import type { Key } from '../../src/engine/types.ts';
import type { IndexDefinition } from '../../src/secondary/definition.ts';
import type { Caller } from './caller.ts';
import type { IndexName, OpOf, QuerySpec } from './plan.ts';
import type { SeenQueryEntry } from './queries.ts';

/** What an index of each name is. */
export const definitions: { readonly [K in IndexName]: IndexDefinition } = {
  calls: { name: 'calls', kind: 'range', on: { metadata: 'id' } },
  hashed: { name: 'hashed', kind: 'hash', on: { metadata: 'id' } },
  sizes: { name: 'sizes', kind: 'range', on: 'size' },
};

export async function defineIndex(caller: Caller, op: OpOf<'index'>): Promise<void> {
  const { engine, world } = caller.life;
  const { marks } = world.oracle;
  const since = marks.tick;
  const mark = marks.begin(`index ${op.name}`, true, op.name);
  const { wait } = op;
  const settled = await caller.settle(async () => {
    const { state } = await engine.indexes.define(definitions[op.name], { wait });
    if (wait && state !== 'ready') throw new Error(`an index was built and is ${state}`);
    return true;
  });
  marks.end(mark, settled, caller.viewAfter);
  if (!('error' in settled)) return;
  // It may be dropped while it is being built.
  const isTouched = marks.isTouched(`index ${op.name}`, since, mark);
  caller.judge(settled.error, ...(isTouched ? (['VARVE_NOT_FOUND'] as const) : []));
}

export async function dropIndex(caller: Caller, op: OpOf<'indexDrop'>): Promise<void> {
  const { engine, world } = caller.life;
  const { marks } = world.oracle;
  const mark = marks.begin(`index ${op.name}`, false);
  const settled = await caller.settle(() => engine.indexes.drop(op.name));
  marks.end(mark, settled, caller.viewAfter);
  if ('error' in settled) caller.judge(settled.error);
}

/** Asks an index; one that is not there, or not built, must say so. */
export async function queryIndex(caller: Caller, op: OpOf<'query'>): Promise<void> {
  const { engine, view } = caller.life;
  const { query } = op;
  await caller.observe(
    () => answerOf(engine, query),
    (entries) => ({ kind: 'query', view, space: '', query, entries }),
    'VARVE_NOT_FOUND',
    'VARVE_NOT_READY',
  );
}

/** All that an index answers. */
export async function answerOf(engine: Engine, query: QuerySpec): Promise<SeenQueryEntry[]> {
  const { index, bounds, ...more } = query;
  const seen: SeenQueryEntry[] = [];
  for await (const { indexKey, key, seq, value } of engine.query<Key>({ index, ...bounds, ...more })) {
    const hex = Buffer.from(key as string).toString('hex');
    seen.push({ value: indexKey as number, key: hex, seq, ...(value === undefined ? {} : { bytes: value }) });
  }
  return seen;
}
