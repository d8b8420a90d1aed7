/**
 * Puts the keys of an archive that `varve export --tar` wrote into a store. Nothing of it is trusted: each
 * value is held against its SHA-256 before it is committed, the manifest against what has come, and what is
 * no such archive, or is not whole, is VARVE_CORRUPT with the name of the member.
 *
 * Invariants (test/cli/tar.test.ts)
 * - A key holds a value of the archive or what it held before ("a changed byte is refused and not stored").
 * - Memory is bounded: values up to 1 MiB, 4 MiB of them at once.
 */
import { toHex } from '../../base/bytes.ts';
import { corrupt, type Place } from '../../base/errors.ts';
import { MiB } from '../../base/limits.ts';
import { throwIfAborted } from '../../engine/key-args.ts';
import type { BatchOperation } from '../../engine/types.ts';
import { type IncrementalSha256, incrementalSha256, sha256Hex } from '../../kernels/hash/sha256.ts';
import { Meter, type OnProgress } from '../progress.ts';
import type { TreeStore } from '../tree/tree-store.ts';
import {
  aboutName,
  commentMark,
  manifestName,
  parseEntry,
  parseObject,
  putOptionsOf,
  sumsName,
  type TarEntry,
} from './tar-entry.ts';
import { type TarMember, TarReader } from './tar-reader.ts';

export interface ImportTarOptions {
  /** For messages: the name of the archive. */
  readonly file: string;
  readonly now?: () => number;
  readonly signal?: AbortSignal;
  readonly onProgress?: OnProgress;
}

/** What an import did. */
export interface ImportTarReport {
  readonly ok: boolean;
  readonly keys: number;
  readonly bytes: number;
  /** Keys left out because their time is over. */
  readonly expired: number;
  readonly seconds: number;
}

/** The store of a space; undefined: of the store's own keys. */
export type SpaceOf = (name: string | undefined) => TreeStore;

const wholeBytesMax = MiB;
const batchBytesMax = 4 * MiB;
const batchKeysMax = 512;
const aboutBytesMax = 64 * 1024;

/**
 * Reads the archive to its end. VARVE_CORRUPT where it is not whole: what came before is stored then, each
 * key proved by its own sum; VARVE_ABORTED.
 */
export async function importTar(
  source: AsyncIterable<Uint8Array>,
  spaceOf: SpaceOf,
  options: ImportTarOptions,
): Promise<ImportTarReport> {
  return await new ImportTarRun(spaceOf, options).run(new TarReader(source, options.file));
}

class ImportTarRun {
  readonly #spaceOf: SpaceOf;
  readonly #options: ImportTarOptions;
  readonly #meter: Meter;
  readonly #manifest: IncrementalSha256 = incrementalSha256();
  readonly #sums: IncrementalSha256 = incrementalSha256();
  #batch: Extract<BatchOperation, { type: 'put' }>[] = [];
  #batchBytes = 0;
  #batchSpace: string | undefined;
  #entries = 0;
  #expired = 0;

  constructor(spaceOf: SpaceOf, options: ImportTarOptions) {
    this.#spaceOf = spaceOf;
    this.#options = options;
    this.#meter = new Meter('import', undefined, options.onProgress);
  }

