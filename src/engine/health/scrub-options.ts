/** The option `scrub` of openEngine, checked. */
import { invalid } from '../../base/errors.ts';
import { type VerifyLevel, verifyLevels } from '../../integrity/verify-cursor.ts';

/** Checks in the background: every file in turn, at a bounded share of the time. */
export interface ScrubbingOptions {
  /** Every file is checked once in so many ms, from a minute to a year. Default: 7 days. */
  everyMs?: number;
  /** As of verify. Default 'full'. */
  level?: VerifyLevel;
  /** Share of the time that checking may take, above 0 up to 1. Default 0.05. */
  share?: number;
  /** Share of the files that is checked at a stretch, above 0 up to 1. Default 0.1. */
  sample?: number;
}

/** With every default filled in. */
export type ScrubSettings = Required<ScrubbingOptions>;

const defaults: ScrubSettings = { everyMs: 7 * 24 * 3600_000, level: 'full', share: 0.05, sample: 0.1 };

/** VARVE_INVALID_ARGUMENT names what is unknown or out of range. */
export function checkScrubbing(given: ScrubbingOptions): ScrubSettings {
  if (typeof given !== 'object' || given === null) throw invalid('scrub is an object of options');
  for (const name of Object.keys(given)) {
    if (!Object.hasOwn(defaults, name)) throw invalid(`unknown scrub option ${JSON.stringify(name)}`);
  }
  const settings = { ...defaults, ...given };
  const { everyMs, level, share, sample } = settings;
  if (!(Number.isInteger(everyMs) && everyMs >= 60_000 && everyMs <= 366 * 24 * 3600_000))
    throw invalid('scrub.everyMs must be an integer from 60000 to 31622400000', { actual: everyMs });
  if (!verifyLevels.includes(level)) throw invalid(`scrub.level is one of ${verifyLevels.join(', ')}`);
  for (const [name, value] of Object.entries({ share, sample })) {
    if (!(typeof value === 'number' && value > 0 && value <= 1))
      throw invalid(`scrub.${name} is a number above 0, up to 1`, { actual: value });
  }
  return settings;
}
