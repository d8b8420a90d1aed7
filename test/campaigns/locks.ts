/**
 * Eight processes race for the writer lock, by different paths, with and without flock, while holders are
 * stopped or killed and the LOCK file is removed or replaced. A witness file made with O_EXCL tells of two
 * holders at once, a counter in the store of a lost update.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { mkdirSync, mkdtempSync, renameSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { createInterface } from 'node:readline';
import { Prng } from '../../src/base/prng.ts';
import { loadFlock } from '../../src/fs/flock.ts';
import { childProgram } from '../real/child-programs.ts';
import type { Race } from '../real/lock-child.ts';
import { Mounts, missing } from '../real/mounts.ts';
import { openDir, usualShape } from '../real/store-dir.ts';
import { type Campaign, type CampaignOptions, type CampaignResult, Pace } from './campaign.ts';

const racerCount = 8;
const shortRounds = 40;

const incidents = ['none', 'none', 'stop', 'kill', 'unlink', 'replace'] as const;
type Incident = (typeof incidents)[number];

export const campaign: Campaign = {
  name: 'locks',
  async run(options: CampaignOptions): Promise<CampaignResult> {
    const pace = new Pace(options, shortRounds);
    const skipped = await skippedHere();
    const dir = mkdtempSync(path.join(os.tmpdir(), 'varve-locks-'));
    const mounts = new Mounts();
    const field = new RaceField(dir, mounts);
    let tried = 0;
    try {
      await field.start();
      while (pace.goesOn(tried)) {
        await field.round(new Prng(options.seed * 2 ** 20 + tried), tried);
        tried++;
        options.onProgress(tried, pace.total, `${field.held} held, ${field.refused} refused`);
      }
      await field.checkCounter();
    } finally {
      await field.stop();
      mounts.removeAll();
      rmSync(dir, { recursive: true, force: true });
    }
    const { failures, held, refused, killed, lost, counted } = field;
    const lines = failures.map((failure) => `seed ${options.seed}, ${failure}`);
    lines.push(
      `${tried} rounds of ${racerCount} processes: held ${held} times, refused ${refused}, ` +
        `holders killed ${killed}, locks found replaced ${lost}, counted ${counted}, ` +
        `overlaps ${field.overlaps}`,
    );
    return { tried, failed: failures.length, lines, skipped };
  },
};

/** What cannot be tried here, with what to install. */
export async function skippedHere(): Promise<string[]> {
  const mount = missing('root', 'mount');
  return [
    ...('unavailable' in (await loadFlock()) ? ['locks with flock: install the package fs-ext'] : []),
    ...(mount === undefined ? [] : [`locks over a bind mount: ${mount}`]),
  ];
}

class Racer {
  readonly process: ChildProcess;
  readonly ready: Promise<void>;
  /** Told of each line; set anew for each race. */
  onLine: (line: string) => void = () => undefined;
  stderr = '';

  constructor() {
    const program = childProgram('lock-child');
    this.process = spawn(process.execPath, [program], { stdio: ['pipe', 'pipe', 'pipe'] });
    this.process.stderr!.on('data', (bytes: Buffer) => {
      this.stderr += bytes.toString();
    });
    this.ready = new Promise((resolve) => {
      createInterface({ input: this.process.stdout! }).on('line', (line) => {
        if (line === 'ready') resolve();
        else this.onLine(line);
      });
    });
    // A racer killed in the middle of a race takes its standard input with it.
    this.process.stdin!.on('error', () => undefined);
    this.process.once('exit', () => this.onLine('gone'));
  }
}

class RaceField {
  readonly failures: string[] = [];
  held = 0;
  refused = 0;
  killed = 0;
  lost = 0;
  overlaps = 0;
  /** Increments acknowledged. */
  counted = 0;
  #mayHaveCounted = 0;
  readonly #dir: string;
  readonly #store: string;
  readonly #paths: string[];
  #racers: Racer[] = [];

