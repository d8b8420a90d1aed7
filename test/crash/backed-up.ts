/**
 * Backups in crash runs: made while calls are, held against the state they are of, and made again into the
 * vault as it stood when the power went, by a store that may have lost commits which the vault has.
 */
import { MemoryBlobs } from '../../src/backup/memory-blobs.ts';
import { runRestore } from '../../src/backup/restore-run.ts';
import { openVaultIn, type Vault } from '../../src/backup/vault.ts';
import { Prng } from '../../src/base/prng.ts';
import type { Engine } from '../../src/engine/engine.ts';
import { MemoryFileSystem } from '../../src/fs/memory-file-system.ts';
import { compareAll } from './compare.ts';
import { openOn, type StoreShape, simulatedClock } from './machine.ts';
import { type State, stateAt } from './model.ts';
import type { History } from './recorder.ts';

/** What a vault holds, by name; nobody changes the bytes. */
export type VaultObjects = readonly (readonly [name: string, bytes: Uint8Array])[];

/** What a backup is held against. */
export interface BackedUp {
  readonly history: History;
  readonly state: State;
  readonly shape: StoreShape;
}

const restoreBounds = { segmentBytes: 16 * 1024, memtableBytes: 64 * 1024 };
/** Virtual ms between two openings of a vault: whoever opens it later lives later. */
const openingMs = 1_000_000;

/** The vault of `blobs`, made where there is none; `turn` tells its openings apart. */
export function vaultOf(blobs: MemoryBlobs, turn: number): Promise<Vault> {
  const prng = new Prng(turn + 0x7a17);
  const clock = simulatedClock(1_700_000_000_000 + turn * openingMs);
  return openVaultIn(blobs, { create: true }, { clock, random: (n) => prng.bytes(n) });
}

/** Every backup that a run has left restores as the state up to its last commit. */
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

async function refuseDamage(vault: Vault): Promise<void> {
  const { damage } = await vault.verify();
  if (damage.length > 0) throw new Error(`the vault is damaged: ${damage[0]!.file}: ${damage[0]!.message}`);
}

async function compareRestored(
  vault: Vault,
  id: string,
  { history, state, shape }: BackedUp,
): Promise<void> {
  const disk = new MemoryFileSystem();
  const { ok, proved } = await runRestore(vault.env, disk, { backup: id }, restoreBounds);
  if (!ok || !proved) throw new Error(`backup ${id} is not proved by its restore`);
  const engine = await openOn(disk, shape, 1);
  try {
    await compareAll(engine, history, state);
  } catch (error) {
    throw new Error(`backup ${id} restored: ${(error as Error).message}`, { cause: error });
  }
  await engine.close();
}
