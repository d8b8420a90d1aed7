/** What reads returned, each with the number up to which it saw commits, held against the history. */

import type { History, Version } from './history.ts';
import type { QuerySpec, ScanSpec } from './plan.ts';
import { checkQuery, type SeenQueryEntry } from './queries.ts';
import { isWithin } from './ranges.ts';

/** An entry of a scan: a key with what was asked for, or a folded prefix. */
export interface SeenEntry {
  readonly key?: string;
  readonly prefix?: string;
  readonly seq?: number;
  readonly size?: number;
  readonly value?: Uint8Array;
  readonly id?: number;
}

/** Where and as of which commit a read was made. */
export interface ReadAt {
  readonly view: number;
  readonly space: string;
  /** A drop of the space was under way. */
  readonly mayBeDropped?: boolean;
  /** What the clock said meanwhile, and the latest it ever said; undefined: any time. */
  readonly clock?: readonly [low: number, high: number];
}

export type Observation = ReadAt &
  (
    | { kind: 'value'; key: string; bytes: Uint8Array | undefined }
    | { kind: 'has'; key: string; found: boolean }
    | { kind: 'stat'; key: string; stat: { id: number | undefined; seq: number; size: number } | undefined }
    | {
        kind: 'range';
        key: string;
        start: number;
        end: number;
        bytes: Uint8Array | undefined;
        whole: boolean;
      }
    | { kind: 'query'; query: QuerySpec; entries: readonly SeenQueryEntry[] }
    | { kind: 'scan'; scan: ScanSpec; entries: readonly SeenEntry[]; whole: boolean }
    /** A reader opened when every commit up to `durable` was safe, and shows those up to its view. */
    | { kind: 'opened'; durable: number }
  );

/** Throws when the read returned anything but the state at its view. */
export function checkObservation(history: History, seen: Observation): void {
  const { view, space } = seen;
  if (seen.kind === 'opened') {
    const missed = history.versions.find(({ seq }) => seq > view && seq <= seen.durable);
    if (missed !== undefined)
      throw new Error(`a reader sees ${view}, commit ${missed.seq} was durable before it opened`);
    return;
  }
  if (seen.kind === 'query') {
    checkQuery(history, view, seen.query, seen.entries);
    return;
  }
  if (seen.kind === 'scan') {
    checkScan(history, seen);
    return;
  }
  const version = history.at(space, seen.key, view);
  const what = `${seen.kind} of "${space}" ${seen.key} at ${view}`;
  if (seen.kind === 'has') {
    if (seen.found !== (version !== undefined)) throw new Error(`${what} said ${seen.found}`);
    return;
  }
  const found = seen.kind === 'stat' ? seen.stat : seen.bytes;
  if (version === undefined || found === undefined) {
    if (version !== undefined || found !== undefined)
      throw new Error(`${what} ${found === undefined ? `misses commit ${version!.seq}` : 'found something'}`);
    return;
  }
  if (seen.kind === 'stat') {
    const { id, seq, size } = seen.stat!;
    const expected = history.lengthOf(version);
    if (id !== version.id || seq !== version.seq || size !== expected)
      throw new Error(
        `${what}: call ${id}, ${seq}, ${size} bytes, not ${version.id}, ${version.seq}, ${expected}`,
      );
  } else if (seen.kind === 'value') history.checkBytes(version, seen.bytes!, what);
  else {
    const slice = history.bytesOf(version).subarray(seen.start, seen.end);
    const expected = seen.whole ? slice : slice.subarray(0, seen.bytes!.length);
    if (Buffer.compare(seen.bytes!, expected) !== 0) throw new Error(`${what}: other bytes in the range`);
  }
}

function checkScan(history: History, seen: Extract<Observation, { kind: 'scan' }>): void {
  const what = `scan of "${seen.space}" at ${seen.view} ${JSON.stringify(seen.scan)}`;
  const expected = expectedScan(history.stateAt(seen.space, seen.view), seen.scan);
  if (seen.entries.length > expected.length || (seen.whole && seen.entries.length < expected.length)) {
    const show = (some: readonly (SeenEntry | Version | string)[]): string =>
      some.map((one) => (typeof one === 'string' ? `${one}*` : (one.key ?? 'folded'))).join(' ');
    throw new Error(`${what} has [${show(seen.entries)}], expected [${show(expected)}]`);
  }
  for (const [i, entry] of seen.entries.entries()) {
    const want = expected[i]!;
    const where = `${what}, entry ${i}`;
    if (typeof want === 'string') {
      if (entry.prefix !== want) throw new Error(`${where} is ${entry.key ?? entry.prefix}, not ${want}*`);
      continue;
    }
    const isSame = entry.key === want.key && entry.seq === want.seq;
    if (!isSame) throw new Error(`${where} is ${entry.key} ${entry.seq}, not ${want.key} ${want.seq}`);
    if (entry.id !== undefined && entry.id !== want.id) throw new Error(`${where} is of call ${entry.id}`);
    if (seen.scan.values !== false) history.checkBytes(want, entry.value!, where);
    if (entry.size !== history.lengthOf(want)) throw new Error(`${where}: size ${entry.size}`);
  }
}

/** Versions, and folded prefixes as hex, in the order a scan yields them. Hex has the order of its bytes. */
function expectedScan(state: readonly Version[], scan: ScanSpec): (Version | string)[] {
  const { prefix = '', after, reverse = false } = scan;
  const inside = state.filter(({ key }) => isWithin(key, scan));
  if (reverse) inside.reverse();
  const afterFold = after === undefined ? undefined : foldOf(after, prefix, scan.delimiter);
  const out: (Version | string)[] = [];
  for (const version of inside) {
    const { key } = version;
    const fold = foldOf(key, prefix, scan.delimiter);
    if (after !== undefined) {
      const isInFold = afterFold !== undefined && afterFold === after && key.startsWith(afterFold);
      const isBehind = reverse ? key < after : key > after;
      if (!isBehind || isInFold) continue;
    }
    if (fold === undefined) out.push(version);
    else if (out.at(-1) !== fold) out.push(fold);
  }
  return scan.limit === undefined ? out : out.slice(0, scan.limit);
}

/** The key up to and including the first delimiter behind the prefix. All are hex but the delimiter. */
function foldOf(key: string, prefix: string, delimiter: string | undefined): string | undefined {
  if (delimiter === undefined) return undefined;
  const hex = Buffer.from(delimiter).toString('hex');
  let at = key.indexOf(hex, prefix.length);
  while (at >= 0 && at % 2 === 1) at = key.indexOf(hex, at + 1);
  return at < 0 ? undefined : key.slice(0, at + hex.length);
}
