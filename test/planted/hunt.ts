/** Runs a campaign in a ground of its own process and says what it noticed. */
import { spawn } from 'node:child_process';
import path from 'node:path';
import type { Hunted } from './child.ts';
import type { Ground } from './ground.ts';
import type { Hunt } from './plant.ts';

/** A hunt that takes longer has not noticed anything. */
const millisecondsMax = 900_000;

export interface HuntResult extends Hunted {
  readonly seconds: number;
}

/** Throws when the campaign could not be started, which says nothing of the plant. */
export async function runHunt(ground: Ground, { campaign, count }: Hunt, seed: number): Promise<HuntResult> {
  const begun = performance.now();
  const program = path.join(ground.dir, 'test/planted/child.js');
  const child = spawn(process.execPath, [program, campaign, String(count), String(seed)], {
    cwd: ground.dir,
    // What narrows this campaign down is not meant for the one it runs.
    env: { ...process.env, VARVE_ONLY: undefined, VARVE_PART: undefined },
    stdio: ['ignore', 'pipe', 'pipe'],
    timeout: millisecondsMax,
    killSignal: 'SIGKILL',
  });
  let out = '';
  let err = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    out += text;
  });
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    err = (err + text).slice(-4000);
  });
  const { code, signal } = await new Promise<{ code: number | null; signal: string | null }>(
    (done, refuse) => {
      child.once('error', refuse);
      child.once('close', (exit, by) => done({ code: exit, signal: by }));
    },
  );
  const seconds = (performance.now() - begun) / 1000;
  const last = out.trimEnd().split('\n').at(-1) ?? '';
  if (signal === 'SIGKILL') return { failed: false, tries: count, line: 'no end in time', seconds };
  if ((code !== 0 && code !== 1) || !last.startsWith('{')) {
    throw new Error(`${campaign} ended with ${code ?? signal} before it tried anything: ${err}${last}`);
  }
  return { ...(JSON.parse(last) as Hunted), seconds };
}
