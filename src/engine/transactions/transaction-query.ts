/**
 * Queries inside a transaction: over its view, with its own writes where they will stand, and what the query
 * went through as claims.
 *
 * Invariants (test/engine/transaction-query.test.ts)
 * - A query gives what the same query gives once the transaction is committed and nothing else was ("a query
 *   in a transaction gives what the same query gives once it is committed").
 * - Claimed are every version met and every part of an index, or of the keys, gone through, and nothing
 *   behind it ("a serializable transaction sees phantoms in what it asked for").
 */
import { boundsOf } from '../../format/internal-key.ts';
import { queryOrExplain } from '../queries/queries.ts';
import type { OwnRow, QueryOverlay } from '../queries/query-rows.ts';
import type { QueryEntry, QueryOptions, QueryPlan } from '../queries/query-types.ts';
import { refuseAt } from '../reading/scans.ts';
import type { Key } from '../types.ts';
import { ownRecord } from './transaction-scan.ts';
import type { TransactionState } from './transaction-state.ts';

/** Options are checked, and own writes taken, at the call. */
export function queryTransaction(
  state: TransactionState,
  space: number,
  options: QueryOptions,
): AsyncIterable<QueryEntry<Key>> | Promise<QueryPlan> {
  state.assertOpen();
  refuseAt(options, 'transaction');
  const own = overlayOf(state, space);
  const moment = { ...state.moment, space, check: () => state.assertOpen(), own };
  return queryOrExplain(state.store, () => moment, options);
}

function overlayOf(state: TransactionState, space: number): QueryOverlay {
  const written = state.ownIn(boundsOf({}, space));
  let rows: Promise<OwnRow[]> | undefined;
  const read = async (): Promise<OwnRow[]> => {
    const all: OwnRow[] = [];
    for (const write of written) {
      const found = write.value === undefined ? undefined : { seq: 0, record: await ownRecord(state, write) };
      all.push({ keyPrefix: write.prefix, found });
    }
    return all;
  };
  return {
    rows: () => {
      rows ??= read();
      return rows;
    },
    claimRange: (range, tree) => {
      if (tree === 'keys') state.claimRange(range);
      else state.claimEntries(range);
    },
    met: (prefix, found) => state.met(prefix, found),
  };
}
