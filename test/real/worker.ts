/** A writer process seen from its parent: started, listened to, killed. */
import { type ChildProcess, spawn } from 'node:child_process';
import type { Prng } from '../../src/base/prng.ts';
import { childProgram } from './child-programs.ts';
import type { WorkerConfig } from './worker-child.ts';

/** An acknowledged call of a lane; calls of a lane are acknowledged in order. */
export interface Ack {
  readonly lane: number;
  readonly seq: number | undefined;
}

/** How a worker is started. */
export interface Launch {
  /** Put before the command: strace, prlimit and the like. */
  readonly before?: readonly string[];
  readonly nodeArgs?: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
}

/** A worker that is this long without what is waited for hangs, also on a machine with much else to do. */
const stuckMs = 300_000;

export class Worker {
  readonly acks: Ack[] = [];
  /** Wrong whatever the parent knows; the worker said so itself. */
  readonly bad: string[] = [];
  /** Codes of calls that failed. */
  readonly errors: string[] = [];
  readonly openErrors: string[] = [];
  readonly closeErrors: string[] = [];
  opens = 0;
  closes = 0;
  /** Highest commit number the worker knew to be on disk. */
  durable = 0;
  stderr = '';
  readonly ended: Promise<{ code: number | null; signal: string | null }>;
  readonly process: ChildProcess;
  readonly #calls: number[];
  #rest = '';
  #waiting: { line: string; acks: number; resolve: () => void }[] = [];

  constructor(config: WorkerConfig, launch: Launch = {}) {
    this.#calls = new Array<number>(config.lanes).fill(0);
    const program = childProgram('worker-child');
    const words = [process.execPath, ...(launch.nodeArgs ?? []), program, JSON.stringify(config)];
    const [command, ...args] = [...(launch.before ?? []), ...words];
    const env = { ...process.env, ...launch.env };
    this.process = spawn(command!, args, { stdio: ['ignore', 'pipe', 'pipe'], env, detached: true });
    this.process.stdout!.on('data', (bytes: Buffer) => this.#take(bytes.toString('latin1')));
    this.process.stderr!.on('data', (bytes: Buffer) => {
      this.stderr = (this.stderr + bytes.toString()).slice(-4000);
    });
    this.ended = new Promise((resolve, reject) => {
      this.process.once('error', reject);
      this.process.once('close', (code, signal) => {
        for (const { resolve: go } of this.#waiting) go();
        this.#waiting = [];
        resolve({ code, signal });
      });
    });
  }

  /** Resolves when the worker has said a line with this first word, or has ended. */
  said(line: string): Promise<void> {
    return this.#wait(line, 0);
  }

  /** Resolves when so many calls have been acknowledged in all, or the worker has ended. */
  acked(count: number): Promise<void> {
    return count === 0 ? this.said('o') : this.#wait('a', count);
  }

  #wait(line: string, acks: number): Promise<void> {
    return new Promise((resolve) => {
      if (this.process.exitCode !== null || this.process.signalCode !== null) {
        resolve();
        return;
      }
      const stuck = setTimeout(() => {
        this.bad.push(`nothing happened for ${stuckMs / 1000} s while waiting for ${line} ${acks}`);
        this.kill();
      }, stuckMs);
      const go = (): void => {
        clearTimeout(stuck);
        resolve();
      };
      this.#waiting.push({ line, acks, resolve: go });
    });
  }

  /** Signals the worker and whatever it was started under. */
  kill(signal: NodeJS.Signals = 'SIGKILL'): void {
    try {
      process.kill(-this.process.pid!, signal);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
    }
  }

  #take(text: string): void {
    const lines = (this.#rest + text).split('\n');
    this.#rest = lines.pop()!;
    for (const line of lines) this.#note(line);
  }

  #note(line: string): void {
    const [word, ...rest] = line.split(' ');
    if (word === 'a') {
      const [lane, i, seq, durable] = rest;
      if (Number(i) !== this.#calls[Number(lane)]++) this.bad.push(`unexpected line: ${line}`);
      this.acks.push({ lane: Number(lane), seq: seq === '-' ? undefined : Number(seq) });
      this.durable = Math.max(this.durable, Number(durable));
    } else if (word === 'o') this.opens++;
    else if (word === 'c') this.closes++;
    else if (word === 'e') this.errors.push(rest[2]!);
    else if (word === 'x') this.openErrors.push(rest[0]!);
    else if (word === 'f') this.closeErrors.push(rest[0]!);
    else if (word !== 'r') this.bad.push(rest.join(' '));
    if (this.#waiting.length === 0) return;
    const isOver = (one: { line: string; acks: number }): boolean =>
      one.line === word && this.acks.length >= one.acks;
    for (const one of this.#waiting.filter(isOver)) one.resolve();
    this.#waiting = this.#waiting.filter((one) => !isOver(one));
  }
}

/**
 * Resolves before or while the store is opened, after some number of calls, or after some time: in a while a
 * busy machine makes few calls and an idle one many. Early when the worker ends.
 */
export async function someMoment(worker: Worker, prng: Prng): Promise<void> {
  const form = prng.below(10);
  if (form < 2) {
    await worker.said('r');
    await sleep(prng.below(40));
  } else if (form < 4) {
    await worker.said('o');
    await sleep(prng.below(prng.pick([30, 400])));
  } else {
    await worker.acked(prng.below(prng.pick([10, 40, 120])));
    await sleep(prng.below(4));
  }
}

const sleep = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));
