/**
 * Holds a disk against a run that met a fault: the model is the calls themselves, since the order of those
 * that failed is nobody's promise.
 */
import type { Engine } from '../../src/engine/engine.ts';
import type { RangeRow } from '../../src/format/system-rows.ts';
import type { MemoryFileSystem } from '../../src/fs/memory-file-system.ts';
import { AuditCache } from './audit-cache.ts';
import type { Attempt, FaultyRun } from './faulty.ts';
import { openOn, type StoreShape } from './machine.ts';
import { compareIndex, compareUsed } from './past.ts';
import { hexKey } from './recorder.ts';
import type { Row } from './row.ts';
import { covers } from './system-rows.ts';
import { counterKey } from './workload.ts';

const audits = new AuditCache();
const counterHex = hexKey(counterKey);

/** A disk that was opened, what its files say, and the run. */
interface Found {
  readonly engine: Engine;
  readonly rows: readonly Row[];
  readonly bySeq: ReadonlyMap<number, readonly Row[]>;
  readonly pending: readonly RangeRow[];
  readonly run: FaultyRun;
  readonly shape: StoreShape;
}

/**
 * Opens `disk` and holds it against the run: acknowledged commits are there, nothing is there that nobody
 * asked for, batches are whole, the newest version of each key reads as one of the values given for it, and
 * snapshots, indexes and rules are those that were acknowledged, and say what the rows do.
 */
export async function checkAfterFault(
  disk: MemoryFileSystem,
  run: FaultyRun,
  shape: StoreShape,
  seed: number,
): Promise<void> {
  const engine = await openOn(disk, shape, seed, {}, true);
  if (engine.health().status === 'degraded') throw new Error(JSON.stringify(engine.health()));
  const { rows, system, problems } = await audits.audit(disk, (await audits.load(disk))!);
  if (problems.length > 0) throw new Error(problems.join('; '));
  const bySeq = new Map<number, Row[]>();
  for (const row of rows) {
    if (!row.isLate) bySeq.set(row.seq, [...(bySeq.get(row.seq) ?? []), row]);
    else if (!run.attempts.some(({ range, seq }) => range?.has(row.key) && (seq ?? row.seq) === row.seq))
      throw new Error(`late row of ${row.seq}: nobody deleted a range with ${row.key}`);
  }
  const found: Found = { engine, rows, bySeq, pending: system.pending, run, shape };
  checkAcknowledged(found);
  for (const [seq, group] of bySeq) {
    const isExplained = run.attempts.some((attempt) => explains(found, attempt, seq, group));
    if (!isExplained && !isExpiry(found, group)) throw new Error(`rows of ${seq} are not those of one call`);
  }
  await compareNewest(found);
  checkMarks(found);
  await compareFeatures(found);
  await engine.put('after', 'x');
  await engine.close();
}

function checkAcknowledged(found: Found): void {
  for (const { seq, durable, changes } of found.run.attempts) {
    if (!durable || seq === undefined) continue;
    const missing = Array.from(changes).filter(
      ([key, value]) =>
        value !== undefined &&
        !found.bySeq.get(seq)?.some((row) => row.key === key && row.isPut) &&
        !mayBeGone(found, key, seq),
    );
    if (missing.length > 0) throw new Error(`acknowledged commit ${seq} lost key ${missing[0]![0]}`);
  }
}

/** A merge leaves out what nobody can see. */
function mayBeGone({ rows, run, shape }: Found, key: string, seq: number): boolean {
  if (shape.merges !== true) return false;
  return (
    rows.some((row) => row.key === key && row.seq > seq) ||
    run.attempts.some(
      ({ kind, range, changes, seq: by }) =>
        // A delete may have no number of its own. What is deleted, or has expired, goes with its delete, and
        // with what it had superseded.
        ((by ?? seq + 1) > seq &&
          (range?.has(key) === true || (changes.has(key) && changes.get(key) === undefined))) ||
        (kind === 'brief' && changes.has(key) && (by ?? seq) >= seq),
    )
  );
}

function explains(found: Found, attempt: Attempt, at: number, rows: readonly Row[]): boolean {
  const { changes, seq } = attempt;
  if (seq !== undefined && seq !== at) return false;
  const isWhole = Array.from(changes).every(
    ([key, value]) =>
      value === undefined || rows.some((row) => row.isPut && row.key === key) || mayBeGone(found, key, at),
  );
  return (
    isWhole && rows.every(({ key, isPut }) => changes.has(key) && isPut === (changes.get(key) !== undefined))
  );
}

/** The clock deletes what has expired. */
function isExpiry({ run }: Found, rows: readonly Row[]): boolean {
  return rows.every(
    ({ key, isPut, seq }) =>
      !isPut &&
      run.attempts.some(
        ({ kind, changes, seq: put }) => kind === 'brief' && changes.has(key) && (put ?? 0) < seq,
      ),
  );
}

