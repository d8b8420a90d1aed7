/** What a group commit is made with. */
import type { Seq } from '../base/brands.ts';
import type { Clock } from '../base/clock.ts';
import type { VarveError } from '../base/errors.ts';
import type { LogSink } from './group-end.ts';

/** 'full': acknowledged = on disk. groupMs: on disk within that time. 'os': handed to the kernel. */
export type Durability = 'full' | 'os' | { readonly groupMs: number };

export interface GroupCommitOptions {
  /** The file frames go to, or what makes it, behind the number its OPEN frame takes, when one is written. */
  readonly log: LogSink | ((openSeq: Seq) => Promise<LogSink>);
  readonly durability: Durability;
  readonly clock: Clock;
  /** Last number taken so far; the next transaction gets the one after it. */
  readonly lastSeq: Seq;
  readonly lastTimeMs: number;
  /** Called once, with the first error; the engine goes read-only. */
  readonly onFailed: (error: VarveError) => void;
}
