/** Decides from an owner record whether its owner may still be writing. Pure. */
import type { LockOwner } from './lock-port.ts';
import type { ProcessIdentity } from './process-identity.ts';

export type LockVerdict =
  /** Never owned, or released in order. */
  | 'free'
  /** The owner is dead for certain: the lock may be taken. */
  | 'stale'
  /** The owner lives. */
  | 'alive'
  /** Cannot be known from here: counts as alive until the user breaks the lock. */
  | 'unknown';

/** What the judge knows besides the record. */
export interface LockFacts {
  readonly me: ProcessIdentity;
  /** We hold flock on LOCK: whoever held it on this kernel has let go. */
  readonly flockHeld: boolean;
  /** We hold a guard that every process of this host would need (Windows pipes). */
  readonly hostGuardHeld: boolean;
  /** This process holds a lock with this nonce. */
  readonly isOurs: (nonce: string) => boolean;
  readonly lives: (pid: number, processStart: string) => boolean;
}

export function judgeOwner(owner: LockOwner | null, facts: LockFacts): LockVerdict {
  if (owner === null || owner.released) return 'free';
  if (facts.isOurs(owner.nonce)) return 'alive';
  const { me } = facts;
  // flock is the kernel's word: it ends with its holder, in every namespace of that kernel.
  const flockTells = facts.flockHeld && owner.providers.includes('flock');
  if (me.bootId !== '' && me.bootId === owner.bootId) {
    if (flockTells) return 'stale';
    if (owner.pidNamespace === '' || owner.pidNamespace !== me.pidNamespace) return 'unknown';
    if (owner.pid === me.pid && owner.processStart === me.processStart) return 'stale';
    return facts.lives(owner.pid, owner.processStart) ? 'alive' : 'stale';
  }
  if (owner.host !== me.host) return 'unknown';
  if (me.bootId !== '' && owner.bootId !== '') return 'stale';
  if (me.bootId !== owner.bootId) return 'unknown';
  if (flockTells || facts.hostGuardHeld) return 'stale';
  if (!facts.lives(owner.pid, owner.processStart)) return 'stale';
  // Without a start time a live pid may be another process that got the number.
  return owner.processStart === '' ? 'unknown' : 'alive';
}
