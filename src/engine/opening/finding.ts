/** What a store holds when it is opened: the log repeated, everything looked at, and whether it is whole. */
import { isPassing, VarveError } from '../../base/errors.ts';
import { logOf, readLogChain } from '../../log/log-chain.ts';
import { IndexBook } from '../../secondary/index-book.ts';
import { Spaces } from '../spaces/spaces.ts';
import { checkOpenSegments, checkSealedSegments } from './check-segments.ts';
import type { Found } from './found.ts';
import { readingOnce } from './read-once.ts';
import { replay } from './recovery.ts';
import { openSegments } from './rescue.ts';
import { listStore } from './sweep.ts';
import { zerosWhereUnreadable } from './unreadable.ts';

/** Replays the log and decides whether the store is whole. */
export async function findState(
  found: Omit<Found, 'chain' | 'replayed' | 'spaces' | 'indexes' | 'distrusted' | 'listed'>,
  damage: readonly VarveError[],
): Promise<Found> {
  const { env, loaded, segments } = found;
  const { catalog, slot } = loaded;
  for (const info of catalog.sealed) segments.add(info.no, info);
  for (const { no } of catalog.unsealed) segments.add(no);
  const unreadable: VarveError[] = [];
  const chain = await readLogChain(
    zerosWhereUnreadable(readingOnce(env.fs), (error) => unreadable.push(error)),
    logOf(slot, catalog),
  );
  try {
    return await judge({ ...found, chain }, damage, unreadable);
  } catch (error) {
    await chain.close();
    throw error;
  }
}

async function judge(
  found: Omit<Found, 'replayed' | 'spaces' | 'indexes' | 'distrusted' | 'listed'>,
  damage: readonly VarveError[],
  logUnreadable: readonly VarveError[],
): Promise<Found> {
  const { env, loaded, chain, health, forest, segments, lock } = found;
  const { catalog, slot } = loaded;
  for (const problem of chain.problems) health.note(problem);
  // The log goes on from what the tables say is deleted.
  const unknownRanges = await forest.ranges.load(forest.system);
  const unknownHistory = await forest.history.load(forest.system);
  const replayed = await replay({
    fs: env.fs,
    dbUuid: slot.dbUuid,
    chain,
    forest,
    segments,
    sealed: catalog.sealed,
    health,
  });
  // Segments younger than the catalog: a store that is only read has them where they are.
  for (const no of replayed.named.keys()) if (!segments.has(no)) segments.add(no);
  let degraded = replayed.damaged;
  for (const error of [
    ...damage,
    ...logUnreadable,
    ...(unknownRanges ? [unknownRanges] : []),
    ...(unknownHistory ? [unknownHistory] : []),
  ]) {
    degraded = true;
    health.note(error);
  }
  // What cannot be read may pass for a torn tail: nobody knows which commits it held.
  if (logUnreadable.length > 0) health.noteMissing(chain.lastSeq + 1, undefined);
  for (const { error, missingFrom, missingTo } of chain.damage) {
    degraded = true;
    // A log file that nobody could read is told as such, and not as one that is not there too.
    const isTold = error.offset === undefined && logUnreadable.some(({ file }) => file === error.file);
    if (!isTold) health.note(error);
    health.noteMissing(missingFrom, missingTo);
  }
  const spaces = new Spaces();
  const indexes = new IndexBook();
  if (!(await loadSpaces(spaces, indexes, found))) degraded = true;
  const unlistable = zerosWhereUnreadable(env.fs, (error) => {
    degraded = true;
    health.note(error);
  });
  const listed = lock === undefined ? { root: new Set<string>(), files: [] } : await listStore(unlistable);
  const all: Found = { ...found, replayed, spaces, indexes, distrusted: new Set(), listed };
  const open = openSegments(catalog.unsealed, catalog.sealed, replayed.named);
  if (!(await checkOpenSegments(all, open))) degraded = true;
  if (!(await checkSealedSegments(all))) degraded = true;
  if (degraded) refuseWrites(all);
  return all;
}

/** False when a name may be missing: a new space could then get a number that is taken. */
async function loadSpaces(
  spaces: Spaces,
  indexes: IndexBook,
  { forest, health }: Pick<Found, 'forest' | 'health'>,
): Promise<boolean> {
  try {
    await spaces.load(forest.system);
    await indexes.load(forest.system);
    return true;
  } catch (error) {
    if (!(error instanceof VarveError) || isPassing(error)) throw error;
    health.note(error);
    return false;
  }
}

function refuseWrites({ options, health }: Found): void {
  const [first] = health.report(true).damage;
  const refusal = new VarveError(
    'VARVE_CORRUPT',
    `the store is damaged: ${first?.message ?? 'see health()'}`,
    {
      ...(first === undefined ? {} : { file: first.file }),
      ...(first?.offset === undefined ? {} : { offset: first.offset }),
    },
  );
  if (options.onDegraded === 'throw') throw refusal;
  health.refuseWrites('damage was found when the store was opened', refusal);
}
