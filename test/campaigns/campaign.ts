/** The shape every fault campaign has, so that one command runs them all. */

export interface CampaignOptions {
  /**
   * Rounds, states or runs; what one is, the campaign says. Where neither bound is given, a short form runs.
   */
  readonly count?: number;
  readonly seconds?: number;
  /** The same seed makes the same choices. */
  readonly seed: number;
  /** Told now and then how far it is; `total` where it is known. */
  readonly onProgress: (done: number, total: number | undefined, note: string) => void;
  /** Told of each failure when it is found; it is in `lines` at the end too. */
  readonly onFailure?: (line: string) => void;
}

export interface CampaignResult {
  readonly tried: number;
  readonly failed: number;
  /** What was found, one line each: failures with the seed that replays them, then totals. */
  readonly lines: readonly string[];
  /** The end of the last line: totals in the campaign's own terms. */
  readonly summary?: string;
  /** What could not be tried here, each with what to install; never counted as tried. */
  readonly skipped?: readonly string[];
}

export interface Campaign {
  readonly name: string;
  run(options: CampaignOptions): Promise<CampaignResult>;
}

/** Which part of a run this process takes, from 1 on. */
export interface Part {
  readonly part: number;
  readonly of: number;
}

/** What VARVE_PART says: `1/2` is the first of two halves of a run. Not set, it is all. */
export function partOf(text = process.env.VARVE_PART ?? '1/1'): Part {
  const [part, of] = text.split('/').map(Number);
  if (part === undefined || of === undefined || !(part >= 1 && part <= of))
    throw new Error(`VARVE_PART is like 1/2, not ${text}`);
  return { part, of };
}

/**
 * Says when a campaign ends: after `count` rounds or `seconds`, or `shortCount` rounds when neither is
 * given.
 */
export class Pace {
  readonly total: number | undefined;
  readonly #until: number;

  constructor({ count, seconds }: CampaignOptions, shortCount: number) {
    this.total = count ?? (seconds === undefined ? shortCount : undefined);
    this.#until = seconds === undefined ? Number.POSITIVE_INFINITY : performance.now() + seconds * 1000;
  }

  /** True while another round is to be made after `done` rounds. */
  goesOn(done: number): boolean {
    return (this.total === undefined || done < this.total) && performance.now() < this.#until;
  }
}
