/** varve doctor: what this machine offers the engine, and the state of one store. */
import { arch, platform, release } from 'node:os';
import process from 'node:process';
import type { Command } from 'commander';
import { initChecksum } from '../../codec/checksum.ts';
import { defaultChunking } from '../../engine/options.ts';
import { loadFlock } from '../../fs/flock.ts';
import type { LockDescription } from '../../fs/lock-port.ts';
import { describeLock } from '../../fs/writer-lock.ts';
import type { Health } from '../../index.ts';
import { createChunker } from '../../kernels/chunker/chunker.ts';
import { solveParams } from '../../kernels/chunker/params.ts';
import { setSha256, sha256Provider } from '../../kernels/hash/sha256.ts';
import { nodeSha256 } from '../../kernels/hash/sha256-node.ts';
import { exitCodeOf, exitCodes } from '../exit-codes.ts';
import { examples, jsonOption } from '../options.ts';
import { type Runner, readStore, type Session } from '../session.ts';
import { countText, errorFields, errorText, plainText } from '../text.ts';
import { packageVersion } from '../version.ts';

export function addDoctor(program: Command, runner: Runner): void {
  program
    .command('doctor')
    .description('Show which parts of the engine run here and why; with a store, who has it and how it is.')
    .argument('[store]', 'directory of a store')
    .addOption(jsonOption())
    .addHelpText('after', examples('varve doctor', 'varve doctor ./data'))
    .action((store: string | undefined, options: { json?: boolean }) =>
      runner.run(options, (session) => doctor(session, store)),
    );
}

async function doctor(session: Session, store: string | undefined): Promise<number> {
  const machine = await describeMachine();
  const found = store === undefined ? undefined : await describeStore(session, store);
  if (session.json) {
    await session.out.json({
      type: 'doctor',
      ...machine,
      ...(found === undefined ? {} : { store: found.fields }),
    });
    return found?.code ?? exitCodes.done;
  }
  const rows: [string, string][] = [
    ['varve', machine.version],
    ['node', `${machine.node} on ${machine.platform}`],
    ['lock', `socket guard; ${machine.flock.active ? 'flock' : `no flock: ${machine.flock.reason}`}`],
    ['hash', machine.hash],
    ['checksum', machine.checksum],
    ['chunker', `fastcdc: ${machine.chunker.fastcdc}, sieve: ${machine.chunker.sieve}`],
    ['codec', machine.codec],
    ...(found?.rows ?? []),
  ];
  for (const [name, value] of rows)
    await session.out.line(`${session.paint('dim', name.padEnd(10))}${value}`);
  return found?.code ?? exitCodes.done;
}

interface Machine {
  readonly version: string;
  readonly node: string;
  readonly platform: string;
  readonly flock: { readonly active: boolean; readonly reason?: string };
  readonly hash: string;
  readonly checksum: string;
  readonly chunker: { readonly fastcdc: string; readonly sieve: string };
  readonly codec: string;
}

async function describeMachine(): Promise<Machine> {
  await initChecksum();
  setSha256(nodeSha256);
  const flock = await loadFlock();
  return {
    version: packageVersion(),
    node: process.version,
    platform: `${platform()} ${release()} ${arch()}`,
    flock: 'unavailable' in flock ? { active: false, reason: flock.unavailable } : { active: true },
    hash: sha256Provider(),
    checksum: 'xxhash-wasm',
    chunker: { fastcdc: kernelOf('fastcdc'), sieve: kernelOf('sieve') },
    codec: 'raw (chunks are stored as they are)',
  };
}

/** How a chunker made here runs: 'wasm', or 'javascript' where WebAssembly cannot be used. */
function kernelOf(algorithm: 'fastcdc' | 'sieve'): string {
  const { min, avg, max } = defaultChunking;
  const chunker = createChunker(solveParams({ algorithm, min, avg, max }));
  try {
    return chunker.kind;
  } finally {
    chunker.release();
  }
}

interface StoreReport {
  readonly fields: object;
  readonly rows: [string, string][];
  readonly code: number;
}

async function describeStore(session: Session, dir: string): Promise<StoreReport> {
  const state: { health?: Health; seq?: number } = {};
  let code: number;
  let problem: unknown;
  try {
    code = await readStore(session, dir, async (engine) => {
      state.health = engine.health();
      state.seq = engine.stats().seq;
      return exitCodes.done;
    });
  } catch (error) {
    problem = error;
    code = exitCodeOf(error);
    // Nothing is there to be described.
    if (code === exitCodes.notFound || code === exitCodes.usage) throw error;
  }
  const lock = await lockOf(dir);
  const { health, seq } = state;
  const opens = problem === undefined;
  const opened = opens ? { opens, seq, health } : { opens, error: errorFields(problem) };
  const owner = lock instanceof Error ? { lockError: errorFields(lock) } : { lock };
  const rows: [string, string][] = [
    ['store', plainText(dir)],
    ['writer', lock instanceof Error ? errorText(lock) : lockText(lock)],
    ['opens', opens ? `yes, seq ${countText(seq ?? 0)}` : `no: ${errorText(problem)}`],
    ...(health === undefined ? [] : [['health', healthText(session, health)] as [string, string]]),
  ];
  return { fields: { dir, ...opened, ...owner }, rows, code };
}

async function lockOf(dir: string): Promise<LockDescription | null | Error> {
  try {
    return await describeLock(dir);
  } catch (error) {
    return error instanceof Error ? error : new Error(String(error));
  }
}

function lockText(lock: LockDescription | null): string {
  if (lock === null) return 'none so far';
  const who = `process ${lock.pid} on ${plainText(lock.host)}`;
  const since = new Date(lock.takenMs).toISOString();
  if (lock.alive === undefined) return `${who} since ${since}; cannot be seen from here whether it lives`;
  if (lock.held) return `${who} has it open for writing since ${since} (${lock.providers.join(', ')})`;
  return lock.released
    ? `nobody; the last was ${who}, closed in order`
    : `nobody; the last was ${who}, killed`;
}

function healthText(session: Session, health: Health): string {
  const state = session.paint(health.ok ? 'green' : 'red', health.status);
  const reason = health.reason === undefined ? '' : `: ${plainText(health.reason)}`;
  const damage = health.damage.map(({ message }) => `\n          ${plainText(message)}`).join('');
  return `${state}${reason}${damage}`;
}
