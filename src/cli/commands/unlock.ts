/** varve unlock: takes the writer lock from an owner that cannot be asked, and gives it back. */
import type { Command } from 'commander';
import { initChecksum } from '../../codec/checksum.ts';
import type { LockDescription } from '../../fs/lock-port.ts';
import { describeLock } from '../../fs/writer-lock.ts';
import { exitCodes } from '../exit-codes.ts';
import { loadVarve } from '../load.ts';
import { examples, jsonOption } from '../options.ts';
import type { Runner, Session } from '../session.ts';
import { plainText } from '../text.ts';

export function addUnlock(program: Command, runner: Runner): void {
  program
    .command('unlock')
    .description(
      'Say who has a store open for writing, and free it of a writer on another host that is gone.',
    )
    .argument('<store>', 'directory of the store')
    .option('--break', 'take the lock over; only when the writer named is certainly gone')
    .addOption(jsonOption())
    .addHelpText(
      'after',
      `
A writer killed on this machine leaves nothing to unlock. The lock of a writer elsewhere (another host or
container) is kept, because nothing here can tell whether it lives. With --break its record is watched for 60
seconds, and taken over only if it stands still; should it live after all, it stops at its next write. A
process of this machine that lives is never robbed of its lock. Exit code 5 while the store stays locked.
${examples('varve unlock ./data', 'varve unlock ./data --break')}`,
    )
    .action((store: string, options: { json?: boolean; break?: boolean }) =>
      runner.run(options, (session) => unlock(session, store, options.break === true)),
    );
}

async function unlock(session: Session, store: string, mayBreak: boolean): Promise<number> {
  await initChecksum();
  const before = await describeLock(store);
  const isFree = before === null || (before.alive !== undefined && !before.held) || before.released;
  if (isFree || !mayBreak) {
    await tell(session, isFree ? 'free' : 'locked', textOf(before, isFree), before);
    return isFree ? exitCodes.done : exitCodes.locked;
  }
  const { openEngine } = await loadVarve();
  const engine = await openEngine(store, {
    createIfMissing: false,
    breakLock: true,
    keyEncoding: 'bytes',
    signal: session.io.signal,
  });
  await engine.close();
  await tell(session, 'unlocked', 'the lock was taken over and released', before);
  return exitCodes.done;
}

async function tell(
  session: Session,
  state: string,
  text: string,
  owner: LockDescription | null,
): Promise<void> {
  if (session.json) await session.out.json({ type: 'unlock', state, owner });
  else await session.out.line(text);
}

function textOf(owner: LockDescription | null, isFree: boolean): string {
  if (owner === null) return 'free: nobody has written to it so far';
  const who = `process ${owner.pid} on ${plainText(owner.host)}`;
  if (isFree) return `free: the last writer was ${who}`;
  const since = new Date(owner.takenMs).toISOString();
  if (owner.alive === undefined) {
    const advice = 'which cannot be seen from here: make sure that it is gone, then use --break';
    return `locked by ${who} since ${since}, ${advice}`;
  }
  return `locked by ${who} since ${since}, which lives: end it, or wait`;
}
