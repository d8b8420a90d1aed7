/** What works beside a store and needs the whole of it; the store only knows these faces. */
import type { HeldSpace } from './cleaning/space-types.ts';
import type { Health } from './types.ts';

export interface Companions {
  /** The state of the store; reads no file. */
  health(): Health;
  readonly held: {
    /** What snapshots and views hold, as last looked at. */
    readonly last: HeldSpace | undefined;
    /** Looks anew; calls at the same time share one look. VARVE_CORRUPT, VARVE_IO. */
    measure(): Promise<void>;
  };
  /** Background work begins; call once. */
  start(): void;
  /** Ends what is under way. Idempotent. */
  stop(): Promise<void>;
}
