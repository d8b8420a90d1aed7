/** Turns what reads return into observations. */
import { fromHex } from '../../src/base/bytes.ts';
import { isVarveError } from '../../src/base/errors.ts';
import type { Engine } from '../../src/engine/engine.ts';
import type { Entry, EntryStat, Key, ScanOptions } from '../../src/engine/types.ts';
import type { Observation, ReadAt, SeenEntry } from './observations.ts';
import type { ScanSpec, SimOp } from './plan.ts';

const hexOf = (key: Key): string => Buffer.from(key as string).toString('hex');

/** What stat() told, of a counter without a call; throws when its times contradict each other. */
export function observeStat(
  stat: EntryStat | undefined,
): { id: number | undefined; seq: number; size: number } | undefined {
  if (stat === undefined) return undefined;
  if (stat.created.getTime() > stat.modified.getTime()) throw new Error('stat: created after modified');
  return { id: stat.metadata?.id as number | undefined, seq: stat.seq, size: stat.size };
}

function scanOptionsOf(scan: ScanSpec): ScanOptions {
  const { prefix, gt, gte, lt, lte, after, ...plain } = scan;
  const keys = Object.entries({ prefix, gt, gte, lt, lte, after }).filter(([, hex]) => hex !== undefined);
  return { ...plain, ...Object.fromEntries(keys.map(([name, hex]) => [name, fromHex(hex!)])) };
}

/** Scans to the end, or stops or aborts after some entries. */
export async function observeScan(
  scan: (options: ScanOptions) => AsyncIterable<Entry<Key>>,
  op: { kind: 'scan' | 'scanStops' | 'scanAborts'; space: string; scan: ScanSpec; entries: number },
  about: ReadAt,
): Promise<Observation> {
  const aborter = new AbortController();
  const options = scanOptionsOf(op.scan);
  const entries: SeenEntry[] = [];
  let whole = true;
  const made = op.kind === 'scanAborts' ? { ...options, signal: aborter.signal } : options;
  for await (const entry of scan(made)) {
    entries.push(seenEntry(entry));
    if (op.kind === 'scan' || entries.length < op.entries) continue;
    if (op.kind === 'scanAborts') aborter.abort();
    else {
      whole = false;
      break;
    }
  }
  return { kind: 'scan', ...about, scan: op.scan, entries, whole };
}

function seenEntry(entry: Entry<Key>): SeenEntry {
  if (entry.key === undefined) return { prefix: hexOf(entry.prefix) };
  const { seq, size, value, stat } = entry;
  const id = observeStat(stat)?.id;
  return {
    key: hexOf(entry.key),
    seq,
    size,
    ...(value === undefined ? {} : { value }),
    ...(id === undefined ? {} : { id }),
  };
}

/** Reads a range of a value, or leaves after its first piece. */
export async function observeRange(
  space: Engine,
  op: Extract<SimOp, { kind: 'read' | 'readCancels' }>,
  key: Key,
  at: ReadAt,
): Promise<Observation> {
  const end = op.start + op.length;
  const about = { kind: 'range', ...at, key: op.key, start: op.start, end } as const;
  const reader = space.stream(key, { start: op.start, end }).getReader();
  const parts: Uint8Array[] = [];
  try {
    for (;;) {
      const { value, done } = await reader.read();
      if (done) break;
      parts.push(value);
      if (op.kind === 'readCancels') {
        await reader.cancel();
        return { ...about, bytes: Buffer.concat(parts), whole: false };
      }
    }
  } catch (error) {
    if (isVarveError(error, 'VARVE_NOT_FOUND')) return { ...about, bytes: undefined, whole: true };
    throw error;
  }
  return { ...about, bytes: Buffer.concat(parts), whole: true };
}
