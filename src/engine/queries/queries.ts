/**
 * Queries over one consistent view: entries of an index, or keys that meet conditions, from the source with
 * the fewest rows.
 *
 * Invariants (test/engine/query.test.ts)
 * - The view is fixed at the call, whatever is written while the loop goes on ("a query sees the moment of
 *   the call").
 * - Memory: one row, or `limit` keys where rows must be sorted; sorting without a limit is refused ("an order
 *   that no index serves is refused without a limit").
 * - Nothing is pinned once the loop has ended, thrown or been left ("a query that is left lets go").
 */
import type { Seq } from '../../base/brands.ts';
import { invalid, VarveError } from '../../base/errors.ts';
import { queryHeapRowsMax } from '../../base/limits.ts';
import { type IndexField, type IndexRow, indexKinds, indexStates } from '../../format/index-rows.ts';
import { boundsOf } from '../../format/internal-key.ts';
import type { FieldBounds, FieldCondition } from '../../secondary/conditions.ts';
import { fieldName } from '../../secondary/definition.ts';
import {
  chooseSource,
  type Measured,
  type Question,
  type Source,
  sourcesOf,
} from '../../secondary/query-planner.ts';
import { throwIfAborted } from '../key-args.ts';
import type { Pin } from '../reading/read-marks.ts';
import { Reads } from '../reading/reads.ts';
import type { ScanMoment } from '../reading/scans.ts';
import type { Store } from '../store.ts';
import type { Key } from '../types.ts';
import { type Asked, type Common, checkCommon, checkWhere, isIndexQuery, tupleRange } from './query-args.ts';
import { bareEntry, entryOf } from './query-entries.ts';
import { measureSources } from './query-measure.ts';
import {
  behind,
  entryRange,
  entryRows,
  isUnder,
  keyRows,
  meetsAll,
  type QueryOverlay,
  type QueryRow,
  type QueryState,
  type RowRange,
  versionOf,
} from './query-rows.ts';
import { orderOf, SortedRows } from './query-sort.ts';
import type { IndexQuery, QueryEntry, QueryOptions, QueryPlan, WhereQuery } from './query-types.ts';

type Result = IteratorResult<QueryEntry<Key>, undefined>;

/** The state a query sees. */
export interface QueryMoment extends ScanMoment {
  /** What a transaction lays over it. */
  readonly own?: QueryOverlay | undefined;
}

/** A query, or with `explain` how it would be answered. */
export function queryOrExplain(
  store: Store,
  moment: () => QueryMoment,
  options: QueryOptions,
): AsyncIterable<QueryEntry<Key>> | Promise<QueryPlan> {
  return options?.explain === true ? explain(store, moment, options) : query(store, moment, options);
}

/**
 * Starts a query; arguments are checked and the state is fixed at the call: what `moment` gives, and
 * something keeps in that turn. A second loop asks it again.
 */
function query(
  store: Store,
  moment: () => QueryMoment,
  options: QueryOptions,
): AsyncIterable<QueryEntry<Key>> {
  const run = prepare(store, moment, options);
  let first: Query | undefined = run;
  return {
    [Symbol.asyncIterator]: () => {
      const taken = first ?? prepare(store, moment, options);
      first = undefined;
      return new QueryIterator(store, taken);
    },
  };
}

/** How the query would be answered now. */
async function explain(store: Store, moment: () => QueryMoment, options: QueryOptions): Promise<QueryPlan> {
  const run = prepare(store, moment, options);
  try {
    return await store.run(() => run.explain());
  } finally {
    run.mark.end();
  }
}

/** A query with its view. */
interface Query {
  readonly mark: Pin;
  readonly rows: () => AsyncGenerator<QueryEntry<Key>>;
  readonly explain: () => Promise<QueryPlan>;
}

function prepare(store: Store, moment: () => QueryMoment, options: QueryOptions): Query {
  store.assertReadable();
  const common = checkCommon(options);
  const { space, seq, expiryMs, check, own } = moment();
  if (space === undefined) return nothing(store, seq);
  const state = { store, reads: new Reads(store), space, moment: { seq, expiryMs }, check, own };
  if (isIndexQuery(options)) return prepareIndex(state, common, options);
  return prepareWhere(state, common, options);
}

/** There was no such space at that moment. */
function nothing(store: Store, seq: Seq): Query {
  const plan = { index: null, bounds: {}, filter: {}, estimatedRows: 0, considered: [] };
  return {
    mark: store.marks.pin(seq),
    rows: async function* rows() {
      // There was nothing.
    },
    explain: async () => ({ ...plan, order: 'any' }),
  };
}

