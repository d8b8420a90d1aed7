/** `--tar` of varve export and varve import: a store as an archive that any tool reads, and back. */
import { createReadStream } from 'node:fs';
import { access, open, rename, rm } from 'node:fs/promises';
import { invalid, VarveError } from '../../base/errors.ts';
import type { At, Engine } from '../../index.ts';
import { exitCodes } from '../exit-codes.ts';
import { isTerminal } from '../io.ts';
import { spaceAt, storeAt } from '../point.ts';
import { progressView } from '../progress.ts';
import { readStore, type Session, spaceOf, writeStore } from '../session.ts';
import { type ExportTarReport, exportTar, type TarSink } from '../tar/export-tar.ts';
import { importTar } from '../tar/import-tar.ts';
import { errnoOf, plural, sizeText } from '../text.ts';
import type { TreeStore } from '../tree/tree-store.ts';
import { problemFields, warnOfProblems } from './problems.ts';

/** What is written. */
export interface TarChoice {
  /** '-' = stdout. */
  readonly tar: string;
  readonly prefix: Uint8Array;
  readonly space: string | undefined;
  readonly at: At | undefined;
  readonly overwrite: boolean;
}

export async function exportTarCommand(session: Session, store: string, choice: TarChoice): Promise<number> {
  const { tar } = choice;
  const isStdout = tar === '-';
  if (isStdout && session.json) throw invalid('--json and --tar - both write to stdout');
  if (isStdout && isTerminal(session.io.stdout)) throw invalid('an archive is not written to a terminal');
  return await readStore(session, store, async (engine) => {
    const report = isStdout
      ? await write(session, engine, choice, (bytes) => session.out.bytes(bytes))
      : await writeFile(tar, choice.overwrite, (sink) => write(session, engine, choice, sink));
    const { failed, ...counts } = report;
    if (session.json) {
      await session.out.json({ type: 'export', ...counts, failed: failed.map(problemFields) });
    } else {
      await warnOfProblems(session, 'not written', failed, report.failedCount);
      const { keys, bytes, seconds } = report;
      const line = `${plural(keys, 'key')} (${sizeText(bytes)}) written in ${seconds.toFixed(1)} s`;
      await (isStdout ? session.err : session.out).line(line);
      await session.err.flush();
    }
    if (report.corrupt) return exitCodes.corrupt;
    return report.ok ? exitCodes.done : exitCodes.failed;
  });
}

async function write(
  session: Session,
  engine: Engine,
  { prefix, space, at }: TarChoice,
  sink: TarSink,
): Promise<ExportTarReport> {
  const names = space === undefined ? [undefined, ...engine.spaces.list()] : [space];
  const spaces = names.map((name) => ({ name, source: storeAt(spaceAt(engine, name, at), at) }));
  const view = await progressView(session.io, session.json);
  try {
    return await exportTar(spaces, sink, {
      prefix,
      about: { seq: engine.stats().seq, ...(at === undefined ? {} : { at }) },
      signal: session.io.signal,
      onProgress: view.update,
    });
  } finally {
    view.stop();
  }
}

/** The file is there when it is whole and on disk. */
async function writeFile<T>(
  path: string,
  overwrite: boolean,
  task: (sink: TarSink) => Promise<T>,
): Promise<T> {
  if (!overwrite && (await exists(path))) throw invalid(`${path} is there already: --overwrite replaces it`);
  const part = `${path}.part`;
  const file = await open(part, 'w', 0o600);
  let done: T;
  try {
    let at = 0;
    done = await task(async (bytes) => {
      for (let from = 0; from < bytes.length; ) {
        const { bytesWritten } = await file.write(bytes, from, bytes.length - from, at);
        from += bytesWritten;
        at += bytesWritten;
      }
    });
    await file.sync();
  } catch (error) {
    await file.close();
    await rm(part, { force: true });
    throw error;
  }
  await file.close();
  await rename(part, path);
  return done;
}

async function exists(path: string): Promise<boolean> {
  try {
    await access(path);
    return true;
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return false;
    throw error;
  }
}

export async function importTarCommand(session: Session, store: string, tar: string): Promise<number> {
  const isStdin = tar === '-';
  // Before the store is made: a wrong name must not leave an empty store behind.
  if (!isStdin && !(await exists(tar))) throw new VarveError('VARVE_NOT_FOUND', `${tar}: no such file`);
  return await writeStore(session, store, true, async (engine) => {
    const source: AsyncIterable<Uint8Array> = isStdin ? session.io.stdin : createReadStream(tar);
    const spaces = new Map<string | undefined, TreeStore>();
    const view = await progressView(session.io, session.json);
    let report: Awaited<ReturnType<typeof importTar>>;
    try {
      report = await importTar(source, storeOf, {
        file: isStdin ? 'stdin' : tar,
        signal: session.io.signal,
        onProgress: view.update,
      });
    } finally {
      view.stop();
    }
    if (session.json) await session.out.json({ type: 'import', ...report });
    else {
      const { keys, bytes, expired, seconds } = report;
      const more = expired === 0 ? '' : `, ${plural(expired, 'expired key')} left out`;
      await session.out.line(
        `${plural(keys, 'key')} (${sizeText(bytes)}) stored in ${seconds.toFixed(1)} s${more}`,
      );
    }
    return exitCodes.done;

    function storeOf(name: string | undefined): TreeStore {
      const known = spaces.get(name) ?? spaceOf(engine, name, false);
      spaces.set(name, known);
      return known;
    }
  });
}
