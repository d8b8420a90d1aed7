/**
 * A writer in a process of its own: runs the lanes of one round and says on standard output, by synchronous
 * writes, what was acknowledged. Its one argument is a WorkerConfig as JSON. Lines:
 *
 *   r              about to open           o                  opened
 *   x CODE         opening failed          a LANE I SEQ DUR   call acknowledged; on disk is all up to DUR
 *   e LANE I CODE  call failed             b TEXT             something is wrong, whatever the parent knows
 *   c              closed                  f CODE             closing failed
 */
import { closeSync, openSync, writeSync } from 'node:fs';
import { initChecksum } from '../../src/codec/checksum.ts';
import type { Engine } from '../../src/engine/engine.ts';
import { type LaneOp, laneOp, performOp, type Script } from './lane-ops.ts';
import { type DirShape, openDir } from './store-dir.ts';

export interface WorkerConfig {
  readonly dir: string;
  readonly shape: DirShape;
  readonly script: Script;
  readonly lanes: number;
  /** Calls of each lane. */
  readonly calls: number;
  /** Calls of each lane between a close with a new open; 0 for none. */
  readonly reopenEvery: number;
  /** Opens and then only waits to be killed. */
  readonly waits?: boolean;
  /** The disk goes away under the worker: it may refuse reads and look damaged, but not lie. */
  readonly diskDies?: boolean;
  /** Fills the heap after that many calls, until the runtime aborts. */
  readonly exhaustHeapAfter?: number;
  /** Leaves only so many descriptors free, from that many calls of lane 0 on, for some calls. */
  readonly fewDescriptors?: { readonly free: number; readonly after: number; readonly calls: number };
}

const config = JSON.parse(process.argv[2]!) as WorkerConfig;
/** Last acknowledged value of each key; undefined after an acknowledged delete. */
const acked = new Map<string, Uint8Array | undefined>();
let isStopped = false;

function say(line: string): void {
  const bytes = Buffer.from(`${line}\n`);
  for (let from = 0; from < bytes.length; ) {
    try {
      from += writeSync(1, bytes, from);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EAGAIN') throw error;
    }
  }
}

function codeOf(error: unknown): string {
  const { code, errno } = error as { code?: unknown; errno?: unknown };
  if (typeof code !== 'string' || !code.startsWith('VARVE_')) {
    say(`b not an engine error: ${String((error as Error).stack ?? error).replaceAll('\n', ' | ')}`);
    return 'UNTYPED';
  }
  if (errno === undefined && code === 'VARVE_IO')
    say(`b no errno: ${String((error as Error).stack).replaceAll('\n', ' | ')}`);
  return errno === undefined ? code : `${code}/${String(errno)}`;
}

async function runLane(engine: Engine, lane: number, from: number, to: number): Promise<void> {
  for (let i = from; i < to; i++) {
    if (i === config.exhaustHeapAfter) exhaustHeap();
    if (lane === 0) holdDescriptors(i);
    const op = laneOp(config.script, lane, i);
    const wasDegraded = engine.health().status === 'degraded';
    let seq: number | undefined;
    try {
      seq = await performOp(engine, op);
    } catch (error) {
      say(`e ${lane} ${i} ${codeOf(error)}`);
      // The lane may go on only where it is certain that nothing was written; this ends it.
      isStopped = true;
      await refuseAck(engine, lane);
      return;
    }
    if (wasDegraded && op.kind !== 'delete')
      say(`b call ${i} of lane ${lane} acknowledged by a stopped engine`);
    for (const { key, value } of op.changes) acked.set(key, value);
    say(`a ${lane} ${i} ${seq ?? '-'} ${engine.stats().durableSeq}`);
    if (i % 5 === 0) compare(op, await Promise.all(op.changes.map(({ key }) => readable(engine, key))));
    if (lane === 0 && i % 40 === 39) await flush(engine);
    if (isStopped) return;
  }
}

