/**
 * The look behind the puts of a run: whether the packs it relies on last. Markers are listed before packs, so
 * a prune that marks later sees what the run has put before; one that marked earlier is seen here.
 *
 * Invariants (test/backup/vault-protocol.test.ts)
 * - No index object of the run goes on naming a pack that is gone ("a pack that was deleted before its run
 *   named it is named no more").
 */
import { VarveError } from '../base/errors.ts';
import { dropGone } from './index-write.ts';
import {
  type IndexState,
  lastingPacks,
  loadVault,
  packsIn,
  type VaultEnv,
  type VaultState,
} from './vault-state.ts';

/** A run that found something marked so often gives up. */
const looksMax = 10;

export class LookAgain {
  readonly #env: VaultEnv;
  readonly #what: string;
  #looks = 0;

  /** `what`: the run, for messages. */
  constructor(env: VaultEnv, what: string) {
    this.#env = env;
    this.#what = what;
  }

  /**
   * Loads the vault anew. `put`: index objects of the run; `before`: the state whose packs it relies on,
   * undefined where it does not know. `lasts`: all of them are there, named by the index and by no marker.
   */
  async look(
    put: readonly IndexState[],
    before: VaultState | undefined,
  ): Promise<{ state: VaultState; lasts: boolean }> {
    this.#looks++;
    const relied = before === undefined ? undefined : packsIn(before);
    const state = await loadVault(this.#env, lastingPacks, before);
    if (state.missing.length > 0) await dropGone(this.#env, put);
    const lasting = new Set(state.packs.filter((one) => one.indexed && !one.pending).map(({ hash }) => hash));
    return { state, lasts: relied !== undefined && [...relied].every((hash) => lasting.has(hash)) };
  }

  /** Call before what was marked, or is gone, is uploaded again. VARVE_CONFLICT: that was too often. */
  goOn(): void {
    if (this.#looks < looksMax) return;
    const what = `what ${this.#what} relies on keeps going`;
    throw new VarveError('VARVE_CONFLICT', `${what}: prunes take it, or the target loses it; try again`);
  }
}
