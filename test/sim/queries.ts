/** What a query of an index must answer, by the model. */
import type { History, Version } from './history.ts';
import type { QuerySpec } from './plan.ts';

/** An entry of an answer, keys as hex. */
export interface SeenQueryEntry {
  readonly value: number;
  readonly key: string;
  readonly seq: number;
  readonly bytes?: Uint8Array;
}

interface Expected {
  readonly value: number;
  readonly version: Version;
}

/** Throws when the answer is not that of the state. */
export function checkQuery(
  history: History,
  view: number,
  query: QuerySpec,
  entries: readonly SeenQueryEntry[],
): void {
  const what = `query at ${view} ${JSON.stringify(query)}`;
  const expected = expectedOf(history, view, query);
  const show = (some: readonly { value: number; key: string }[]): string =>
    some.map(({ value, key }) => `${value}:${key}`).join(' ');
  const wanted = expected.map(({ value, version }) => ({ value, key: version.key }));
  if (show(entries) !== show(wanted))
    throw new Error(`${what} has [${show(entries)}], not [${show(wanted)}]`);
  for (const [i, { seq, bytes }] of entries.entries()) {
    const { version } = expected[i]!;
    if (seq !== version.seq) throw new Error(`${what}: ${version.key} is at ${seq}, not ${version.seq}`);
    if (bytes !== undefined) history.checkBytes(version, bytes, what);
  }
}

function expectedOf(history: History, view: number, query: QuerySpec): Expected[] {
  const { gte = 0, lt = Number.MAX_SAFE_INTEGER, eq } = query.bounds;
  const found: Expected[] = [];
  for (const version of history.stateAt('', view)) {
    const value = query.index === 'sizes' ? history.lengthOf(version) : version.id!;
    // A counter has no metadata.
    const isEntry = query.index === 'sizes' || value > 0;
    if (isEntry && (eq === undefined ? value >= gte && value < lt : value === eq))
      found.push({ value, version });
  }
  // Keys come in their order: the state has it.
  found.sort((a, b) => a.value - b.value);
  if (query.reverse === true) found.reverse();
  return query.limit === undefined ? found : found.slice(0, query.limit);
}
