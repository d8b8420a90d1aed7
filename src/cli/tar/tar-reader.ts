/**
 * Reads a tar archive front to back, in bounded memory: regular files only. Links, devices and directories,
 * unsafe paths, sizes that cannot be and an end that comes too early are VARVE_CORRUPT, with the name of the
 * member.
 *
 * Invariants (test/cli/tar.test.ts)
 * - However the bytes arrive, the same members come out ("an archive cut anywhere is refused").
 */
import { encodeUtf8 } from '../../base/bytes.ts';
import { corrupt, type VarveError } from '../../base/errors.ts';
import { MiB } from '../../base/limits.ts';
import { pathFault } from '../tree/paths.ts';
import { decodeBlock, decodeRecords, paddingOf, tarBlockBytes } from './tar-header.ts';

/** A regular file of an archive. Read its bytes to the end before the next one is asked for. */
export interface TarMember {
  readonly path: string;
  readonly size: number;
  /** Of the pax header. */
  readonly comment: string | undefined;
  /** Where its header lies. */
  readonly offset: number;
}

/** Longest pax header: a key in hex twice, and metadata. */
const recordsBytesMax = MiB;
const sizeMax = Number.MAX_SAFE_INTEGER;

const kinds: Readonly<Record<string, string>> = {
  '1': 'a hard link',
  '2': 'a link',
  '3': 'a device',
  '4': 'a device',
  '5': 'a directory',
  '6': 'a pipe',
};

export class TarReader {
  readonly #file: string;
  readonly #source: AsyncIterator<Uint8Array>;
  #piece: Uint8Array = new Uint8Array(0);
  #offset = 0;
  /** Bytes of the member under way, and behind it up to the next block. */
  #left = 0;
  #padding = 0;
  #member = '';

  /** `file`: for messages. */
  constructor(source: AsyncIterable<Uint8Array>, file: string) {
    this.#source = source[Symbol.asyncIterator]();
    this.#file = file;
  }

  /** The next member; undefined behind the last one. */
  async next(): Promise<TarMember | undefined> {
    for await (const _ of this.body());
    let records: Map<string, string> | undefined;
    for (;;) {
      const offset = this.#offset;
      const place = { file: this.#file, offset };
      const block = decodeBlock(await this.#exactly(tarBlockBytes), place);
      if (block === undefined) {
        if (decodeBlock(await this.#exactly(tarBlockBytes), place) !== undefined || records !== undefined)
          throw corrupt('archive has a block of zeros in its middle', place);
        return undefined;
      }
      const { name, size, type } = block;
      if (type === 'x' && records === undefined) {
        if (size > recordsBytesMax) throw this.#refused(name, `has a pax header of ${size} bytes`, offset);
        records = decodeRecords(await this.#exactly(size), place);
        await this.#exactly(paddingOf(size));
        continue;
      }
      return this.#begin(name, size, type, records, offset);
    }
  }

  #begin(
    name: string,
    size: number,
    type: string,
    records: ReadonlyMap<string, string> | undefined,
    offset: number,
  ): TarMember {
    const path = records?.get('path') ?? name;
    if (type !== '0')
      throw this.#refused(path, `is ${kinds[type] ?? `of type ${JSON.stringify(type)}`}`, offset);
    const fault = pathFault(encodeUtf8(path), 'linux');
    if (fault !== undefined || path.endsWith('/'))
      throw this.#refused(path, fault === undefined ? 'is a directory' : `is not safe: ${fault}`, offset);
    const given = records?.get('size');
    if (given !== undefined && !/^\d{1,16}$/.test(given))
      throw this.#refused(path, 'has a size that is no number', offset);
    const bytes = given === undefined ? size : Number(given);
    if (bytes > sizeMax) throw this.#refused(path, `claims ${bytes} bytes`, offset);
    this.#left = bytes;
    this.#padding = paddingOf(bytes);
    this.#member = path;
    return { path, size: bytes, comment: records?.get('comment'), offset };
  }

  /** The bytes of the member that `next` gave, in pieces, each borrowed until the next is asked for. */
  async *body(): AsyncGenerator<Uint8Array> {
    while (this.#left > 0) {
      const piece = await this.#some(this.#left);
      this.#left -= piece.length;
      yield piece;
    }
    await this.#exactly(this.#padding);
    this.#padding = 0;
  }

  /** All bytes of the member; its size has been bounded by the caller. */
  async whole(size: number): Promise<Uint8Array> {
    const out = new Uint8Array(size);
    let at = 0;
    for await (const piece of this.body()) {
      out.set(piece, at);
      at += piece.length;
    }
    return out;
  }

  #refused(path: string, why: string, offset: number): VarveError {
    return corrupt(`member ${JSON.stringify(path)} ${why}`, { file: this.#file, offset });
  }

  async #exactly(length: number): Promise<Uint8Array> {
    const out = new Uint8Array(length);
    for (let at = 0; at < length; ) {
      const piece = await this.#some(length - at);
      out.set(piece, at);
      at += piece.length;
    }
    return out;
  }

  /** At least one byte, at most `most`. */
  async #some(most: number): Promise<Uint8Array> {
    while (this.#piece.length === 0) {
      const { value, done } = await this.#source.next();
      if (done === true) {
        const where = this.#member === '' ? '' : ` in or behind member ${JSON.stringify(this.#member)}`;
        throw corrupt(`archive is cut off${where}`, { file: this.#file, offset: this.#offset });
      }
      this.#piece = value;
    }
    const piece = this.#piece.subarray(0, most);
    this.#piece = this.#piece.subarray(piece.length);
    this.#offset += piece.length;
    return piece;
  }
}
