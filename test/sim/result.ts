/** What a run of a plan came to. */
import type { Coverage } from './coverage.ts';

/** What a run came to. */
export interface SimResult {
  /** Equal plans give equal digests. */
  readonly digest: string;
  /** What was found wrong first. */
  readonly failure: string | undefined;
  readonly calls: number;
  readonly lives: number;
  /** Lives ended by plan, and those of them that a power cut or a kill ended. */
  readonly ends: number;
  readonly crashes: number;
  /** Repairs that came to an end, well or not. */
  readonly repairs: number;
  readonly faults: number;
  readonly checkedReads: number;
  readonly checkedWrites: number;
  readonly virtualMs: number;
  readonly coverage: Coverage;
  /** Faults acted out, in order. */
  readonly faultLog: readonly string[];
}
