/**
 * The versions of a key that are still there, and who keeps each of them.
 *
 * Invariants (test/engine/versions.test.ts)
 * - Versions come newest first, each with the reasons for which it is kept ("each version says why it is
 *   kept").
 * - A range delete that is not carried out yet is listed as it will be then ("a range delete is a deletion of
 *   each key").
 */
import type { Seq } from '../../base/brands.ts';
import { checkNames } from '../../base/names.ts';
import { rowKinds } from '../../format/row-kinds.ts';
import type { RangeRow } from '../../format/system-rows.ts';
import { isPinned } from '../../tree/keep-rule.ts';
import { RetentionJudge } from '../../tree/space-rules.ts';
import { rowPrefix, throwIfAborted } from '../key-args.ts';
import { statOf } from '../reading/reads.ts';
import type { Store } from '../store.ts';
import type { Key } from '../types.ts';
import type { KeptBy, VersionInfo } from './history-types.ts';
import { versionRows } from './own-version.ts';

/** A row of the key, or what a pending range delete does to it. */
interface Met {
  readonly seq: Seq;
  readonly isDelete: boolean;
  readonly timeMs: number;
  readonly stat: () => VersionInfo;
}

/** The versions of a key as they are now, newest first; those put later are not among them. */
export async function* versionsOf(
  store: Store,
  space: number,
  key: Key,
  options: { signal?: AbortSignal } = {},
): AsyncGenerator<VersionInfo, void, undefined> {
  const prefix = rowPrefix(space, key);
  const mark = store.marks.pin(store.visibleSeq);
  try {
    const reasons = new Reasons(store, space);
    for await (const met of metRows(store, prefix, mark.seq)) {
      throwIfAborted(options.signal);
      const info = met.stat();
      info.keptBy = reasons.of(met.seq, met.timeMs);
      yield info;
    }
  } finally {
    mark.end();
  }
}

/** Checks the arguments at the call, not at the first step. */
export function versions(
  store: Store,
  space: number,
  key: Key,
  options: { signal?: AbortSignal } = {},
): AsyncIterable<VersionInfo> {
  checkNames(options, ['signal'], 'option');
  store.assertReadable();
  rowPrefix(space, key);
  return { [Symbol.asyncIterator]: () => versionsOf(store, space, key, options) };
}

async function* metRows(
  store: Store,
  prefix: Uint8Array,
  visible: Seq,
): AsyncGenerator<Met, void, undefined> {
  const pending = store.forest.ranges.current.covering(prefix, visible);
  for await (const { seq, record } of versionRows(store, prefix, visible, visible)) {
    let range: RangeRow | undefined;
    // Of several the oldest one is carried out first; for the others nothing is left to delete.
    while (pending.length > 0 && pending[0]!.seq >= seq) range = pending.shift();
    if (range !== undefined && range.seq > seq && record.kind === rowKinds.put) yield deletion(range);
    const isDelete = record.kind !== rowKinds.put;
    const stat = (): VersionInfo => (isDelete ? deletionInfo(seq, record.timeMs) : valueInfo());
    const valueInfo = (): VersionInfo => {
      const { size, digest, modified, metadata, contentType, tags, expires } = statOf({ seq, record });
      const info: VersionInfo = { seq, time: modified, deleted: false, size, digest, keptBy: [] };
      if (metadata !== undefined) info.metadata = metadata;
      if (contentType !== undefined) info.contentType = contentType;
      if (tags !== undefined) info.tags = tags;
      if (expires !== undefined) info.expires = expires;
      return info;
    };
    yield { seq, isDelete, timeMs: record.timeMs, stat };
  }
}

function deletion({ seq, timeMs }: RangeRow): Met {
  return { seq, isDelete: true, timeMs, stat: () => deletionInfo(seq, timeMs) };
}

function deletionInfo(seq: Seq, timeMs: number): VersionInfo {
  return { seq, time: new Date(timeMs), deleted: true, size: 0, keptBy: [] };
}

/** Judges the versions of one key, newest first. */
class Reasons {
  readonly #store: Store;
  readonly #space: number;
  readonly #retention: RetentionJudge;
  #above: Seq = 0;
  #superseded = 0;

  constructor(store: Store, space: number) {
    this.#store = store;
    this.#space = space;
    const { retention } = store.forest.history.rules.rulesOf(space);
    this.#retention = new RetentionJudge(retention === undefined ? [] : [retention]);
  }

  of(seq: Seq, timeMs: number): KeptBy[] {
    const above = this.#above;
    this.#above = seq;
    if (above === 0) return ['current'];
    const newer = this.#superseded++;
    const retained = this.#retention.reasons(timeMs).map((rule) => `retention.${rule}` as const);
    const others = this.#reasons(seq, above, newer);
    const all = [...others, ...retained];
    return all.length > 0 ? all : ['pending'];
  }

  #reasons(s1: Seq, s2: Seq, newer: number): KeptBy[] {
    const { history, forest, marks, visibleSeq } = this.#store;
    const kept: KeptBy[] = [];
    const { versions: most } = history.policyOf(this.#space);
    if (newer < most) kept.push('history.versions');
    if (s2 > (history.readableFrom(this.#space)?.seq ?? Number.POSITIVE_INFINITY)) kept.push('history.ms');
    for (const { name, seq } of forest.history.snapshotsAt(visibleSeq)) {
      if (s1 <= seq && seq < s2) kept.push(`snapshot:${name}`);
    }
    // Those of views, and of scans, streams and diffs under way; that of this listing keeps the newest only.
    const pinned = Array.from(marks.pinned).sort((a, b) => a - b);
    if (isPinned(pinned, s1, s2) || s2 > marks.horizon(visibleSeq)) kept.push('view');
    return kept;
  }
}
