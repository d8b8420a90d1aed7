/** Running commands inside a test, and trees to run them on. */
import { execFileSync } from 'node:child_process';
import {
  lstat,
  mkdir,
  mkdtemp,
  readdir,
  readFile,
  readlink,
  rm,
  symlink,
  utimes,
  writeFile,
} from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { PassThrough, Readable, Writable } from 'node:stream';
import { afterAll, expect } from 'vitest';
import type { CliIo } from '../../src/cli/io.ts';
import { runCli } from '../../src/cli/program.ts';
import type { Problem } from '../../src/cli/tree/tree-store.ts';
import { type Engine, openEngine } from '../../src/index.ts';

const made: string[] = [];

afterAll(async () => {
  for (const dir of made.splice(0)) await rm(dir, { recursive: true, force: true });
});

/** A fresh directory, removed when the file's tests are over. */
export async function freshDir(): Promise<string> {
  const dir = await mkdtemp(join(tmpdir(), 'varve-cli-'));
  made.push(dir);
  return dir;
}

export interface CliResult {
  readonly code: number;
  readonly stdout: Buffer;
  readonly out: string;
  readonly err: string;
  /** Lines of stdout parsed as JSON. */
  json(): Record<string, unknown>[];
}

export interface CliInput {
  stdin?: string | Uint8Array;
  signal?: AbortSignal;
  stdout?: Writable;
  env?: CliIo['env'];
}

/** Everything that was written to a stream. One `read` gives all of it on older Nodes, a piece from 26 on. */
export function written(stream: PassThrough): Buffer {
  const pieces: Buffer[] = [];
  for (let piece = stream.read(); piece !== null; piece = stream.read()) pieces.push(piece as Buffer);
  return Buffer.concat(pieces);
}

/** Runs one command with streams of its own. */
export async function cli(argv: readonly string[], input: CliInput = {}): Promise<CliResult> {
  const stdout = input.stdout ?? new PassThrough({ highWaterMark: 64 * 1024 * 1024 });
  const stderr = new PassThrough({ highWaterMark: 64 * 1024 * 1024 });
  const code = await runCli(argv, {
    stdin: Readable.from([Buffer.from(input.stdin ?? '')]),
    stdout,
    stderr,
    env: input.env ?? {},
    signal: input.signal ?? new AbortController().signal,
  });
  const bytes = stdout instanceof PassThrough ? written(stdout) : Buffer.alloc(0);
  const out = bytes.toString();
  return {
    code,
    stdout: bytes,
    out,
    err: written(stderr).toString(),
    json: () =>
      out
        .split('\n')
        .filter((line) => line !== '')
        .map((line) => JSON.parse(line) as Record<string, unknown>),
  };
}

/** A path below `dir` whose last part may be any bytes. */
export function bytePath(dir: string, name: string | Uint8Array): Buffer {
  return Buffer.concat([Buffer.from(`${dir}/`), Buffer.from(name as Uint8Array)]);
}

/**
 * What a tree holds, in a form that two trees can be compared by. Names as latin1, so that any bytes show.
 */
export async function snapshot(dir: string | Buffer): Promise<Record<string, unknown>> {
  const found: Record<string, unknown> = {};
  await look(Buffer.from(dir as string), '', found);
  return found;
}

async function look(dir: Buffer, prefix: string, found: Record<string, unknown>): Promise<void> {
  for (const name of await readdir(dir, { encoding: 'buffer' })) {
    const path = Buffer.concat([dir, Buffer.from('/'), name]);
    const key = prefix + name.toString('latin1');
    const stat = await lstat(path, { bigint: true });
    const mode = Number(stat.mode) & 0o7777;
    const mtime = new Time(stat.mtimeNs);
    if (stat.isDirectory()) {
      found[`${key}/`] = { mode, mtime };
      await look(path, `${key}/`, found);
    } else if (stat.isSymbolicLink())
      found[key] = { target: (await readlink(path, { encoding: 'buffer' })).toString('latin1') };
    else if (stat.isFile()) found[key] = { mode, mtime, content: (await readFile(path)).toString('base64') };
    else found[key] = { special: true };
  }
}

/** A time that equals another to the microsecond: the system calls take seconds as a double. */
class Time {
  readonly ns: bigint;

  constructor(ns: bigint) {
    this.ns = ns;
  }
}

const timesEqual = (a: unknown, b: unknown): boolean | undefined => {
  if (!(a instanceof Time && b instanceof Time)) return undefined;
  const apart = a.ns - b.ns;
  return apart <= 1000n && apart >= -1000n;
};

expect.addEqualityTesters([timesEqual]);

/** A tree with a bit of everything that a POSIX file system can hold. */
export async function hostileTree(dir: string): Promise<void> {
  await mkdir(join(dir, 'empty'));
  await mkdir(join(dir, 'a'));
  await writeFile(join(dir, 'a.txt'), 'sorts between a and a/');
  await writeFile(join(dir, 'a', 'small'), 'small');
  await writeFile(join(dir, 'a', 'nothing'), '');
  await writeFile(join(dir, 'a', 'large'), bigBytes(700_000));
  await writeFile(join(dir, 'new\nline'), 'x', { mode: 0o640 });
  await writeFile(bytePath(dir, Uint8Array.of(0x66, 0xff, 0xfe)), 'not UTF-8');
  await writeFile(join(dir, 'read-only'), 'r', { mode: 0o444 });
  await symlink('a/small', join(dir, 'link'));
  await symlink('/etc', join(dir, 'link-out'));
  await symlink('nowhere', join(dir, 'broken'));
  const deep = Array.from({ length: 40 }, (_, i) => `d${i}`).join('/');
  await mkdir(join(dir, deep), { recursive: true });
  await writeFile(join(dir, deep, 'end'), 'deep');
  await utimes(join(dir, 'a.txt'), 1.5, 1_234_567_890.125);
  await utimes(join(dir, 'empty'), 1.5, 987_654_321.5);
}

/** Bytes that do not repeat. */
export function bigBytes(length: number, seed = 1): Buffer {
  const out = Buffer.alloc(length);
  let state = seed;
  for (let i = 0; i < length; i++) {
    state = (Math.imul(state, 1_103_515_245) + 12_345) >>> 0;
    out[i] = state >>> 16;
  }
  return out;
}

/** Makes a named pipe. */
export function makePipe(path: string): void {
  execFileSync('mkfifo', [path]);
}

export const isRoot: boolean = process.getuid?.() === 0;

/** A stream whose reader goes away after the first write. */
export function closingStream(): Writable {
  let writes = 0;
  return new Writable({
    write(_chunk, _encoding, done) {
      writes++;
      done(writes > 1 ? Object.assign(new Error('write EPIPE'), { code: 'EPIPE' }) : null);
    },
  });
}

/** Runs `task` with a fresh store and the directory it lies in. */
export async function withStore<T>(task: (engine: Engine, base: string) => Promise<T>): Promise<T> {
  const base = await freshDir();
  const engine = await openEngine(join(base, 'store'), { keyEncoding: 'bytes', durability: 'os' });
  try {
    return await task(engine, base);
  } finally {
    await engine.close();
  }
}

/** Keys of a store as latin1, so that any bytes show. */
export async function keysOf(engine: Engine, prefix = ''): Promise<string[]> {
  const keys: string[] = [];
  for await (const entry of engine.scan<Uint8Array>({ prefix, values: false }))
    keys.push(Buffer.from(entry.key!).toString('latin1'));
  return keys;
}

/** Paths of problems as latin1. */
export const paths = (problems: readonly Problem[]): string[] =>
  problems.map(({ path }) => Buffer.from(path).toString('latin1'));
