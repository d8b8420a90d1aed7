/**
 * kill -9 at random moments: a child process writes to a store, this one keeps the model, kills it, and opens
 * what it left.
 *
 *     node dist/bench/kill9.js [--rounds 200] [--writers 6] [--seed 1] [--dir <empty directory>]
 *
 * Each round starts the child on the store the kill before left, so that recovery is killed as well; the
 * store is looked at read-only after every kill, and opened for writing and closed every tenth time. Exit
 * code 1 when an acknowledged commit is lost, a commit is half visible, or a store does not open.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { Prng } from '../src/base/prng.ts';
import { openEngine } from '../src/index.ts';
import { type KillMessage, KillModel } from './tools/kill-model.ts';
import { describeFailure, writeUntilKilled } from './tools/kill-writers.ts';

/** Rounds between two opens for writing by this process. */
const fullOpenEvery = 10;

interface Options {
  readonly rounds: number;
  readonly writers: number;
  readonly seed: number;
  readonly dir: string;
}

interface Round {
  /** The child was killed before it had opened the store. */
  readonly inRecovery: boolean;
  readonly wrong: readonly string[];
}

async function killOnce(options: Options, model: KillModel, prng: Prng): Promise<Round> {
  const { dir, writers } = options;
  const self = fileURLToPath(import.meta.url);
  const child = spawn(process.execPath, [self, 'child', dir, String(prng.u32()), String(writers)], {
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let complaint = '';
  child.stderr.on('data', (text) => {
    complaint += text;
  });
  const early = prng.chance(0.35);
  const kill = (): void => void child.kill('SIGKILL');
  let timer = setTimeout(kill, early ? 50 + prng.below(250) : 60_000);
  let opened = false;
  const wrong: string[] = [];
  for await (const line of createInterface({ input: child.stdout })) {
    const message = parse(line);
    // The last line may be cut off: what it would have said had not been said.
    if (message === undefined) continue;
    model.take(message);
    if (message.kind !== 'open') continue;
    opened = true;
    if (message.health === 'degraded') wrong.push('the child found the store damaged');
    if (early) continue;
    clearTimeout(timer);
    timer = setTimeout(kill, prng.below(500));
  }
  clearTimeout(timer);
  if (child.exitCode === null && child.signalCode === null) await once(child, 'exit');
  if (child.signalCode !== 'SIGKILL') wrong.push(`the child ended by itself: ${complaint.slice(0, 2000)}`);
  return { inRecovery: !opened, wrong };
}

function parse(line: string): KillMessage | undefined {
  try {
    return JSON.parse(line) as KillMessage;
  } catch (error) {
    if (error instanceof SyntaxError) return undefined;
    throw error;
  }
}

async function look(dir: string, model: KillModel, readOnly: boolean): Promise<string[]> {
  const engine = await openEngine(dir, readOnly ? { readOnly } : { lockWaitMs: 10_000 });
  try {
    const health = engine.health();
    const wrong = await model.settle(engine);
    if (!health.ok) wrong.push(`health: ${JSON.stringify(health)}`);
    return wrong;
  } finally {
    await engine.close();
  }
}

async function run(options: Options): Promise<boolean> {
  const prng = new Prng(options.seed);
  const model = new KillModel();
  const began = performance.now();
  let failures = 0;
  let inRecovery = 0;
  const first = await openEngine(options.dir, { chunking: { min: 1024, avg: 4096, max: 16_384 } });
  await first.close();
  for (let round = 1; round <= options.rounds; round++) {
    const killed = await killOnce(options, model, prng);
    if (killed.inRecovery) inRecovery++;
    const wrong = [...killed.wrong, ...(await look(options.dir, model, true))];
    if (round % fullOpenEvery === 0) wrong.push(...(await look(options.dir, model, false)));
    for (const what of wrong) console.log(`round ${round}: ${what}`);
    failures += wrong.length;
    if (round % 20 === 0) {
      console.log(`round ${round}: ${model.acked} acknowledged, ${model.keys} keys, ${failures} failures`);
    }
  }
  const seconds = ((performance.now() - began) / 1000).toFixed(0);
  console.log(
    `kill9: ${options.rounds} rounds (${inRecovery} before the store was open), ` +
      `${model.acked} acknowledged commits, ` +
      `${model.landed} unacknowledged found whole, ${model.vanished} found absent, ` +
      `${failures} lost, half visible or unopenable; seed ${options.seed}, ${seconds} s`,
  );
  return failures === 0;
}

async function main(): Promise<void> {
  const [mode, dir, seed, writers] = process.argv.slice(2);
  if (mode === 'child') {
    await writeUntilKilled(dir!, Number(seed), Number(writers));
    return;
  }
  const { values } = parseArgs({
    options: {
      rounds: { type: 'string', default: '200' },
      writers: { type: 'string', default: '6' },
      seed: { type: 'string', default: '1' },
      dir: { type: 'string' },
    },
  });
  const own = values.dir ?? mkdtempSync(join(tmpdir(), 'varve-kill9-'));
  const options = {
    rounds: Number(values.rounds),
    writers: Number(values.writers),
    seed: Number(values.seed),
  };
  const isSound = await run({ ...options, dir: own });
  if (!isSound) console.log(`the store is kept in ${own}`);
  else if (values.dir === undefined) rmSync(own, { recursive: true });
  process.exitCode = isSound ? 0 : 1;
}

main().catch((error: unknown) => {
  console.error(describeFailure(error));
  process.exitCode = 1;
});