  constructor(dir: string, mounts: Mounts) {
    this.#dir = dir;
    this.#store = path.join(dir, 'store');
    mkdirSync(this.#store);
    symlinkSync('store', path.join(dir, 'link'));
    this.#paths = [this.#store, path.join(dir, 'link'), `${dir}/./link/../store/`];
    if (missing('root', 'mount') === undefined) {
      const bound = path.join(dir, 'bound');
      mkdirSync(bound);
      mounts.bind(this.#store, bound);
      this.#paths.push(bound);
    }
  }

  async start(): Promise<void> {
    this.#racers = Array.from({ length: racerCount }, () => new Racer());
    await Promise.all(this.#racers.map(({ ready }) => ready));
  }

  async stop(): Promise<void> {
    for (const { process } of this.#racers) process.kill('SIGKILL');
    const alive = this.#racers.filter(
      ({ process: { exitCode, signalCode } }) => exitCode === null && !signalCode,
    );
    await Promise.all(alive.map(({ process }) => new Promise((resolve) => process.once('exit', resolve))));
  }

  async round(prng: Prng, number: number): Promise<void> {
    const opensStore = prng.chance(0.3);
    const incident = prng.pick(incidents);
    let due = incident !== 'none';
    const ends = this.#racers.map((racer, at) => {
      const race: Race = {
        dir: prng.pick(this.#paths),
        flock: prng.chance(0.5),
        opensStore,
        waitMs: prng.pick([0, 20, 60]),
        holdMs: due ? 8 : prng.below(5),
        witness: path.join(this.#dir, 'witness'),
      };
      const where = `round ${number} (${incident}${opensStore ? ', store' : ''}), racer ${at}`;
      return new Promise<void>((resolve) => {
        racer.onLine = (line) => {
          if (line === 'held') {
            this.held++;
            if (due) this.#act(racer, incident, prng);
            due = false;
          } else if (this.#note(line, where, incident)) {
            racer.onLine = () => undefined;
            resolve();
          }
        };
        racer.process.stdin!.write(`${JSON.stringify(race)}\n`);
      });
    });
    await Promise.all(ends);
    for (const [at, racer] of this.#racers.entries()) {
      if (racer.process.signalCode === null && racer.process.exitCode === null) continue;
      this.#racers[at] = new Racer();
      await this.#racers[at].ready;
    }
  }

  /** True when the line ends the race of its racer. */
  #note(line: string, where: string, incident: Incident): boolean {
    const [word] = line.split(' ', 1);
    if (word === 'put') {
      this.counted++;
      return false;
    }
    if (word === 'overlap') this.overlaps++;
    if (word === 'locked') this.refused++;
    if (word === 'lost') this.lost++;
    const isExpected =
      word === 'done' ||
      word === 'locked' ||
      (word === 'lost' && (incident === 'unlink' || incident === 'replace')) ||
      (word === 'gone' && incident === 'kill');
    if (!isExpected) this.failures.push(`${where}: ${line}`);
    return word !== 'overlap';
  }

  #act(racer: Racer, incident: Incident, prng: Prng): void {
    const lock = path.join(this.#store, 'LOCK');
    if (incident === 'stop') {
      racer.process.kill('SIGSTOP');
      setTimeout(() => racer.process.kill('SIGCONT'), 30 + prng.below(80));
    } else if (incident === 'kill') {
      this.killed++;
      this.#mayHaveCounted++;
      racer.process.kill('SIGKILL');
    } else if (incident === 'unlink') rmSync(lock, { force: true });
    else if (incident === 'replace') {
      const other = path.join(this.#dir, 'other-lock');
      writeFileSync(other, '');
      renameSync(other, lock);
    }
  }

  /** Every acknowledged increment counts; one of a killed racer may. All racers are idle. */
  async checkCounter(): Promise<void> {
    let counter: number;
    try {
      const engine = await openDir(this.#store, usualShape);
      const value = await engine.get('counter');
      await engine.close();
      counter = value === undefined ? 0 : Number(Buffer.from(value).toString());
    } catch (error) {
      this.failures.push(`the store does not open after the races: ${(error as Error).message}`);
      return;
    }
    if (counter < this.counted || counter > this.counted + this.#mayHaveCounted)
      this.failures.push(`the counter is ${counter} after ${this.counted} acknowledged increments`);
  }
}