function prepareIndex(state: QueryState, common: Common, options: IndexQuery): Query {
  const { store, space, moment } = state;
  const index = store.parts.indexes.get(space, options.index);
  if (index === undefined) {
    throw new VarveError('VARVE_NOT_FOUND', `no index ${JSON.stringify(options.index)}`);
  }
  refuseUnready(index, moment.seq, store.visibleSeq);
  const range = tupleRange(index, options);
  const after = afterOf(common, index.name);
  const entryQuery = { index, range, reverse: common.reverse, after, exact: range.exact, once: false };
  return {
    mark: store.marks.pin(state.moment.seq),
    rows: async function* rows() {
      let left = common.limit;
      if (left === 0) return;
      for await (const row of entryRows(state, entryQuery)) {
        throwIfAborted(common.signal);
        yield await entryOf(state, common, row, index, range);
        if (--left === 0) return;
      }
    },
    explain: async () => {
      const source: Source = { index, range, used: [], isOrdered: true };
      const [measured] = await measureSources(store, [source], () => entryRange(entryQuery));
      const bounds = { [index.on.map(fieldName).join(', ')]: boundsGiven(options) };
      const estimatedRows = measured!.rows;
      const considered = [{ index: index.name, estimatedRows }];
      return { index: index.name, bounds, filter: {}, order: 'served', estimatedRows, considered };
    },
  };
}

function boundsGiven(options: IndexQuery): FieldBounds {
  const given = Object.entries(options).filter(([name]) =>
    ['eq', 'gt', 'gte', 'lt', 'lte', 'prefix'].includes(name),
  );
  return Object.fromEntries(given) as FieldBounds;
}

function afterOf({ after }: Common, index: string | null): Uint8Array | undefined {
  if (after === undefined) return undefined;
  if (after.index !== index) throw invalid('after is the cursor of another query');
  return after.at;
}

function prepareWhere(state: QueryState, common: Common, options: WhereQuery): Query {
  const asked = checkWhere(options);
  const { store } = state;
  return {
    mark: store.marks.pin(state.moment.seq),
    rows: async function* rows() {
      if (common.limit === 0) return;
      const { source } = await choose(state, common, asked);
      if (source.isOrdered) yield* ordered(state, common, asked, source);
      else yield* sorted(state, common, asked, source);
    },
    explain: async () => {
      const { source, measured } = await choose(state, common, asked);
      return planOf(asked, source, measured);
    },
  };
}

interface Choice {
  readonly source: Measured;
  readonly measured: readonly Measured[];
}

async function choose(state: QueryState, common: Common, asked: Asked): Promise<Choice> {
  const { store, space, moment } = state;
  const { after, limit } = common;
  const isLimited = limit <= queryHeapRowsMax && after === undefined;
  const question: Question = { conditions: asked.conditions, orderBy: asked.orderBy, isLimited };
  const ready = store.parts.indexes.list(space).filter((index) => isReady(index, moment.seq));
  let sources = sourcesOf(question, ready, { from: new Uint8Array(0), to: undefined });
  // A cursor is of one source: going on from it is going on there.
  if (after !== undefined) sources = sources.filter(({ index }) => (index?.name ?? null) === after.index);
  const usable = sources.filter(({ isOrdered }) => isOrdered || isLimited);
  if (usable.length === 0 && after !== undefined) throw invalid('after is the cursor of another query');
  if (usable.length === 0) {
    throw invalid('no index has the order that orderBy asks for: define one, or give a limit', {
      actual: asked.orderBy,
    });
  }
  const rangeOf = (source: Source): RowRange => rangeOfSource(state, common, asked, source);
  const measured = await measureSources(store, usable, rangeOf);
  return { source: chooseSource(question, measured)!, measured };
}

function rangeOfSource(state: QueryState, common: Common, asked: Asked, source: Source): RowRange {
  const { index, range } = source;
  const { reverse, after } = common;
  if (index !== undefined) {
    return entryRange({ index, range, reverse, after: after?.at, once: true });
  }
  const bounds = { ...boundsOf({ prefix: asked.keyPrefix }, state.space), reverse };
  return after === undefined ? bounds : behind(bounds, withSpace(state.space, after.at));
}

function withSpace(space: number, at: Uint8Array): Uint8Array {
  const { from } = boundsOf({}, space);
  const out = new Uint8Array(from.length + at.length);
  out.set(from);
  out.set(at, from.length);
  return out;
}