/** What a read of an own key gives; a read may be refused only where descriptors are held back. */
async function readable(engine: Engine, key: string): Promise<Uint8Array | undefined | 'refused'> {
  try {
    return await engine.get(key);
  } catch (error) {
    const code = codeOf(error);
    const isExpected = config.fewDescriptors === undefined ? config.diskDies : /EMFILE/.test(code);
    if (isExpected !== true) say(`b get ${key}: ${code}`);
    return 'refused';
  }
}

function compare({ changes }: LaneOp, found: readonly (Uint8Array | undefined | 'refused')[]): void {
  changes.forEach(({ key, value }, n) => {
    const got = found[n];
    if (got === 'refused') return;
    if (value === undefined || got === undefined ? value === got : Buffer.compare(value, got) === 0) return;
    const show = (bytes: Uint8Array | undefined): string =>
      bytes === undefined
        ? 'nothing'
        : `${bytes.length} bytes (${Buffer.from(bytes.subarray(-24)).toString()})`;
    say(`b key ${key} reads as ${show(got)}, acknowledged was ${show(value)}`);
  });
}

async function flush(engine: Engine): Promise<void> {
  try {
    await engine.flush();
  } catch (error) {
    codeOf(error);
    isStopped = true;
  }
}

/** Once writes have failed for good, none is acknowledged again. */
async function refuseAck(engine: Engine, lane: number): Promise<void> {
  if (engine.health().status !== 'degraded') return;
  try {
    await engine.put(`${lane}/late`, 'late');
    say(`b lane ${lane}: a put was acknowledged after the engine had stopped`);
  } catch (error) {
    codeOf(error);
  }
}

/** Everything acknowledged still reads, whatever has failed since. */
async function readBack(engine: Engine): Promise<void> {
  for (const [key, value] of acked)
    compare({ kind: 'put', changes: [{ key, value }] }, [await readable(engine, key)]);
}

let held: number[] = [];

function holdDescriptors(i: number): void {
  const few = config.fewDescriptors;
  if (few === undefined) return;
  if (i === few.after) {
    try {
      for (;;) held.push(openSync('/dev/null', 'r'));
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EMFILE') throw error;
    }
    for (const fd of held.splice(-few.free || held.length, few.free)) closeSync(fd);
  } else if (i === few.after + few.calls) releaseDescriptors();
}

function releaseDescriptors(): void {
  for (const fd of held) closeSync(fd);
  held = [];
}

function exhaustHeap(): never {
  const kept: unknown[] = [];
  for (;;) kept.push(Array.from({ length: 10_000 }, (_, n) => ({ n })));
}

async function open(): Promise<Engine | undefined> {
  try {
    return await openDir(config.dir, config.shape);
  } catch (error) {
    say(`x ${codeOf(error)}`);
    return undefined;
  }
}

async function main(): Promise<void> {
  await initChecksum();
  say('r');
  const { calls, lanes } = config;
  const step = config.reopenEvery === 0 ? calls : config.reopenEvery;
  for (let from = 0; from < calls && !isStopped; from += step) {
    const engine = await open();
    if (engine === undefined) return;
    say('o');
    const health = engine.health();
    if (health.status === 'degraded' && config.diskDies !== true)
      say(`b opened degraded: ${JSON.stringify(health)}`);
    if (config.waits === true) await new Promise((resolve) => setTimeout(resolve, 60_000));
    const to = Math.min(calls, from + step);
    await Promise.all(Array.from({ length: lanes }, (_, lane) => runLane(engine, lane, from, to)));
    if (isStopped) {
      releaseDescriptors();
      await readBack(engine);
      const damage = engine.health().damage;
      if (damage.length > 0 && config.diskDies !== true)
        say(`b damage reported where none is: ${JSON.stringify(damage)}`);
    }
    try {
      await engine.close();
      say('c');
    } catch (error) {
      say(`f ${codeOf(error)}`);
      return;
    }
  }
}

await main();
