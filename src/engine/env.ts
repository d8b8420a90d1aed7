/** Everything the engine needs from outside, as one object: swapped whole in tests and in native-free/. */
import type { Clock } from '../base/clock.ts';
import type { LockProvider } from '../fs/lock-port.ts';
import type { FsPort } from '../fs/port.ts';
import type { PoolProvider } from '../pool/port.ts';

export interface Env {
  readonly fs: FsPort;
  readonly lock: LockProvider;
  readonly clock: Clock;
  /** Cryptographically random bytes. */
  readonly random: (n: number) => Uint8Array;
  /** Threads to compute on; without it everything is computed on the calling one. */
  readonly pool?: PoolProvider;
}
