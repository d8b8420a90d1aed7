/**
 * A racer for the writer lock in a process of its own. Reads one Race as JSON per line of standard input,
 * takes part in it and answers with lines: `held`, `put N` (counter written), `overlap TEXT`, and at the end
 * of each race one of `done`, `locked`, `lost` (the lock was found gone at its release) or `failed TEXT`.
 */
import { closeSync, openSync, readdirSync, readFileSync, unlinkSync, writeSync } from 'node:fs';
import process from 'node:process';
import { createInterface } from 'node:readline';
import { isVarveError } from '../../src/base/errors.ts';
import { initChecksum } from '../../src/codec/checksum.ts';
import { loadFlock } from '../../src/fs/flock.ts';
import { processLives } from '../../src/fs/process-identity.ts';
import { systemClock } from '../../src/fs/system-clock.ts';
import { acquireWriterLock } from '../../src/fs/writer-lock.ts';
import { openDir, usualShape } from './store-dir.ts';

export interface Race {
  readonly dir: string;
  readonly flock: boolean;
  /** Opens the store and counts up in it, rather than only take the lock. */
  readonly opensStore: boolean;
  readonly waitMs: number;
  readonly holdMs: number;
  /** Made with O_EXCL by whoever holds the lock. */
  readonly witness: string;
}

const say = (line: string): void => {
  writeSync(1, `${line}\n`);
};
const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

/** A killed process gives its descriptors, and so the lock, back before it stops being listed as alive. */
function isDying(pid: number): boolean {
  try {
    return readdirSync(`/proc/${pid}/fd`).length === 0;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'ENOENT' && process.platform === 'linux';
  }
}

/** The witness is free, or its maker is dead; anything else is two holders at once. */
function standWitness(file: string): void {
  for (;;) {
    try {
      const fd = openSync(file, 'wx');
      writeSync(fd, String(process.pid));
      closeSync(fd);
      return;
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
    }
    const other = Number(readFileSync(file, 'utf8'));
    if (other === 0 || (processLives(other, '') && !isDying(other))) {
      say(`overlap process ${process.pid} holds the lock and so does ${other}`);
      return;
    }
    unlinkSync(file);
  }
}

function leaveWitness(file: string): void {
  if (readFileSync(file, 'utf8') !== String(process.pid))
    say(`overlap ${process.pid}: another took the witness`);
  unlinkSync(file);
}

async function hold(race: Race): Promise<void> {
  standWitness(race.witness);
  say('held');
  await pause(race.holdMs);
}

async function raceForLock(race: Race): Promise<void> {
  const flock = race.flock ? await loadFlock() : undefined;
  const provider = flock === undefined || 'unavailable' in flock ? {} : { flock };
  const { dir, waitMs } = race;
  const lock = await acquireWriterLock({ dir, waitMs, clock: systemClock, ...provider });
  await hold(race);
  leaveWitness(race.witness);
  await lock.release();
}

async function raceForStore(race: Race): Promise<void> {
  const engine = await openDir(race.dir, { ...usualShape, flock: race.flock }, { lockWaitMs: race.waitMs });
  standWitness(race.witness);
  const before = Number(Buffer.from((await engine.get('counter')) ?? Buffer.from('0')).toString());
  await engine.put('counter', String(before + 1));
  say(`put ${before + 1}`);
  say('held');
  await pause(race.holdMs);
  leaveWitness(race.witness);
  await engine.close();
}

async function take(race: Race): Promise<void> {
  let isHeld = false;
  try {
    await (race.opensStore ? raceForStore(race) : raceForLock(race));
    isHeld = true;
    say('done');
  } catch (error) {
    if (isVarveError(error, 'VARVE_LOCKED')) say(error.retryable ? 'locked' : 'lost');
    else if (isVarveError(error, 'VARVE_POISONED') && isVarveError(error.cause, 'VARVE_LOCKED')) say('lost');
    else say(`failed ${String((error as Error).stack ?? error).replaceAll('\n', ' | ')} ${isHeld}`);
  }
}

await initChecksum();
const input = createInterface({ input: process.stdin });
say('ready');
for await (const line of input) await take(JSON.parse(line) as Race);
