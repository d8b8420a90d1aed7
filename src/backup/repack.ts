/**
 * Packs that are mostly dead are rewritten: what is needed of them is copied, frame by frame, into new packs
 * that an index object names; the old ones are marked then, as packs that nothing needs. From there on they
 * go the way of those: only when a second mark finds all that is reached in packs that stay.
 *
 * Memory: that of an upload, and the trailer of one pack.
 *
 * Invariants (test/backup/repack.test.ts, test/backup/vault-protocol.test.ts,
 * test/backup/vault-crash.test.ts)
 * - What is copied is checked against its id; a pack that is not whole is left as it is ("a damaged pack is
 *   not rewritten").
 * - No backup loses a chunk, whatever runs beside ("any interleaving of backups, forgets and prunes keeps
 *   every backup whole"), and wherever it ends ("forget and prune leave what is kept whole").
 */
import { isVarveError } from '../base/errors.ts';
import { chunkIdBytes } from '../format/chunk-ref.ts';
import type { IndexMarks } from './index-marks.ts';
import { packBytesTarget } from './pack-builder.ts';
import { readPackEnds } from './pack-reader.ts';
import { RunIndexes } from './run-indexes.ts';
import type { Slices } from './throttle.ts';
import { Upload } from './upload.ts';
import { IndexHit } from './vault-index.ts';
import { VaultReader } from './vault-reader.ts';
import type { VaultEnv, VaultState } from './vault-state.ts';

/** Packs below this share of a full one are small; so many of them are put together. */
const smallShare: number = 1 / 16;
const smallPacksMin = 16;

/** What a mark found: the state, what of it is reached, and bytes of that in each pack. */
export interface MarkedState {
  readonly state: VaultState;
  readonly marks: IndexMarks;
  readonly live: Float64Array;
}

/** Numbers of the packs to rewrite: of whose bytes less than the share `below` are needed. */
export function planRepack(env: VaultEnv, { state, live }: MarkedState, below: number): number[] {
  const wanted: number[] = [];
  const small: number[] = [];
  const smallBytes = (env.bounds?.packBytes ?? packBytesTarget) * smallShare;
  for (const [number, { size, pending }] of state.packs.entries()) {
    if (pending || live[number]! === 0) continue;
    if (live[number]! < size * below) wanted.push(number);
    else if (size < smallBytes) small.push(number);
  }
  return below > 0 && small.length >= smallPacksMin ? [...wanted, ...small] : wanted;
}

/** Copies what is needed of `packs`. Resolves with those that may be marked, and the bytes that were put. */
export async function repackPacks(
  env: VaultEnv,
  { state, marks }: MarkedState,
  packs: readonly number[],
  slices: Slices,
  signal: AbortSignal | undefined,
): Promise<{ readonly packs: readonly number[]; readonly bytes: number }> {
  const fresh = { packs: [...state.packs], index: state.index.emptied(), open: state.open };
  const indexes = new RunIndexes(env, fresh, []);
  const upload = new Upload(env, fresh.packs, fresh.index, {
    packBytes: env.bounds?.packBytes ?? packBytesTarget,
    prove: true,
    dryRun: false,
    signal,
    onBytes: () => undefined,
    spill: () => indexes.spill(upload.own),
  });
  const reader = new VaultReader(env, state);
  const done: number[] = [];
  const hit = new IndexHit();
  for (const number of packs) {
    const { hash, size } = state.packs[number]!;
    try {
      const { trailer } = await readPackEnds(env.store, hash, size, env.vaultId);
      const { ids, off8, count } = trailer;
      for (let i = 0; i < count; i++) {
        const rest = slices.step();
        if (rest !== undefined) await rest;
        const at = i * chunkIdBytes;
        const isThere = await state.index.find(ids, at, hit);
        marks.check();
        if (!isThere || hit.pack !== number || hit.off8 !== off8[i] || !marks.has(hit)) continue;
        if (await fresh.index.has(ids, at)) continue;
        const { buf, pos, frame } = await reader.readFrame(ids, at);
        await upload.addFrame(buf, pos, frame);
      }
      done.push(number);
    } catch (error) {
      // A verify tells of it.
      if (!isVarveError(error, 'VARVE_CORRUPT', 'VARVE_FORMAT_VERSION', 'VARVE_NOT_FOUND')) throw error;
    }
  }
  await upload.finish();
  if (upload.own.size > 0) await indexes.put(upload.own);
  return { packs: done, bytes: upload.bytes };
}
