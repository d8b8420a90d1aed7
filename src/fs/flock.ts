/** flock through the optional native add-on fs-ext. Nothing else imports the add-on, and only when asked. */
import { createRequire } from 'node:module';
import { errnoOf, fsError } from './fs-errors.ts';

/** Takes a lock of the kernel on an open file; it ends when the descriptor is closed or its process dies. */
export interface FlockProvider {
  readonly name: 'flock';
  /** False when another descriptor, of this process or another, has it. VARVE_IO where flock is refused. */
  tryLock(fd: number): boolean;
}

export interface FlockUnavailable {
  /** Why, and what to do about it. */
  readonly unavailable: string;
}

type FlockSync = (fd: number, flags: 'exnb') => unknown;

/** Loads the add-on. Never throws: without it the writer lock is the socket guard and the owner record. */
export async function loadFlock(
  load: () => unknown = requireFsExt,
): Promise<FlockProvider | FlockUnavailable> {
  let loaded: unknown;
  try {
    loaded = load();
  } catch (error) {
    return { unavailable: reason(error) };
  }
  const flockSync = flockOf(loaded);
  if (flockSync === undefined) return { unavailable: 'fs-ext has no flockSync' };
  return {
    name: 'flock',
    tryLock(fd) {
      try {
        flockSync(fd, 'exnb');
        return true;
      } catch (error) {
        const errno = errnoOf(error);
        if (errno === 'EAGAIN' || errno === 'EWOULDBLOCK') return false;
        throw fsError(errno, 'flock refused', 'LOCK', error);
      }
    },
  };
}

function requireFsExt(): unknown {
  const loaded: unknown = createRequire(import.meta.url)('fs-ext');
  return loaded;
}

function flockOf(loaded: unknown): FlockSync | undefined {
  if (typeof loaded !== 'object' || loaded === null || !('flockSync' in loaded)) return undefined;
  const { flockSync } = loaded;
  if (typeof flockSync !== 'function') return undefined;
  return (fd, flags) => Reflect.apply(flockSync, loaded, [fd, flags]) as unknown;
}

function reason(error: unknown): string {
  const text = error instanceof Error ? error.message : String(error);
  const line = text.split('\n', 1)[0]!;
  if (/'fs-ext'/.test(line)) return 'fs-ext is not installed';
  const hint = 'if its install script was blocked, run `npm install-scripts approve fs-ext` and reinstall';
  return `the native part of fs-ext does not load (${line}); ${hint}`;
}
