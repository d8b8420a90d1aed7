/** Opens a store after its writers were stopped and holds it against the model. */
import { readFileSync } from 'node:fs';
import path from 'node:path';
import type { Engine } from '../../src/engine/engine.ts';
import { superName } from '../../src/format/file-names.ts';
import { openNodeFileSystem } from '../../src/fs/node-file-system.ts';
import { auditDisk } from '../crash/audit.ts';
import { digestOf, type LaneModel, type Round, type State } from './lane-model.ts';
import { type DirShape, openDir } from './store-dir.ts';

export interface CheckOptions {
  readonly shape: DirShape;
  /** A torn slot or a file that was never synced may be told of; else health must be perfect. */
  readonly mayWarn: boolean;
  /** Writes, deletes, closes and opens again. */
  readonly goOn: boolean;
}

/** Throws an Error that says what does not hold. */
export async function checkStore(
  dir: string,
  model: LaneModel,
  round: Round,
  options: CheckOptions,
): Promise<void> {
  const engine = await openDir(dir, options.shape);
  let found: State;
  try {
    refuseBadHealth(engine, options.mayWarn);
    found = await stateOf(engine);
    model.accept(round, found);
    await auditDir(dir);
    if (options.goOn) await goOn(engine);
  } finally {
    await engine.close();
  }
  if (!options.goOn) return;
  const again = await openDir(dir, options.shape);
  try {
    refuseBadHealth(again, options.mayWarn);
    const second = await stateOf(again);
    const differs =
      second.size !== found.size || [...second].some(([key, digest]) => found.get(key) !== digest);
    if (differs) throw new Error('a close and a new open changed what is there');
  } finally {
    await again.close();
  }
  await auditDir(dir);
}

/** Every key with its value's digest; scan, get and getSync have to agree. */
export async function stateOf(engine: Engine): Promise<State> {
  const state: State = new Map();
  for await (const entry of engine.scan()) {
    if (entry.key === undefined) continue;
    const value = entry.value!;
    state.set(entry.key, digestOf(value));
    if (state.size % 7 !== 0) continue;
    for (const direct of [await engine.get(entry.key), engine.getSync(entry.key)]) {
      if (direct === undefined || Buffer.compare(direct, value) !== 0)
        throw new Error(`key ${entry.key}: scan and get differ`);
    }
  }
  return state;
}

/**
 * Reference counts, chunks and rows of the files as they lie there. A merge in the background may install
 * others meanwhile: then again.
 */
export async function auditDir(dir: string): Promise<void> {
  const roots = (): Buffer => readFileSync(path.join(dir, superName));
  for (let before = roots(); ; before = roots()) {
    const { problems } = await auditDisk(await openNodeFileSystem(dir, { readOnly: true }));
    if (problems.length === 0) return;
    if (before.equals(roots())) throw new Error(problems.join('; '));
  }
}

/** Degraded, or with a warning where none may be. */
export function refuseBadHealth(engine: Engine, mayWarn: boolean): void {
  const health = engine.health();
  if (health.status === 'degraded' || (!health.ok && !mayWarn)) throw new Error(JSON.stringify(health));
}

/** The store takes writes of each kind and ends as it was. */
async function goOn(engine: Engine): Promise<void> {
  const large = new Uint8Array(30_000).map((_, i) => (i * i) >> 5);
  await Promise.all([engine.put('after/small', 'x'), engine.put('after/large', large)]);
  await engine.flush();
  const got = await engine.get('after/large');
  if (got === undefined || Buffer.compare(got, large) !== 0)
    throw new Error('a put after recovery is not there');
  await engine.batch([
    { type: 'delete', key: 'after/small' },
    { type: 'delete', key: 'after/large' },
  ]);
}
