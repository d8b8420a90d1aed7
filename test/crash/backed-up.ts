/**
 * Backups in crash runs: made while calls are, held against the state they are of, and made again into the
 * vault as it stood when the power went, by a store that may have lost commits which the vault has.
 */
import { MemoryBlobs } from '../../src/backup/memory-blobs.ts';
import type { Vault } from '../../src/backup/vault.ts';
import type { Engine } from '../../src/engine/engine.ts';
import { compareAll } from './compare.ts';
import { openOn, type StoreShape } from './machine.ts';
import { type State, stateAt } from './model.ts';
import type { History } from './recorder.ts';
import { refuseDamage, restoreProved, type VaultObjects, vaultOf } from './vaults.ts';

/** What a backup is held against. */
export interface BackedUp {
  readonly history: History;
  readonly state: State;
  readonly shape: StoreShape;
}

/** Throws unless every backup that a run has left restores as the state up to its last commit; how many. */
export async function checkBackups(
  objects: VaultObjects,
  history: History,
  shape: StoreShape,
): Promise<number> {
  const vault = await vaultOf(new MemoryBlobs(objects), 1);
  const backups = await vault.list();
  for (const { id, seq } of backups)
    await compareRestored(vault, id, { history, shape, state: stateAt(history, seq) });
  await refuseDamage(vault);
  return backups.length;
}

/** Backs up into a copy of the vault, twice; both restore as `state`, and nothing in the vault is damaged. */
export async function backUp(engine: Engine, objects: VaultObjects, expected: BackedUp): Promise<void> {
  const vault = await vaultOf(new MemoryBlobs(objects), 2);
  for (const mode of ['incremental', 'full'] as const) {
    const { id, ok } = await engine.backup(vault, { mode });
    if (!ok) throw new Error(`a backup (${mode}) after a crash left something out`);
    await compareRestored(vault, id, expected);
  }
  await refuseDamage(vault);
}

async function compareRestored(vault: Vault, id: string, { history, state, shape }: BackedUp): Promise<void> {
  const engine = await openOn(await restoreProved(vault, id), shape, 1);
  try {
    await compareAll(engine, history, state);
  } catch (error) {
    throw new Error(`backup ${id} restored: ${(error as Error).message}`, { cause: error });
  }
  await engine.close();
}
