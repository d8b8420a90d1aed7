/** Shapes of health(). */
import type { VerifyLevel } from '../../integrity/verify-cursor.ts';

/**
 * `warning`: everything works, and something should be looked at. `degraded`: some or all writes are refused,
 * reads go on. `unhealthy`: calls hang.
 */
export type HealthLevel = 'healthy' | 'warning' | 'degraded' | 'unhealthy';

/** One thing that keeps a store from being healthy. */
export interface HealthReason {
  level: Exclude<HealthLevel, 'healthy'>;
  /**
   * `writes`: refused, because of damage or a failed write. `damage`, `missing`: see those fields. `space`:
   * of the disk. `stall`: writers wait. `pinned`: a snapshot or view holds much. `check`: the last one found
   * damage, or none has ended for long. `background`: damage keeps something from being carried out.
   */
  kind: 'writes' | 'damage' | 'missing' | 'space' | 'stall' | 'pinned' | 'check' | 'background';
  message: string;
}

/** Room on the disk when it was last asked. */
export interface DiskHealth {
  freeBytes: number;
  /** Puts are refused below. */
  floorBytes: number;
  /** Until the floor is reached, at the rate of the last looks; absent where the room does not shrink. */
  secondsToFull?: number;
}

/** The last scrub that went through everything. */
export interface CheckHealth {
  at: Date;
  level: VerifyLevel;
  /** Damaged places it found. */
  damage: number;
}
