/** What an open looks at of the segments, sealed and open, before it decides whether the store is whole. */
import { corrupt, isDamage, isPassing, VarveError } from '../../base/errors.ts';
import { filePath } from '../../format/file-names.ts';
import { segmentDataFrom } from '../../format/segment.ts';
import type { FsPort, FsStat } from '../../fs/port.ts';
import { type OnFrame, scanSegment } from '../../segment/segment-scan.ts';
import { ChunkHit } from '../../tree/chunk-table-reader.ts';
import type { HealthBook } from '../health/health-book.ts';
import type { Found } from './found.ts';
import type { OpenSegment } from './rescue.ts';
import { zerosWhereUnreadable } from './unreadable.ts';

/** Files looked at side by side. */
const statsMax = 32;

/**
 * Reads every open segment up to where it counts, and looks its chunks up as the rescue will; false when
 * something there is damaged or gone.
 */
export async function checkOpenSegments(
  { env, loaded, health, forest }: Pick<Found, 'env' | 'loaded' | 'health' | 'forest'>,
  open: readonly OpenSegment[],
): Promise<boolean> {
  let whole = true;
  const damage = (error: unknown): void => {
    whole = false;
    health.note(error);
  };
  const row = new ChunkHit();
  const lookUp: OnFrame = (buf, _pos, { idAt }) => {
    try {
      forest.chunks.findSync(buf, idAt, row);
    } catch (error) {
      if (!isDamage(error)) throw error;
      damage(error);
    }
  };
  const fs = zerosWhereUnreadable(env.fs, damage);
  for (const { no, end } of open) {
    if (end <= segmentDataFrom) continue;
    const path = filePath('seg', no);
    if ((await fs.stat(path)) === null) {
      damage(corrupt('segment file is missing', { file: path }));
      continue;
    }
    const scanned = await scanSegment(
      fs,
      no,
      path,
      { dbUuid: loaded.slot.dbUuid, upTo: end, onDamage: (_from, _to, error) => damage(error) },
      lookUp,
    );
    if (scanned.headerDamage !== undefined) damage(scanned.headerDamage);
    if (scanned.limit < end) {
      damage(corrupt('segment is cut off', { file: path, offset: scanned.limit }, end, scanned.limit));
    }
  }
  return whole;
}

/**
 * Every sealed segment must be there with its size; of those new in the last two catalogs the footers are
 * looked at, the others are checked when they are read. False when one is gone or cut off; one with another
 * damage is distrusted.
 */
export async function checkSealedSegments({
  env,
  loaded,
  segments,
  health,
  distrusted,
}: Found): Promise<boolean> {
  const before = new Set(loaded.previous?.catalog.sealed.map(({ no }) => no));
  let whole = true;
  const { sealed } = loaded.catalog;
  const stats: (FsStat | null | undefined)[] = [];
  for (const [i, { no, size }] of sealed.entries()) {
    if (i === stats.length) {
      const some = sealed.slice(i, i + statsMax).map((one) => filePath('seg', one.no));
      stats.push(...(await Promise.all(some.map((path) => statOr(env.fs, path, health)))));
    }
    const file = filePath('seg', no);
    const there = stats[i];
    if (there === undefined) {
      distrusted.add(no);
      whole = false;
    } else if (there === null || there.size < size) {
      const what = there === null ? 'segment file is missing' : 'segment is cut off';
      health.note(corrupt(what, { file, offset: there?.size ?? 0 }, size, there?.size ?? 0));
      distrusted.add(no);
      whole = false;
    } else if (!before.has(no)) {
      try {
        await segments.checkSealed(no);
      } catch (error) {
        if (!(error instanceof VarveError) || isPassing(error)) throw error;
        health.note(error);
        distrusted.add(no);
      }
    }
  }
  return whole;
}

/** Undefined, and noted, when the disk cannot tell. */
async function statOr(fs: FsPort, file: string, health: HealthBook): Promise<FsStat | null | undefined> {
  try {
    return await fs.stat(file);
  } catch (error) {
    if (!isDamage(error)) throw error;
    health.note(error);
    return undefined;
  }
}
