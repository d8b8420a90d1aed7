/**
 * What tests of indexes share: stores whose background works in small steps, and an oracle that knows no
 * bytes.
 */
import { Prng } from '../../src/base/prng.ts';
import type { Engine } from '../../src/engine/engine.ts';
import { openWithEnv } from '../../src/engine/opening/open.ts';
import type { EngineOptions } from '../../src/engine/options.ts';
import type { IndexValue } from '../../src/format/index-key.ts';
import type { IndexField } from '../../src/format/index-rows.ts';
import type { MemoryFileSystem } from '../../src/fs/memory-file-system.ts';
import { memoryLock } from '../../src/fs/memory-lock.ts';
import type { IndexDefinition } from '../../src/secondary/definition.ts';
import { simulatedClock } from '../crash/machine.ts';
import { smallOptions } from './engine-kit.ts';

const compaction = { level0Tables: 2, tableBytes: 1024, level1Bytes: 2048, levelRatio: 2, tombstonesMin: 4 };
const reaping = { rows: 6, deletes: 3, bytes: 400 };
const indexing = { rows: 5, entries: 4, bytes: 300 };
let opens = 0;

export function openSmall(disk: MemoryFileSystem, options: EngineOptions = {}): Promise<Engine> {
  const clock = simulatedClock();
  const prng = new Prng(++opens);
  const env = { fs: disk, lock: memoryLock(disk, clock), clock, random: (n: number) => prng.bytes(n) };
  const bounds = { segmentBytes: 16 * 1024, compaction, reaping, indexing, flushMerges: true };
  return openWithEnv(env, { ...smallOptions, ...options }, bounds);
}

/** A key as the oracle knows it. */
export interface ModelRow {
  readonly size: number;
  readonly digest: string;
  readonly contentType?: string;
  readonly tags?: readonly string[];
  readonly metadata?: { readonly [name: string]: unknown };
}
export type Model = Map<string, ModelRow>;

const ranks = ['null', 'boolean', 'number', 'date', 'string', 'bytes'];

function typeOf(value: IndexValue): string {
  if (value === null) return 'null';
  if (value instanceof Date) return 'date';
  return value instanceof Uint8Array ? 'bytes' : typeof value;
}

/** The one order of values, said again without any encoding. */
export function compareValues(a: IndexValue, b: IndexValue): number {
  const type = typeOf(a);
  const byRank = ranks.indexOf(type) - ranks.indexOf(typeOf(b));
  if (byRank !== 0) return byRank;
  if (type === 'null') return 0;
  if (type === 'string' || type === 'bytes') return Buffer.compare(bufferOf(a), bufferOf(b));
  const x = Number(a);
  const y = Number(b);
  if (Number.isNaN(x) || Number.isNaN(y)) return Number(Number.isNaN(y)) - Number(Number.isNaN(x));
  return x < y ? -1 : x > y ? 1 : 0;
}

function bufferOf(value: IndexValue): Buffer {
  return typeof value === 'string' ? Buffer.from(value, 'utf8') : Buffer.from(value as Uint8Array);
}

export function compareTuples(a: readonly IndexValue[], b: readonly IndexValue[]): number {
  for (let i = 0; i < Math.min(a.length, b.length); i++) {
    const order = compareValues(a[i]!, b[i]!);
    if (order !== 0) return order;
  }
  return a.length - b.length;
}

/** The values of a field a row has. */
export function valuesOf(row: ModelRow, field: IndexField): IndexValue[] {
  switch (field) {
    case 'size':
      return [row.size];
    case 'digest':
      return [row.digest];
    case 'contentType':
      return row.contentType === undefined ? [] : [row.contentType];
    case 'tags':
      return [...new Set(row.tags ?? [])];
    case 'modified':
    case 'created':
      throw new Error('times are tested by examples');
    default:
      return at(row.metadata, field.metadata.split('.'));
  }
}

function at(map: unknown, path: readonly string[]): IndexValue[] {
  let value = map;
  for (const name of path) {
    if (!isPlain(value) || !Object.hasOwn(value as object, name)) return [];
    value = (value as { [name: string]: unknown })[name];
  }
  const list = Array.isArray(value) ? value : [value];
  const leaves = list.filter((item) => item !== undefined && !Array.isArray(item) && !isPlain(item));
  return distinct(leaves as IndexValue[]);
}

function isPlain(item: unknown): boolean {
  if (typeof item !== 'object' || item === null || Array.isArray(item)) return false;
  return !(item instanceof Date) && !(item instanceof Uint8Array);
}

function distinct(values: readonly IndexValue[]): IndexValue[] {
  return values.filter((value, i) => values.findIndex((other) => compareValues(value, other) === 0) === i);
}

export interface ModelEntry {
  readonly tuple: IndexValue[];
  readonly key: string;
}

/** What an index holds, in its order. */
export function entriesOf(model: Model, { on }: IndexDefinition): ModelEntry[] {
  const fields = (Array.isArray(on) ? on : [on]) as readonly IndexField[];
  const entries = Array.from(model).flatMap(([key, row]) => {
    let tuples: IndexValue[][] = [[]];
    for (const field of fields) {
      tuples = tuples.flatMap((tuple) => valuesOf(row, field).map((value) => [...tuple, value]));
    }
    return tuples.map((tuple) => ({ tuple, key }));
  });
  return entries.sort(
    (a, b) => compareTuples(a.tuple, b.tuple) || Buffer.compare(Buffer.from(a.key), Buffer.from(b.key)),
  );
}

/** A text for an entry, to be compared. */
export function entryText(key: string, values: unknown): string {
  const list = Array.isArray(values) ? values : [values];
  return `${list.map((value) => valueText(value as IndexValue)).join(' ')} = ${JSON.stringify(key)}`;
}

export function valueText(value: IndexValue): string {
  if (value instanceof Uint8Array) return `bytes:${Buffer.from(value).toString('hex')}`;
  if (value instanceof Date) return `date:${value.getTime()}`;
  if (typeof value === 'number') return `number:${value === 0 ? 0 : value}`;
  return `${typeof value}:${JSON.stringify(value)}`;
}