async function compareNewest(found: Found): Promise<void> {
  const { engine, run } = found;
  const served = new Set<string>();
  for (const name of ['', ...engine.spaces.list()]) {
    const space = name === '' ? engine : engine.space(name);
    for await (const entry of space.scan()) {
      const [hex, seq] = [hexKey(entry.key as string), entry.seq];
      served.add(`${seq} ${hex}`);
      if (!isGiven(found, hex, seq, entry.value!))
        throw new Error(`key ${hex} at ${seq} has bytes nobody put`);
      for (const { range, seq: by, durable } of run.attempts) {
        if (durable && by !== undefined && by > seq && range?.space === name && range.has(hex))
          throw new Error(`key ${hex} at ${seq} is there, and range delete ${by} was acknowledged`);
      }
    }
  }
  for (const { seq, key } of liveRows(found, Number.MAX_SAFE_INTEGER)) {
    const isServed = served.delete(`${seq} ${key}`);
    if (!isServed && !isBrief(found, seq, key)) throw new Error(`key ${key} at ${seq} is not served`);
  }
  if (served.size > 0) throw new Error(`keys are served, and no row says so: ${Array.from(served).join()}`);
}

function isGiven({ run }: Found, key: string, seq: number, value: Uint8Array): boolean {
  return run.attempts.some(({ kind, changes, seq: own }) => {
    const bytes = changes.get(key);
    if (bytes === undefined || (own !== undefined && own !== seq)) return false;
    return kind === 'count' ? isCount(run, value) : Buffer.compare(bytes, value) === 0;
  });
}

function isCount({ attempts }: FaultyRun, value: Uint8Array): boolean {
  const text = Buffer.from(value).toString();
  return /^[1-9]\d*$/.test(text) && Number(text) <= attempts.filter(({ kind }) => kind === 'count').length;
}

const isBrief = ({ run }: Found, seq: number, key: string): boolean =>
  run.attempts.some(
    ({ kind, changes, seq: own }) => kind === 'brief' && changes.has(key) && (own ?? seq) === seq,
  );

/** The newest row of each key with commits up to `last`, where it is to be seen. */
function liveRows({ rows, pending }: Found, last: number): Row[] {
  const newest = new Map<string, Row>();
  for (const row of rows) if (row.seq <= last) newest.set(`${row.space} ${row.key}`, row);
  const isHidden = ({ seq, space, key }: Row): boolean =>
    pending.some((range) => range.seq <= last && range.seq > seq && covers(range, space, key));
  return Array.from(newest.values()).filter((row) => row.isPut && !isHidden(row));
}

/**
 * What was acknowledged last of a snapshot, an index or the rules holds, unless another call may have come.
 */
function checkMarks({ engine, run }: Found): void {
  const there = new Set([
    ...engine.snapshots.list().map(({ name }) => `snapshot ${name}`),
    ...engine.indexes.list().map(({ name }) => `index ${name}`),
    ...(engine.policy().quotaBytes === undefined ? [] : ['rules']),
  ]);
  const names = new Set([...there, ...run.attempts.flatMap(({ mark }) => mark?.name ?? [])]);
  for (const name of names) {
    const calls = run.attempts.filter(({ mark }) => mark?.name === name);
    if (calls.length === 0) throw new Error(`${name} is there, and nobody made it`);
    const last = calls.findLast(({ durable, mark }) => durable && mark!.made !== undefined);
    if (last === undefined || calls.some((one) => one !== last && one.end > last.begin)) continue;
    if (there.has(name) !== last.mark!.made)
      throw new Error(
        `${name} is ${there.has(name) ? '' : 'not '}there, and that was acknowledged otherwise`,
      );
  }
}

/** Counters, snapshots, indexes and quotas say what the rows do. */
async function compareFeatures(found: Found): Promise<void> {
  const { engine, run } = found;
  const told = run.attempts.flatMap(({ kind, durable, told: said = 0 }) =>
    kind === 'count' && durable ? [said] : [],
  );
  const isReset = run.attempts.some(({ range }) => range?.space === '' && range.has(counterHex));
  const count = Number(Buffer.from((await engine.get(counterKey)) ?? []).toString());
  if (!isReset && count < Math.max(0, ...told)) throw new Error(`the counter says ${count} after ${told}`);
  for (const { name, seq } of engine.snapshots.list()) {
    const expected = liveRows(found, seq).filter(({ space }) => space === 0);
    const rows = new Map(expected.map((row) => [row.key, row]));
    for await (const entry of engine.scan({ at: { snapshot: name } })) {
      const key = hexKey(entry.key as string);
      if (rows.get(key)?.seq !== entry.seq || !isGiven(found, key, entry.seq, entry.value!))
        throw new Error(`snapshot ${name} at ${seq} shows ${key} of ${entry.seq}`);
      rows.delete(key);
    }
    const lost = Array.from(rows.values()).filter((row) => !isBrief(found, row.seq, row.key));
    if (lost.length > 0) throw new Error(`snapshot ${name} at ${seq} lacks ${lost[0]!.key}`);
  }
  for (const { name, state } of engine.indexes.list())
    if (state === 'ready') await compareIndex(engine, name);
  const expires = run.attempts.some(({ kind }) => kind === 'brief');
  await compareUsed(engine, expires);
}
