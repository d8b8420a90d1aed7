/**
 * Writes keys as a tar archive that any tool reads: a file for each key, then a manifest and the SHA-256 sums
 * of all of them. A value is read whole before its header is written (large ones twice), so that one which is
 * damaged is left out and listed, and its sum is known to who reads the archive before its bytes come.
 *
 * Invariants (test/cli/tar.test.ts)
 * - The archive is whole, whatever values are damaged ("damaged values are left out and listed").
 * - Memory is bounded: one value of at most 8 MiB; lists go through files.
 */
import { type FileHandle, mkdtemp, open, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { toHex } from '../../base/bytes.ts';
import { corrupt, isVarveError, VarveError } from '../../base/errors.ts';
import { MiB } from '../../base/limits.ts';
import { throwIfAborted } from '../../engine/key-args.ts';
import type { EntryStat } from '../../engine/types.ts';
import { type IncrementalSha256, incrementalSha256, sha256Hex } from '../../kernels/hash/sha256.ts';
import { Meter, type OnProgress } from '../progress.ts';
import type { ExportSource } from '../tree/export-tree.ts';
import { bytesOfKey, type Problem, ProblemList } from '../tree/tree-store.ts';
import { aboutName, commentMark, entryLine, manifestName, sumsName } from './tar-entry.ts';
import { memberHeader, paddingOf, tarBlockBytes } from './tar-header.ts';
import { TarPaths } from './tar-paths.ts';

/** Keys of one space. */
export interface ArchivedSpace {
  /** Undefined: the store's own keys. */
  readonly name: string | undefined;
  readonly source: ExportSource;
}

export interface ExportTarOptions {
  readonly prefix?: Uint8Array;
  /** What the first member says of the archive. */
  readonly about?: object;
  readonly signal?: AbortSignal;
  readonly onProgress?: OnProgress;
  /** Values up to this many bytes are read once, into memory. */
  readonly wholeBytesMax?: number;
}

/** What an export did. */
export interface ExportTarReport {
  readonly ok: boolean;
  readonly keys: number;
  /** Of all values. */
  readonly bytes: number;
  readonly seconds: number;
  readonly failed: readonly Problem[];
  readonly failedCount: number;
  /** A value was damaged. */
  readonly corrupt: boolean;
}

/** Takes the bytes of the archive in order; borrows them until it resolves. */
export type TarSink = (bytes: Uint8Array) => Promise<void>;

/** Writes the archive. VARVE_ABORTED; whatever the sink throws. */
export async function exportTar(
  spaces: readonly ArchivedSpace[],
  sink: TarSink,
  options: ExportTarOptions = {},
): Promise<ExportTarReport> {
  const dir = await mkdtemp(join(tmpdir(), 'varve-export-'));
  try {
    const manifest = await Spool.make(join(dir, manifestName));
    const sums = await Spool.make(join(dir, sumsName));
    try {
      return await new ExportTarRun(sink, manifest, sums, options).run(spaces);
    } finally {
      await manifest.close();
      await sums.close();
    }
  } finally {
    await rm(dir, { recursive: true, force: true });
  }
}

class ExportTarRun {
  readonly #sink: TarSink;
  readonly #manifest: Spool;
  readonly #sums: Spool;
  readonly #options: ExportTarOptions;
  readonly #meter: Meter;
  readonly #problems = new ProblemList();
  readonly #paths = new TarPaths();
  #keys = 0;
  #corrupt = false;

  constructor(sink: TarSink, manifest: Spool, sums: Spool, options: ExportTarOptions) {
    this.#sink = sink;
    this.#manifest = manifest;
    this.#sums = sums;
    this.#options = options;
    this.#meter = new Meter('export', undefined, options.onProgress);
  }

  async run(spaces: readonly ArchivedSpace[]): Promise<ExportTarReport> {
    const { prefix = new Uint8Array(0), about = {}, signal } = this.#options;
    const nowMs = Math.floor(Date.now() / 1000) * 1000;
    await this.#text(
      aboutName,
      `${JSON.stringify({ format: 1, ...about, exported: new Date(nowMs) })}\n`,
      nowMs,
    );
    for (const { name, source } of spaces) {
      for await (const entry of source.scan({ prefix, values: false, stats: true, signal })) {
        throwIfAborted(signal);
        if (entry.key === undefined) continue;
        await this.#key(name, source, bytesOfKey(entry.key), entry.stat!);
      }
    }
    await this.#spooled(manifestName, this.#manifest, nowMs, JSON.stringify({ keys: this.#keys }));
    await this.#sums.line(`${this.#manifest.sha256()}  ${manifestName}`);
    await this.#spooled(sumsName, this.#sums, nowMs);
    await this.#sink(new Uint8Array(2 * tarBlockBytes));
    const { items, count } = this.#problems;
    return {
      ok: count === 0,
      keys: this.#keys,
      bytes: this.#meter.bytes,
      seconds: this.#meter.seconds,
      failed: items,
      failedCount: count,
      corrupt: this.#corrupt,
    };
  }

  async #key(
    space: string | undefined,
    source: ExportSource,
    key: Uint8Array,
    stat: EntryStat,
  ): Promise<void> {
    // Also for a key that is left out: paths of later ones are the same then.
    const path = this.#paths.pathOf(space, key);
    const isSmall = stat.size <= (this.#options.wholeBytesMax ?? 8 * MiB);
    let value: Uint8Array | undefined;
    let sha256: string;
    try {
      value = isSmall ? await source.get(key) : undefined;
      if (isSmall && value === undefined) throw gone();
      sha256 = value === undefined ? await hashOf(source, key) : sha256Hex(value);
    } catch (error) {
      if (!isVarveError(error) || error.code === 'VARVE_ABORTED' || error.code === 'VARVE_CLOSED')
        throw error;
      if (error.code === 'VARVE_CORRUPT') this.#corrupt = true;
      this.#problems.add({ path: key, reason: error.message, code: error.code });
      return;
    }
    const line = entryLine({ space, key, path, sha256, stat });
    const modifiedMs = stat.modified.getTime();
    await this.#sink(memberHeader({ path, size: stat.size, modifiedMs, comment: commentMark + line }));
    let size = 0;
    const pieces = value === undefined ? source.stream(key, { verify: true }) : [value];
    for await (const piece of pieces) {
      size += piece.length;
      await this.#sink(piece);
      this.#meter.add(piece.length);
      throwIfAborted(this.#options.signal);
    }
    if (size !== stat.size) throw corrupt('a value changed its size while it was read', { file: path });
    await this.#sink(new Uint8Array(paddingOf(size)));
    await this.#manifest.line(line);
    await this.#sums.line(`${sha256}  ${path}`);
    this.#keys++;
    this.#meter.addFile();
  }

  async #text(path: string, text: string, modifiedMs: number): Promise<void> {
    const body = Buffer.from(text);
    await this.#sink(memberHeader({ path, size: body.length, modifiedMs }));
    await this.#sink(body);
    await this.#sink(new Uint8Array(paddingOf(body.length)));
    await this.#sums.line(`${sha256Hex(body)}  ${path}`);
  }

  async #spooled(path: string, spool: Spool, modifiedMs: number, comment?: string): Promise<void> {
    const size = await spool.finish();
    const mark = comment === undefined ? {} : { comment: commentMark + comment };
    await this.#sink(memberHeader({ path, size, modifiedMs, ...mark }));
    await spool.read((bytes) => this.#sink(bytes));
    await this.#sink(new Uint8Array(paddingOf(size)));
  }
}

