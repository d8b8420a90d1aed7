/** Index objects that a run puts for its packs; what they name need not stay in memory then. */
import { isVarveError, VarveError } from '../base/errors.ts';
import { indexName } from '../format/vault-names.ts';
import type { IndexObject } from './index-object.ts';
import { writeIndexes } from './index-write.ts';
import type { IndexState, VaultEnv, VaultState } from './vault-state.ts';

export class RunIndexes {
  readonly #env: VaultEnv;
  readonly #state: Pick<VaultState, 'packs' | 'index' | 'open'>;
  readonly #all: IndexState[];
  /** Those whose entries are in memory too. */
  #inMemory: IndexState[] = [];

  /** Everything that is put is added to `all`; both are borrowed. */
  constructor(env: VaultEnv, state: Pick<VaultState, 'packs' | 'index' | 'open'>, all: IndexState[]) {
    this.#env = env;
    this.#state = state;
    this.#all = all;
  }

  /** Puts index objects of `packs` (numbers), which are durable in the vault. */
  async put(packs: ReadonlySet<number>): Promise<void> {
    const { packs: states, index } = this.#state;
    const written = await writeIndexes(this.#env, states, index.own, packs);
    this.#all.push(...written);
    this.#inMemory.push(...written);
  }

  /** As `put`, and takes out of memory what is there: `packs` are all in it that were not put before. */
  async spill(packs: ReadonlySet<number>): Promise<void> {
    if (packs.size > 0) await this.put(packs);
    const { packs: states, index, open } = this.#state;
    const numbers = new Map(states.map(({ hash }, number) => [hash, number]));
    const sources = [];
    for (const one of this.#inMemory) {
      const object = await open.open(one).catch(notGivenBack);
      sources.push({ object, numbers: Int32Array.from(object.packs, ({ hash }) => numbers.get(hash) ?? -1) });
    }
    this.#inMemory = [];
    index.spill(sources);
  }
}

function notGivenBack(error: unknown): IndexObject {
  if (!isVarveError(error, 'VARVE_CORRUPT', 'VARVE_NOT_FOUND', 'VARVE_FORMAT_VERSION')) throw error;
  const what = 'the target does not give back what was put';
  throw new VarveError('VARVE_IO', `${error.file ?? indexName('')}: ${what}`, { cause: error });
}
