/** Vaults of crash runs, in memory: opened with a clock and chance of their own, restored with proof. */
import { MemoryBlobs } from '../../src/backup/memory-blobs.ts';
import { runRestore } from '../../src/backup/restore-run.ts';
import { openVaultIn, type Vault } from '../../src/backup/vault.ts';
import { Prng } from '../../src/base/prng.ts';
import { MemoryFileSystem } from '../../src/fs/memory-file-system.ts';
import { simulatedClock } from './machine.ts';

/** What a vault holds, by name; nobody changes the bytes. */
export type VaultObjects = readonly (readonly [name: string, bytes: Uint8Array])[];

const restoreBounds = { segmentBytes: 16 * 1024, memtableBytes: 64 * 1024 };
/** Virtual ms between two openings of a vault: whoever opens it later lives later. */
const openingMs = 1_000_000;

/** The vault of `blobs`, made where there is none; `turn` tells its openings apart. */
export function vaultOf(blobs: MemoryBlobs, turn: number): Promise<Vault> {
  const prng = new Prng(turn + 0x7a17);
  const clock = simulatedClock(1_700_000_000_000 + turn * openingMs);
  return openVaultIn(blobs, { create: true }, { clock, random: (n) => prng.bytes(n) });
}

/** Throws unless every backup in a vault restores with its root, and nothing in it is damaged. */
export async function checkRestores(objects: VaultObjects | undefined): Promise<void> {
  if (objects === undefined) return;
  const vault = await vaultOf(new MemoryBlobs(objects), 1);
  for (const { id } of await vault.list()) await restoreProved(vault, id);
  await refuseDamage(vault);
}

/** Throws when a verify of the vault finds anything. */
export async function refuseDamage(vault: Vault): Promise<void> {
  const { damage } = await vault.verify();
  if (damage.length > 0) throw new Error(`the vault is damaged: ${damage[0]!.file}: ${damage[0]!.message}`);
}

/** A disk with the store of a backup; throws unless the restore proves it. */
export async function restoreProved(vault: Vault, id: string): Promise<MemoryFileSystem> {
  const disk = new MemoryFileSystem();
  const { ok, proved } = await runRestore(vault.env, disk, { backup: id }, restoreBounds);
  if (!ok || !proved) throw new Error(`backup ${id} is not proved by its restore`);
  return disk;
}
