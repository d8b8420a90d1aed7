/**
 * Checks the files of a store that were not checked for longest, and remembers what was found sound, across
 * restarts. Damage is noted for health().
 *
 * Invariants (test/integrity/scrub.test.ts)
 * - What is checked is not written to; only the record of checks is ("a scrub writes nothing but its
 *   record").
 * - Rounds of a sample check every file in turn ("samples come round to every file").
 */
import { invalid } from '../../base/errors.ts';
import { checkNames } from '../../base/names.ts';
import { LiveFiles, type Unit } from '../../integrity/live-files.ts';
import { type VerifyLevel, verifyLevels } from '../../integrity/verify-cursor.ts';
import type { VerifyProgress, VerifyReport } from '../../integrity/verify-types.ts';
import { throwIfAborted } from '../key-args.ts';
import type { Store } from '../store.ts';
import { check, checkBookOf, checkShare } from './verifying.ts';

/** What a scrub checks, and how long it takes. */
export interface ScrubOptions {
  /** As of verify. Default 'full'. */
  level?: VerifyLevel;
  /** Files found sound at this level within so many ms are left out. Default 0: none is. */
  olderThanMs?: number;
  /** Share of the files that is checked, above 0 up to 1 (default): those not checked for longest. */
  sample?: number;
  /** Share of the time that the check may work, above 0 up to 1 (default). */
  share?: number;
  /** Ends between two files once this time has passed, ms; at least one is checked. Another call goes on. */
  maxMs?: number;
  onProgress?: (progress: VerifyProgress) => void;
  signal?: AbortSignal;
}

/** What a scrub did. */
export interface ScrubReport extends VerifyReport {
  /** The moment from which on every file of the store was checked; undefined: some file never was. */
  readonly checkedSince?: Date;
}

const names = ['level', 'olderThanMs', 'sample', 'share', 'maxMs', 'onProgress', 'signal'];

/** Options of a scrub, checked. VARVE_INVALID_ARGUMENT. */
export function checkScrub(options: ScrubOptions): ScrubOptions & { level: VerifyLevel; sample: number } {
  checkNames(options, names, 'option');
  const { level = 'full', olderThanMs = 0, sample = 1, share, maxMs, onProgress } = options;
  if (!verifyLevels.includes(level)) throw invalid(`level is one of ${verifyLevels.join(', ')}`);
  for (const [name, ms] of Object.entries({ olderThanMs, maxMs: maxMs ?? 0 })) {
    if (!(typeof ms === 'number' && ms >= 0)) throw invalid(`${name} is a number of milliseconds`);
  }
  checkShare('sample', sample);
  checkShare('share', share);
  if (onProgress !== undefined && typeof onProgress !== 'function') throw invalid('onProgress is a function');
  return { ...options, level, olderThanMs, sample };
}

/**
 * Scrubs once. What was found sound is remembered also where it ends early. Errors as of verify, and VARVE_IO
 * or VARVE_NO_SPACE where the record cannot be written. One in the background lets the process end.
 */
export async function scrub(
  store: Store,
  given: ScrubOptions = {},
  isBackground = false,
): Promise<ScrubReport> {
  const options = checkScrub(given);
  throwIfAborted(options.signal);
  const { level, olderThanMs = 0, sample, maxMs, onProgress, share, signal } = options;
  const { env, health } = store.parts;
  const book = await checkBookOf(store);
  const now = env.clock.now();
  const chosen = await choose(store, sample, (unit) => {
    const ms = book.checkedMs(unit, level);
    return ms > 0 && ms > now - olderThanMs ? undefined : ms;
  });
  let all: readonly Unit[] | undefined;
  let report: VerifyReport;
  try {
    report = await check(store, {
      ...{ level, maxMs, onProgress, share, isBackground, signal, start: undefined },
      skips: (unit) => !chosen.has(nameOf(unit)),
      onSound: (unit) => book.note(unit, level, now),
      onEnd: (units) => {
        all = units;
      },
    });
  } catch (error) {
    await book.save(env.fs);
    throw error;
  }
  const oldest = all?.filter(({ isFinal }) => isFinal).map((unit) => book.checkedMs(unit, level));
  const damage = report.damage.length + (report.moreDamage ?? 0);
  const isRound = oldest !== undefined && (sample === 1 || oldest.every((ms) => ms > 0));
  if (isRound) book.ended(all!, { ms: now, level, damage });
  await book.save(env.fs);
  health.lastCheck = book.last ?? health.lastCheck;
  const since = oldest?.reduce((least, ms) => Math.min(least, ms), now);
  return { ...report, ...(since === undefined || since === 0 ? {} : { checkedSince: new Date(since) }) };
}

/** Names of what is to be checked: roots, and of the rest those checked longest ago. */
async function choose(
  store: Store,
  sample: number,
  checkedMs: (unit: Unit) => number | undefined,
): Promise<Set<string>> {
  const files = await LiveFiles.read(store.parts.env.fs);
  try {
    const units = files.left({ level: 'full', phase: 'roots', no: 0 }, 'full');
    const due = units.flatMap((unit) => {
      const ms = checkedMs(unit);
      return ms === undefined || unit.phase === 'roots' ? [] : [{ unit, ms }];
    });
    due.sort((a, b) => a.ms - b.ms || a.unit.no - b.unit.no);
    return new Set(due.slice(0, Math.ceil(units.length * sample)).map(({ unit }) => nameOf(unit)));
  } finally {
    await files.close();
  }
}

function nameOf({ phase, no }: Unit): string {
  return `${phase}/${no}`;
}