  async run(tar: TarReader): Promise<ImportTarReport> {
    const first = await tar.next();
    if (first?.path !== aboutName) throw this.#fault(first, 'is not where an archive of varve export begins');
    await this.#about(first, tar);
    let member = await tar.next();
    for (; member !== undefined && member.path !== manifestName; member = await tar.next()) {
      throwIfAborted(this.#options.signal);
      await this.#entry(member, tar);
    }
    await this.#flush();
    if (member === undefined) throw this.#fault(member, 'archive has no manifest: it is not whole');
    await this.#end(member, tar);
    const { bytes, seconds } = this.#meter;
    return { ok: true, keys: this.#entries - this.#expired, bytes, expired: this.#expired, seconds };
  }

  async #about(member: TarMember, tar: TarReader): Promise<void> {
    if (member.size > aboutBytesMax) throw this.#fault(member, 'is too long');
    const body = await tar.whole(member.size);
    const { format } = parseObject(Buffer.from(body).toString(), this.#place(member));
    if (format !== 1) throw this.#fault(member, 'is of a format this build does not know');
    this.#sum(sha256Hex(body), member.path);
  }

  async #entry(member: TarMember, tar: TarReader): Promise<void> {
    const { comment, path, size } = member;
    if (comment === undefined || !comment.startsWith(commentMark))
      throw this.#fault(member, 'does not say which key it is: varve export did not write it');
    const line = comment.slice(commentMark.length);
    const entry = parseEntry(line, this.#place(member));
    if (entry.path !== path || entry.size !== size) throw this.#fault(member, 'says it is another one');
    this.#manifest.update(Buffer.from(`${line}\n`));
    this.#sum(entry.sha256, path);
    this.#entries++;
    const options = putOptionsOf(entry, this.#options.now?.() ?? Date.now());
    if (size > wholeBytesMax && options !== undefined) {
      await this.#flush();
      const { signal } = this.#options;
      const ends = signal === undefined ? {} : { signal };
      await this.#spaceOf(entry.space).put(entry.key, this.#proved(member, entry, tar), {
        ...options,
        ...ends,
      });
    } else {
      let value = new Uint8Array(0);
      if (options === undefined) for await (const _ of this.#proved(member, entry, tar));
      else value = await this.#whole(member, entry, tar);
      if (options === undefined) this.#expired++;
      else await this.#add(entry, { type: 'put', key: entry.key, value, ...options });
    }
    this.#meter.addFile();
  }

  async #whole(member: TarMember, entry: TarEntry, tar: TarReader): Promise<Uint8Array<ArrayBuffer>> {
    const value = new Uint8Array(entry.size);
    let at = 0;
    for await (const piece of this.#proved(member, entry, tar)) {
      value.set(piece, at);
      at += piece.length;
    }
    return value;
  }

  /**
   * The bytes of a member; ends with an error, so that nothing is committed, where they are not the right
   * ones.
   */
  async *#proved(member: TarMember, entry: TarEntry, tar: TarReader): AsyncGenerator<Uint8Array> {
    const hash = incrementalSha256();
    for await (const piece of tar.body()) {
      hash.update(piece);
      this.#meter.add(piece.length);
      yield piece;
    }
    if (toHex(hash.digest()) !== entry.sha256)
      throw this.#fault(member, 'does not have the bytes of its SHA-256');
  }

  async #add({ space }: TarEntry, operation: Extract<BatchOperation, { type: 'put' }>): Promise<void> {
    const isFull = this.#batchBytes >= batchBytesMax || this.#batch.length >= batchKeysMax;
    if (space !== this.#batchSpace || isFull) await this.#flush();
    this.#batchSpace = space;
    this.#batch.push(operation);
    this.#batchBytes += operation.value.length + operation.key.length;
  }

  async #flush(): Promise<void> {
    const batch = this.#batch;
    this.#batch = [];
    this.#batchBytes = 0;
    if (batch.length > 0) await this.#spaceOf(this.#batchSpace).batch(batch);
  }

  /** Manifest and sums say what has come, no more and no less. */
  async #end(manifest: TarMember, tar: TarReader): Promise<void> {
    const hash = incrementalSha256();
    for await (const piece of tar.body()) hash.update(piece);
    const sum = toHex(hash.digest());
    if (sum !== toHex(this.#manifest.digest()))
      throw this.#fault(manifest, 'lists other keys than those that came');
    this.#sum(sum, manifestName);
    const sums = await tar.next();
    if (sums?.path !== sumsName) throw this.#fault(sums, 'is not where the archive has its sums');
    const own = incrementalSha256();
    for await (const piece of tar.body()) own.update(piece);
    if (toHex(own.digest()) !== toHex(this.#sums.digest()))
      throw this.#fault(sums, 'lists other sums than those of what came');
    const more = await tar.next();
    if (more !== undefined) throw this.#fault(more, 'comes behind the end of the archive');
  }

  #sum(sha256: string, path: string): void {
    this.#sums.update(Buffer.from(`${sha256}  ${path}\n`));
  }

  #place(member: TarMember): Place {
    return { file: this.#options.file, offset: member.offset };
  }

  #fault(member: TarMember | undefined, why: string): Error {
    const { file } = this.#options;
    if (member === undefined) return corrupt(why, { file });
    return corrupt(`member ${JSON.stringify(member.path)} ${why}`, { file, offset: member.offset });
  }
}
