/**
 * The process that gets killed: several writers on one store, each announcing a commit before it begins and
 * again when it is acknowledged, by synchronous writes to standard output.
 */
import { writeSync } from 'node:fs';
import { Prng } from '../../src/base/prng.ts';
import { type BatchOperation, type Engine, isVarveError, openEngine } from '../../src/index.ts';
import { bytesOf, type Change, type KillMessage } from './kill-model.ts';

const keysPerWriter = 24;
const changesMax = 4;

/** Opens the store in `dir` and writes to it until the process is killed. */
export async function writeUntilKilled(dir: string, seed: number, writers: number): Promise<void> {
  const engine = await openEngine(dir, {
    lockWaitMs: 10_000,
    memory: { memtableBytes: 128 * 1024 },
    chunking: { min: 1024, avg: 4096, max: 16_384 },
  });
  tell({ kind: 'open', seq: engine.stats().seq, health: engine.health().status });
  const prng = new Prng(seed);
  const seeds = Array.from({ length: writers }, () => prng.u32());
  const each = seeds.map((own, writer) => writeForEver(engine, new Prng(own), writer));
  await Promise.all([...each, disturb(engine, new Prng(prng.u32()))]);
}

async function writeForEver(engine: Engine, prng: Prng, writer: number): Promise<void> {
  for (let n = 0; ; n++) {
    const changes = nextChanges(prng, writer);
    tell({ kind: 'begin', writer, n, changes });
    await commit(engine, prng, changes);
    tell({ kind: 'acked', writer, n });
  }
}

function nextChanges(prng: Prng, writer: number): Change[] {
  const changes = new Map<string, Change>();
  for (let left = prng.chance(0.2) ? 1 + prng.below(changesMax) : 1; left > 0; left--) {
    const key = `w${writer}/${prng.below(keysPerWriter)}`;
    changes.set(key, prng.chance(0.15) ? { key } : { key, seed: prng.below(5000), size: nextSize(prng) });
  }
  return Array.from(changes.values());
}

function nextSize(prng: Prng): number {
  const form = prng.below(20);
  if (form < 12) return prng.below(1500);
  return form < 19 ? 2000 + prng.below(40_000) : 100_000 + prng.below(400_000);
}

async function commit(engine: Engine, prng: Prng, changes: readonly Change[]): Promise<void> {
  const [first] = changes;
  if (changes.length > 1 || first === undefined) await engine.batch(changes.map(operationOf));
  else if (first.size === undefined) await engine.delete(first.key);
  else {
    const bytes = bytesOf(first);
    await engine.put(first.key, prng.chance(0.3) ? inPieces(bytes) : bytes);
  }
}

function operationOf(change: Change): BatchOperation {
  const { key, size } = change;
  return size === undefined ? { type: 'delete', key } : { type: 'put', key, value: bytesOf(change) };
}

async function* inPieces(bytes: Uint8Array): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < bytes.length; at += 16_384) yield bytes.subarray(at, at + 16_384);
}

/** Checkpoints at odd moments, beside those the engine makes. */
async function disturb(engine: Engine, prng: Prng): Promise<void> {
  for (;;) {
    await new Promise((resolve) => setTimeout(resolve, prng.below(400)));
    await engine.flush();
  }
}

/** Whole lines only, each in one go, so that what the parent has read has happened. */
function tell(message: KillMessage): void {
  const bytes = Buffer.from(`${JSON.stringify(message)}\n`);
  for (let at = 0; at < bytes.length; ) {
    try {
      at += writeSync(1, bytes, at);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EAGAIN') throw error;
    }
  }
}

/** For messages of a child that ended by itself. */
export function describeFailure(error: unknown): string {
  return isVarveError(error) ? `${error.code}: ${error.message}` : String(error);
}
