/** One command being run: its output, how it opens stores, and how it ends. */
import { isVarveError, VarveError } from '../base/errors.ts';
import type { Engine, EngineOptions } from '../index.ts';
import { exitCodes } from './exit-codes.ts';
import { type CliIo, type Output, type Paint, painter } from './io.ts';
import { loadVarve } from './load.ts';
import { keyText, plainText, plural } from './text.ts';

/** What a command works with. */
export interface Session {
  readonly io: CliIo;
  readonly out: Output;
  /** Warnings and lists of problems for people; never JSON. */
  readonly err: Output;
  readonly json: boolean;
  /** Colours for stdout. */
  readonly paint: Paint;
}

/** A command's work; resolves with the exit code. */
export type Task = (session: Session) => Promise<number>;

/** Registers work with the program: every command's action ends in one call of `run`. */
export interface Runner {
  run(options: { json?: boolean }, task: Task): Promise<void>;
}

export function newSession(io: CliIo, out: Output, err: Output, json: boolean): Session {
  return { io, out, err, json, paint: json ? (_style, text) => text : painter(io.stdout, io.env) };
}

/** A line on stderr. */
export async function warn(session: Session, text: string): Promise<void> {
  await session.err.line(`varve: ${text}`);
  await session.err.flush();
}

/**
 * Opens a store for reading: takes no lock, writes nothing, works beside a writer. Missing is
 * VARVE_NOT_FOUND.
 */
export function readStore(
  session: Session,
  dir: string,
  task: (engine: Engine) => Promise<number>,
): Promise<number> {
  return withEngine(session, dir, { readOnly: true }, task);
}

/** Opens a store for writing; VARVE_LOCKED while somebody else writes, VARVE_NOT_FOUND unless `create`. */
export function writeStore(
  session: Session,
  dir: string,
  create: boolean,
  task: (engine: Engine) => Promise<number>,
): Promise<number> {
  return withEngine(session, dir, { createIfMissing: create, signal: session.io.signal }, task);
}

async function withEngine(
  session: Session,
  dir: string,
  options: EngineOptions,
  task: (engine: Engine) => Promise<number>,
): Promise<number> {
  const { openEngine } = await loadVarve();
  const engine = await openEngine(dir, { ...options, keyEncoding: 'bytes' });
  let code: number;
  try {
    code = await task(engine);
    code = await reportDamage(session, engine, code);
  } catch (error) {
    await closeAfter(session, engine);
    throw error;
  }
  await engine.close();
  return code;
}

/** Closes behind a failure, which is the one to report. */
async function closeAfter(session: Session, engine: Engine): Promise<void> {
  try {
    await engine.close();
  } catch (error) {
    await warn(session, `closing the store failed as well: ${String(error)}`);
  }
}

/** A command that worked on a damaged store ends with the code for corruption all the same. */
async function reportDamage(session: Session, engine: Engine, code: number): Promise<number> {
  const { ok, damage, missing } = engine.health();
  if (ok || (damage.length === 0 && missing.length === 0)) return code;
  const places = damage.map(({ message }) => `\n  ${plainText(message)}`).slice(0, 20);
  await warn(session, `the store is damaged: ${plural(damage.length, 'place')}${places.join('')}`);
  return code === exitCodes.done || code === exitCodes.notFound ? exitCodes.corrupt : code;
}

/**
 * The space that --space names, else the store's own. To read a space that is not there is VARVE_NOT_FOUND.
 */
export function spaceOf(engine: Engine, name: string | undefined, mustExist: boolean): Engine {
  if (name === undefined) return engine;
  if (mustExist && !engine.spaces.list().includes(name))
    throw new VarveError('VARVE_NOT_FOUND', `no space ${JSON.stringify(name)}`);
  return engine.space(name);
}

/** VARVE_NOT_FOUND for a key. */
export function noSuchKey(key: string | Uint8Array): VarveError {
  const shown = typeof key === 'string' ? plainText(key) : keyText(key);
  return new VarveError('VARVE_NOT_FOUND', `no such key: ${shown}`);
}

/** True when the error is that of the signal, rather than of what the command did. */
export function wasAborted(error: unknown, signal: AbortSignal): boolean {
  if (!signal.aborted) return false;
  if (isVarveError(error, 'VARVE_ABORTED') || error === signal.reason) return true;
  return error instanceof Error && error.name === 'AbortError';
}
