/** Policies as callers ask for them: of the store at its open, of a space when it is named. */
import { invalid } from '../base/errors.ts';
import { checkNames } from '../base/names.ts';
import type { PolicyAsked } from './history.ts';
import { checkHistory, type HistoryOptions } from './options.ts';
import type { Store } from './store.ts';

/** Policies of a named space. Kept in the store: left out, what was asked for last goes on. */
export interface SpaceOptions {
  /** How much history of the space is kept, instead of what the store keeps of others. */
  history?: HistoryOptions;
}

/** VARVE_INVALID_ARGUMENT names what is unknown or out of range. */
export function checkSpaceOptions(options: SpaceOptions): Partial<PolicyAsked> {
  checkNames(options, ['history'], 'space option');
  return options.history === undefined ? {} : { history: checkHistory(options.history) };
}

/**
 * Sets the policies of a space where they differ. They hold from the call on; close() and flush() wait until
 * they are durable, and what that fails with stops the log. VARVE_READ_ONLY where they would have to change.
 */
export function setSpacePolicy(store: Store, space: number, asked: Partial<PolicyAsked>): void {
  const { history } = store;
  if (!history.differs(space, asked)) return;
  store.writable();
  const { logger } = store.parts.options;
  store
    .run(() => history.setPolicy(space, asked))
    .catch((error: unknown) => {
      logger.error?.('the policy of a space could not be kept', { space, error });
    });
}

/** The option `history` of openEngine, where the store does not have it already. */
export async function askedHistory(store: Store): Promise<void> {
  const { history, parts } = store;
  const asked = parts.options.history;
  if (asked === undefined || !history.differs(0, { history: asked })) return;
  if (parts.options.readOnly) {
    const { versions, ms } = history.policyOf(0);
    throw invalid(`history is { versions: ${versions}, ms: ${ms} } in this store; a reader cannot change it`);
  }
  if (parts.write === undefined) return;
  try {
    await history.setPolicy(0, { history: asked });
  } catch (error) {
    // The open fails with what went wrong first.
    await Promise.allSettled([store.close()]);
    throw error;
  }
}
