/** How long a merge may keep the thread, and when it must end: asked once per row, answered from time. */
import { VarveError } from '../base/errors.ts';

/** What a merge needs of the world around it. */
export interface MergePace {
  /** Monotonic ms. */
  readonly monotonic: () => number;
  /** Lets everything else run that is waiting. */
  readonly turn: () => Promise<void>;
  /** Somebody waits: for a commit, or for a flush that is under way. */
  readonly yields?: () => boolean;
  /** The merge is to end: its result is not wanted any more. */
  readonly cancelled: () => boolean;
}

/** Time a merge runs without letting others run, ms; and while somebody waits. */
const sliceMs = 4;
const yieldingSliceMs = 1;
/** Rows between two looks at the clock. */
const rowsPerLook = 64;

export class MergeSlice {
  readonly #pace: MergePace;
  #rows = 0;
  #since: number;

  constructor(pace: MergePace) {
    this.#pace = pace;
    this.#since = pace.monotonic();
  }

  /** True when `rest` must be awaited before the next row. */
  isOver(): boolean {
    if (++this.#rows < rowsPerLook) return false;
    this.#rows = 0;
    return this.isLate();
  }

  /** As `isOver`, for callers that have gone through some hundred rows since they asked last. */
  isLate(): boolean {
    const ms = this.#pace.yields?.() === true ? yieldingSliceMs : sliceMs;
    return this.#pace.monotonic() - this.#since >= ms;
  }

  /** Lets others run; VARVE_ABORTED when the merge was cancelled. */
  async rest(): Promise<void> {
    this.check();
    await this.#pace.turn();
    this.check();
    this.#since = this.#pace.monotonic();
  }

  /** VARVE_ABORTED when the merge was cancelled. */
  check(): void {
    if (this.#pace.cancelled()) throw new VarveError('VARVE_ABORTED', 'the merge of tables was cancelled');
  }
}
