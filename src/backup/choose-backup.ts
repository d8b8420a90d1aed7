/** The backup that options name. */
import { VarveError } from '../base/errors.ts';
import { findSnap, listSnaps, type Snap } from './snaps.ts';
import type { VaultEnv } from './vault-state.ts';

/** The backup that options name, the newest by default. VARVE_NOT_FOUND. */
export async function chooseBackup(env: VaultEnv, options: { backup?: string; at?: Date }): Promise<Snap> {
  const { snaps, damaged } = await listSnaps(env, 'snap');
  const { at, backup } = options;
  if (at !== undefined) {
    const before = snaps.filter(({ timeMs }) => timeMs <= at.getTime());
    if (before.length === 0)
      throw new VarveError('VARVE_NOT_FOUND', `no backup in the vault is from before ${at.toISOString()}`);
    return before.at(-1)!;
  }
  try {
    return findSnap(snaps, backup ?? 'latest');
  } catch (error) {
    const same = damaged.find(({ name }) => backup !== undefined && name.includes(`-${backup}`));
    throw same?.error ?? error;
  }
}