/** Rows of a source that meet all conditions, each key once. */
async function* matching(
  state: QueryState,
  common: Common,
  asked: Asked,
  source: Source,
): AsyncGenerator<QueryRow> {
  const { index, range, used } = source;
  const { reverse, after } = common;
  // What a hash stands for is asked again.
  const isExact = index !== undefined && index.kind !== indexKinds.hash;
  const filter = isExact
    ? asked.conditions.filter((condition) => !used.includes(condition))
    : asked.conditions;
  const under = boundsOf({ prefix: asked.keyPrefix }, state.space).from;
  const all =
    index === undefined
      ? keyRows(state, rangeOfSource(state, common, asked, source))
      : entryRows(state, { index, range, reverse, after: after?.at, once: true });
  const needed = orderField(asked);
  for await (const row of all) {
    throwIfAborted(common.signal);
    if (!isUnder(row, under) || !meetsAll(row, filter)) continue;
    if (needed !== undefined && row.fields.components(needed).length === 0) continue;
    yield row;
  }
}

function orderField({ orderBy }: Asked): IndexField | undefined {
  return orderBy === 'key' ? undefined : orderBy;
}

async function* ordered(
  state: QueryState,
  common: Common,
  asked: Asked,
  source: Source,
): AsyncGenerator<QueryEntry<Key>> {
  let left = common.limit;
  for await (const row of matching(state, common, asked, source)) {
    yield await entryOf(state, common, row, source.index, undefined);
    if (--left === 0) return;
  }
}

/** The first `limit` rows by the field, then by key. */
async function* sorted(
  state: QueryState,
  common: Common,
  asked: Asked,
  source: Source,
): AsyncGenerator<QueryEntry<Key>> {
  const kept = new SortedRows(common, state.store.parts.options.memory.sortBytes);
  for await (const row of matching(state, common, asked, source)) {
    const { keyPrefix } = row;
    const order = orderOf(row, asked, common.reverse);
    if (order !== undefined) kept.add({ order, keyPrefix: keyPrefix.slice() });
  }
  for (const { keyPrefix } of kept.rows) {
    throwIfAborted(common.signal);
    const found = await versionOf(state, keyPrefix);
    if (found !== undefined) yield await bareEntry(state, common, { keyPrefix, found });
  }
}

function planOf(asked: Asked, source: Measured, measured: readonly Measured[]): QueryPlan {
  const { index, used, rows } = source;
  const isAny = asked.orderBy === undefined;
  const considered = measured.map((other) => ({
    index: other.index?.name ?? null,
    estimatedRows: other.rows,
  }));
  return {
    index: index?.name ?? null,
    bounds: boundsByField(used),
    filter: boundsByField(asked.conditions.filter((condition) => !used.includes(condition))),
    order: isAny ? 'any' : source.isOrdered ? 'served' : 'sorted',
    estimatedRows: rows,
    considered,
  };
}

/** Several conditions on one field are numbered from the second on. */
function boundsByField(conditions: readonly FieldCondition[]): { [field: string]: FieldBounds } {
  const byField: { [field: string]: FieldBounds } = {};
  for (const { name, given } of conditions) {
    let label = name;
    for (let n = 2; label in byField; n++) label = `${name} ${n}`;
    byField[label] = given;
  }
  return byField;
}

/**
 * VARVE_HISTORY_GONE for a state before it was ready, VARVE_NOT_READY while it is built, VARVE_CONFLICT where
 * it cannot be.
 */
function refuseUnready(index: IndexRow, seq: Seq, visibleSeq: Seq): void {
  const name = JSON.stringify(index.name);
  if (index.state === indexStates.failed) {
    throw new VarveError('VARVE_CONFLICT', `index ${name} cannot be built: ${index.reason}`, {
      retryable: false,
    });
  }
  if (isReady(index, seq)) return;
  if (isReady(index, visibleSeq)) {
    const message = `index ${name} answers from commit ${index.readySeq} on: it was not ready before`;
    throw new VarveError('VARVE_HISTORY_GONE', message, { actual: seq });
  }
  throw new VarveError('VARVE_NOT_READY', `index ${name} is being built: it answers when that is done`);
}

function isReady(index: IndexRow, view: Seq): boolean {
  return index.state === indexStates.ready && index.readySeq <= view;
}

/** The loop of a query; calls wait for each other. */
class QueryIterator implements AsyncIterableIterator<QueryEntry<Key>, undefined> {
  readonly #store: Store;
  readonly #query: Query;
  readonly #rows: AsyncGenerator<QueryEntry<Key>>;

  constructor(store: Store, run: Query) {
    this.#store = store;
    this.#query = run;
    this.#rows = run.rows();
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  async next(): Promise<Result> {
    try {
      // A call of its own: close() waits for it.
      const result = await this.#store.run(() => this.#rows.next());
      if (result.done !== true) return result;
    } catch (error) {
      await this.#end();
      throw error;
    }
    await this.#end();
    return { value: undefined, done: true };
  }

  async return(): Promise<Result> {
    await this.#end();
    return { value: undefined, done: true };
  }

  async #end(): Promise<void> {
    this.#query.mark.end();
    await this.#rows.return(undefined);
  }
}
