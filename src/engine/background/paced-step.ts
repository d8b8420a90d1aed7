/** How work in the background writes: it waits as other writers do, and is charged as they are. */
import type { Forest } from '../../tree/forest.ts';
import type { WritePacer } from '../writing/write-pacer.ts';
import type { Background } from './background.ts';
import type { Checkpointer } from './checkpointer.ts';

/** What writing costs others, and who makes room. */
export interface PaceParts {
  readonly forest: Forest;
  readonly checkpointer: Checkpointer;
  readonly pacer: WritePacer;
}

/** Before a step that writes: waits for merges that are behind, and while memory is full; or for `stop`. */
export async function relieved(work: Background, parts: PaceParts): Promise<void> {
  const { pacer, checkpointer, forest } = parts;
  await work.orStopped(pacer.wait());
  while (!work.isOver && forest.full && checkpointer.running !== undefined) {
    await work.orStopped(checkpointer.running.catch(() => undefined));
  }
}

/**
 * Behind a commit of about `bytes`: charges it, starts the checkpoint that may be due, and waits until `done`
 * is settled, or for `stop`. What the commit fails with stops the log, and with it the work.
 */
export async function settled(
  work: Background,
  { pacer, checkpointer }: PaceParts,
  bytes: number,
  done: Promise<void>,
): Promise<void> {
  pacer.charge(bytes);
  checkpointer.startIfDue();
  await work.orStopped(done.catch(() => undefined));
}