function gone(): VarveError {
  return new VarveError('VARVE_NOT_FOUND', 'the key went away while it was read');
}

async function hashOf(source: ExportSource, key: Uint8Array): Promise<string> {
  const hash = incrementalSha256();
  for await (const piece of source.stream(key, { verify: true })) hash.update(piece);
  return toHex(hash.digest());
}

const spoolBytes = 64 * 1024;

/** Lines on their way into the archive, whose size must be known before they can go there. */
class Spool {
  readonly #file: FileHandle;
  readonly #hash: IncrementalSha256 = incrementalSha256();
  #lines: Buffer[] = [];
  #held = 0;
  #size = 0;

  private constructor(file: FileHandle) {
    this.#file = file;
  }

  static async make(path: string): Promise<Spool> {
    return new Spool(await open(path, 'wx+', 0o600));
  }

  async line(text: string): Promise<void> {
    const line = Buffer.from(`${text}\n`);
    this.#hash.update(line);
    this.#lines.push(line);
    this.#held += line.length;
    if (this.#held >= spoolBytes) await this.#flush();
  }

  /** Hex; once, behind the last line. */
  sha256(): string {
    return toHex(this.#hash.digest());
  }

  /** Bytes of all lines. */
  async finish(): Promise<number> {
    await this.#flush();
    return this.#size;
  }

  async read(take: TarSink): Promise<void> {
    const buffer = Buffer.alloc(spoolBytes);
    for (let at = 0; at < this.#size; ) {
      const { bytesRead } = await this.#file.read(buffer, 0, Math.min(spoolBytes, this.#size - at), at);
      if (bytesRead === 0)
        throw corrupt('a temporary file is shorter than it was written', { file: tmpdir() });
      await take(buffer.subarray(0, bytesRead));
      at += bytesRead;
    }
  }

  async close(): Promise<void> {
    await this.#file.close();
  }

  async #flush(): Promise<void> {
    const bytes = Buffer.concat(this.#lines);
    this.#lines = [];
    this.#held = 0;
    for (let at = 0; at < bytes.length; ) {
      const { bytesWritten } = await this.#file.write(bytes, at, bytes.length - at, this.#size);
      at += bytesWritten;
      this.#size += bytesWritten;
    }
  }
}
