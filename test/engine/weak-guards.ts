/** Guards of puts without one of their rules, each of which must be seen to lose what it guards. */
import { type HeldIds, PutGuard } from '../../src/chunk/put-guard.ts';

export class NoPins extends PutGuard {
  override isPinned(): boolean {
    return false;
  }
}

export class NoHeldIds extends PutGuard {
  override heldNow(): HeldIds {
    return { has: () => false };
  }
}

export class CondemnedHits extends PutGuard {
  override isCondemned(): boolean {
    return false;
  }
}
