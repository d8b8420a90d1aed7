/**
 * What became of the last runs of schedules, kept in the vault by those who cannot note it in the store: a
 * process that reads beside a writer.
 */
import { encodeUtf8, equalBytes, fromHex } from '../base/bytes.ts';
import { corrupt, isVarveError } from '../base/errors.ts';
import {
  decodeRunNote,
  encodeRunNote,
  runNoteBytesMax,
  type ScheduleRunRow,
} from '../format/schedule-rows.ts';
import { runNoteName, runNotePrefix } from '../format/vault-names.ts';
import { sha256Hex } from '../kernels/hash/sha256.ts';
import type { VaultEnv } from './vault-state.ts';

const nameOf = (store: string, schedule: string): string =>
  runNoteName(store, sha256Hex(encodeUtf8(schedule, 'schedule name')));

/** Keeps the note of a run of `schedule`, instead of an older one. `store`: id of the store, hex. */
export async function putRunNote(
  { store: blobs }: VaultEnv,
  store: string,
  schedule: string,
  run: ScheduleRunRow,
): Promise<void> {
  await blobs.put(nameOf(store, schedule), encodeRunNote(fromHex(store), schedule, run));
}

/** The note of the last run, if the vault has one. VARVE_CORRUPT, VARVE_FORMAT_VERSION. */
export async function readRunNote(
  { store: blobs }: VaultEnv,
  store: string,
  schedule: string,
): Promise<ScheduleRunRow | undefined> {
  const file = nameOf(store, schedule);
  try {
    const { name, dbUuid, ...run } = decodeRunNote(await blobs.get(file, runNoteBytesMax), file);
    if (name === schedule && equalBytes(dbUuid, fromHex(store))) return run;
    throw corrupt('note of a run of another schedule', { file });
  } catch (error) {
    if (isVarveError(error, 'VARVE_NOT_FOUND')) return undefined;
    throw error;
  }
}

/** Checks every note of a vault: VARVE_CORRUPT, told by `check` for each. */
export async function eachRunNote(
  { store: blobs }: VaultEnv,
  check: (look: () => Promise<void>) => Promise<void>,
): Promise<void> {
  for await (const { name: file } of blobs.list(runNotePrefix)) {
    await check(async () => {
      decodeRunNote(await blobs.get(file, runNoteBytesMax), file);
    });
  }
}
