/** What a store must still know of its past, and beside its rows: named snapshots, indexes, rules. */
import { isVarveError } from '../../src/base/errors.ts';
import type { Engine } from '../../src/engine/engine.ts';
import { definitionOf } from './features.ts';
import { type Mark, ruleNames } from './log-rows.ts';
import { stateAt } from './model.ts';
import { type History, hexKey } from './recorder.ts';

/** The store ends at some commit from `least` on, before the next one that has rows. */
export interface EndsAt {
  readonly least: number;
  readonly before: number;
}

/**
 * Throws when snapshots, indexes or rules are not those of a moment, a snapshot does not show what it saw, or
 * a quota counts other bytes than there are.
 */
export async function checkPast(engine: Engine, history: History, at: EndsAt): Promise<void> {
  const snapshots = engine.snapshots.list();
  for (const [kind, listed] of [
    ['snapshot', snapshots],
    ['index', engine.indexes.list()],
    ['rules', rulesSet(engine)],
  ] as const) {
    const names = listed.map(({ name }) => name).sort();
    const marks = history.marks.filter((mark) => mark.kind === kind);
    if (!possibleNames(marks, at).has(names.join())) throw new Error(`${kind}: [${names}] at no moment`);
  }
  for (const { name, seq } of snapshots) await compareSnapshot(engine, history, name, seq);
  for (const { name, state } of engine.indexes.list()) {
    if (state === 'ready') await compareIndex(engine, name);
  }
  await compareUsed(engine, history.brief.size > 0);
}

/**
 * Throws when the feed of all spaces shows a commit that is not there: the log of a recovery must not go on
 * with what it cut off. Feeds are read from the log, so nothing else that is asked of a store would tell.
 */
export async function compareFeed(engine: Engine, { before }: EndsAt): Promise<void> {
  try {
    for await (const { seq, type } of engine.changes({ since: 0, spaces: true, live: false }))
      if (seq >= before) throw new Error(`the feed shows ${type} ${seq}, which is not there`);
  } catch (error) {
    // Old log may be gone.
    if (!isVarveError(error, 'VARVE_HISTORY_GONE')) throw error;
  }
}

function rulesSet(engine: Engine): { name: string }[] {
  const policy = engine.policy();
  return ruleNames.filter((name) => policy[name] !== undefined).map((name) => ({ name }));
}

/**
 * What has expired, or a range delete hides, counts until it is taken away; `expires`: some of the values do.
 */
export async function compareUsed(engine: Engine, expires: boolean): Promise<void> {
  const { usedBytes } = engine.policy();
  if (usedBytes === undefined) return;
  // Of the same moment: a range delete may be carried out while values are scanned.
  const isExact = !expires && engine.stats().ranges.pending === 0;
  let bytes = 0;
  for await (const { stat } of engine.scan({ stats: true, values: false })) bytes += stat!.size;
  if (isExact ? usedBytes !== bytes : usedBytes < bytes)
    throw new Error(`the quota counts ${usedBytes} bytes, there are ${bytes}`);
}

/** Lists of names at every moment the store may have ended at. */
function possibleNames(marks: readonly Mark[], { least, before }: EndsAt): Set<string> {
  const names = new Set<string>();
  const lists = new Set<string>();
  const note = (): unknown => lists.add(Array.from(names).sort().join());
  let isNoted = false;
  for (const { seq, name, isThere } of marks) {
    if (seq >= before) break;
    if (seq > least && !isNoted) note();
    isNoted ||= seq > least;
    if (isThere) names.add(name);
    else names.delete(name);
    if (isNoted) note();
  }
  if (!isNoted) note();
  return lists;
}

async function compareSnapshot(engine: Engine, history: History, name: string, seq: number): Promise<void> {
  const expected = stateAt(history, seq, true).get('')!;
  const what = `snapshot ${name} at ${seq}`;
  for await (const entry of engine.scan({ at: { snapshot: name } })) {
    const key = hexKey(entry.key as string);
    const value = expected.get(key);
    if (value === undefined) throw new Error(`${what}: key ${key} should not be there`);
    if (Buffer.compare(value, entry.value!) !== 0) throw new Error(`${what}: key ${key} has other bytes`);
    expected.delete(key);
  }
  // What is brief may have expired by then.
  const lasting = stateAt(history, seq).get('')!;
  const missing = Array.from(expected.keys()).filter((key) => lasting.has(key));
  if (missing.length > 0) throw new Error(`${what} lacks keys ${missing}`);
}

/** The index says of every key what a scan does. */
export async function compareIndex(engine: Engine, name: string): Promise<void> {
  const scanned: string[] = [];
  for await (const { key, stat } of engine.scan({ stats: true, values: false })) {
    for (const tag of new Set(stat!.tags ?? [])) scanned.push(`${tag} ${key}`);
  }
  const found: string[] = [];
  for await (const { key, indexKey } of engine.query({ index: name, values: false }))
    found.push(`${indexKey} ${key}`);
  const [want, have] = [scanned.sort().join(', '), found.sort().join(', ')];
  if (want !== have) throw new Error(`index ${name} has [${have}], not [${want}]`);
}

/** Indexes that were being built are built to their end. */
export async function finishIndexes(engine: Engine): Promise<void> {
  for (const { name } of engine.indexes.list()) {
    await engine.indexes.define(definitionOf(name));
    await compareIndex(engine, name);
  }
}
