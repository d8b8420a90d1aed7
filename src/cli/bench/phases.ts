/** What `varve bench` does to a store of its own, and how fast it went. */
import { invalid } from '../../base/errors.ts';
import { KiB, MiB } from '../../base/limits.ts';
import { Prng } from '../../base/prng.ts';
import { throwIfAborted } from '../../engine/key-args.ts';
import type { Engine } from '../../index.ts';
import { edited } from '../../tune/edits.ts';
import { type Limits, rateOf } from './limits.ts';

/** One figure. `bytes`: of values a second; `calls`: a second. */
export interface BenchResult {
  readonly name: string;
  readonly unit: 'bytes' | 'calls';
  readonly value: number;
  /** The limit that bounds it, in the same unit, and the part of it that was reached. */
  readonly limit: string;
  readonly limitValue: number;
  readonly share: number;
}

/** What the phases work with. */
export interface BenchSetting {
  readonly engine: Engine;
  /** Random; a bench of it uses about three times its memory. */
  readonly data: Uint8Array;
  readonly limits: Limits;
  /** Given to each phase that goes by time. */
  readonly phaseMs: number;
  readonly signal: AbortSignal;
}

interface Phase {
  readonly name: string;
  run(setting: BenchSetting): Promise<BenchResult>;
}

const smallBytes = 100;
/** Key and head of a small record in the log, about. */
const recordBytes = 60;
const inFlight = 256;
const editBytes = 64;

/** In order: each finds what those before it stored. */
export const phases: readonly Phase[] = [
  { name: 'ingest, new', run: (setting) => ingest(setting, 'ingest, new', setting.data, true) },
  {
    name: 'ingest, similar',
    run: (setting) => ingest(setting, 'ingest, similar', changed(setting.data, 64 * KiB), false),
  },
  { name: 'ingest, unchanged', run: (setting) => ingest(setting, 'ingest, unchanged', setting.data, false) },
  {
    name: 'ingest, edited',
    run: (setting) => ingest(setting, 'ingest, edited', changed(setting.data, 4 * MiB), false),
  },
  { name: 'read back, checked', run: readBack },
  { name: 'small puts', run: smallPuts },
  { name: 'small gets', run: smallGets },
  { name: 'durable commits', run: commits },
];

/** One edit of 64 bytes every `stride` bytes or so. */
function changed(data: Uint8Array, stride: number): Uint8Array {
  return edited(data, Math.max(1, Math.floor(data.length / stride)), editBytes, stride);
}

function result(
  name: string,
  value: number,
  unit: BenchResult['unit'],
  limit: string,
  most: number,
): BenchResult {
  return { name, unit, value, limit, limitValue: most, share: most === 0 ? 0 : value / most };
}

/** New bytes are hashed and written, known ones only hashed. */
async function ingest(
  { engine, limits, signal }: BenchSetting,
  name: string,
  bytes: Uint8Array,
  writes: boolean,
): Promise<BenchResult> {
  const begun = performance.now();
  await engine.put(name, bytes, { signal });
  const value = rateOf(bytes.length, performance.now() - begun);
  if (writes && limits.diskWrite < limits.sha256)
    return result(name, value, 'bytes', 'disk write and fsync', limits.diskWrite);
  return result(name, value, 'bytes', 'SHA-256, all cores', limits.sha256);
}

async function readBack({ engine, data, limits, signal }: BenchSetting): Promise<BenchResult> {
  const name = 'read back, checked';
  const begun = performance.now();
  let at = 0;
  for await (const piece of engine.stream('ingest, new', { verify: true, signal })) {
    if (Buffer.compare(piece, data.subarray(at, at + piece.length)) !== 0)
      throw invalid('what was read back is not what was stored');
    at += piece.length;
  }
  if (at !== data.length) throw invalid(`read ${at} of ${data.length} bytes`);
  const value = rateOf(at, performance.now() - begun);
  if (limits.diskRead < limits.sha256) return result(name, value, 'bytes', 'disk read', limits.diskRead);
  return result(name, value, 'bytes', 'SHA-256, all cores', limits.sha256);
}

const smallKey = (n: number): string => `small/${String(n).padStart(9, '0')}`;

async function smallPuts({ engine, limits, phaseMs, signal }: BenchSetting): Promise<BenchResult> {
  const value = new Prng(2).bytes(smallBytes);
  const count = await callsFor(phaseMs, signal, (n) => engine.put(smallKey(n), value));
  const most = limits.diskWrite / (smallBytes + recordBytes);
  return result('small puts', count.perSecond, 'calls', 'disk write and fsync', most);
}

async function smallGets({ engine, limits, phaseMs, signal }: BenchSetting): Promise<BenchResult> {
  const prng = new Prng(3);
  const stored = await countOf(engine);
  const count = await callsFor(phaseMs, signal, () => engine.get(smallKey(prng.below(stored))));
  return result('small gets', count.perSecond, 'calls', 'memory copy', limits.memoryCopy / smallBytes);
}

async function countOf(engine: Engine): Promise<number> {
  let count = 0;
  for await (const _ of engine.scan({ prefix: 'small/', values: false })) count++;
  return count;
}

async function commits({ engine, limits, phaseMs, signal }: BenchSetting): Promise<BenchResult> {
  const value = new Prng(4).bytes(smallBytes);
  const begun = performance.now();
  let count = 0;
  for (; performance.now() - begun < phaseMs || count === 0; count++) {
    throwIfAborted(signal);
    await engine.put(`durable/${count}`, value);
  }
  const perSecond = rateOf(count, performance.now() - begun);
  return result('durable commits', perSecond, 'calls', 'write and fsync', limits.syncs);
}

/** Calls in rounds of 256 at once, for `ms` at least. */
async function callsFor(
  ms: number,
  signal: AbortSignal,
  call: (n: number) => Promise<unknown>,
): Promise<{ perSecond: number }> {
  const begun = performance.now();
  let count = 0;
  do {
    throwIfAborted(signal);
    await Promise.all(Array.from({ length: inFlight }, (_, i) => call(count + i)));
    count += inFlight;
  } while (performance.now() - begun < ms);
  return { perSecond: rateOf(count, performance.now() - begun) };
}
