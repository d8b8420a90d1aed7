/** What an open looks at before it reads a store: is one there, and may one be made. */
import { isDamage, VarveError } from '../../base/errors.ts';
import { CatalogStore } from '../../catalog/catalog-store.ts';
import { lockName, storeDirs, superName } from '../../format/file-names.ts';
import { hasErrno } from '../../fs/dirs.ts';
import type { FsPort } from '../../fs/port.ts';
import type { Env } from '../env.ts';
import type { CheckedOptions } from '../options.ts';
import { identityOf } from './identity.ts';

/** True when there is a SUPER. One the disk cannot look at may open; VARVE_IO when neither works. */
export async function storeExists({ fs }: Env): Promise<boolean> {
  try {
    return (await fs.stat(superName)) !== null;
  } catch (error) {
    if (!isDamage(error)) throw error;
    return await opens(fs, error);
  }
}

async function opens(fs: FsPort, failure: unknown): Promise<boolean> {
  try {
    await (await fs.open(superName, 'read')).close();
    return true;
  } catch (error) {
    if (hasErrno(error, 'ENOENT')) return false;
    throw failure;
  }
}

/** A directory without SUPER may hold nothing but what a creation that crashed left. */
export async function refuseForeign(env: Env, options: CheckedOptions): Promise<void> {
  if (options.readOnly || !options.createIfMissing) {
    throw new VarveError('VARVE_NOT_FOUND', `${env.fs.root}: there is no store here`, { file: env.fs.root });
  }
  // SUPER may have come since it was looked for: another process is making the store.
  const ours = new Set<string>([...storeDirs, lockName, superName]);
  const foreign = (await env.fs.list('')).find(({ name }) => !ours.has(name));
  if (foreign !== undefined) {
    throw new VarveError(
      'VARVE_INVALID_ARGUMENT',
      `${env.fs.root} holds other files (${foreign.name}): give an empty or new directory`,
      { file: foreign.name },
    );
  }
}

/**
 * Makes a store where none `existed` before the lock was taken and none is now: another process may have made
 * it meanwhile.
 */
export async function createIfNeeded(env: Env, options: CheckedOptions, existed: boolean): Promise<void> {
  const exists = existed || (await storeExists(env));
  if (exists && options.errorIfExists) {
    throw new VarveError('VARVE_CONFLICT', `${env.fs.root}: a store exists and errorIfExists is set`, {
      retryable: false,
    });
  }
  if (!exists) await CatalogStore.create(env.fs, identityOf(options, env), env.random);
}
