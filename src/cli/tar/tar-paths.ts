/**
 * Keys as paths of an archive, safe on every system and reversible:
 *
 *   keys/<key>               keys of the store itself, cut at '/'
 *   spaces/<name>/<key>      keys of a space
 *   long/<sha256>            keys that are too long for a file system; the manifest says which
 *
 * In a name, bytes that some system refuses are `%XX`. A name that ends in a bare `%` has it added: for an
 * empty name, and for a directory beside a file of the same name (the keys `a` and `a/b`).
 *
 * Invariants (test/cli/tar.test.ts)
 * - Different keys have different paths, every path is safe, and none is a directory of another ("keys become
 *   paths and back, whatever they are").
 */
import { decodeUtf8, encodeUtf8, startsWith } from '../../base/bytes.ts';
import { sha256Hex } from '../../kernels/hash/sha256.ts';

const slash = 0x2f;
const percent = 0x25;
/** Longest name of a file almost everywhere is 255 bytes, longest path 1,024 on some. */
const nameBytesMax = 200;
const pathBytesMax = 900;

const refused = /[%/\\:*?"<>|\p{C}]/u;
const deviceName = /^(con|prn|aux|nul|conin\$|conout\$|com[0-9¹²³]|lpt[0-9¹²³])\s*(\.|$)/i;

/** Gives out paths for keys that come in rising order, one space after another. */
export class TarPaths {
  #space: string | undefined;
  #last: Uint8Array | undefined;
  /** Lengths of the keys that the last one begins with, its own included. */
  #beginnings: number[] = [];

  pathOf(space: string | undefined, key: Uint8Array): string {
    if (space !== this.#space || this.#last === undefined) this.#beginnings = [];
    else
      this.#beginnings = this.#beginnings.filter((length) =>
        startsWith(key, this.#last!.subarray(0, length)),
      );
    const path = pathOf(space, key, (length) => this.#beginnings.includes(length));
    this.#space = space;
    this.#last = key.slice();
    this.#beginnings.push(key.length);
    return path;
  }
}

/** `isFile(n)`: the first n bytes are a key too, whose path is a file. */
export function pathOf(
  space: string | undefined,
  key: Uint8Array,
  isFile: (length: number) => boolean,
): string {
  const root = space === undefined ? 'keys' : `spaces/${nameOf(encodeUtf8(space))}`;
  const names: string[] = [];
  let from = 0;
  let isLong = false;
  for (let at = 0; at <= key.length; at++) {
    if (at < key.length && key[at] !== slash) continue;
    const name = nameOf(key.subarray(from, at));
    isLong ||= name.length > nameBytesMax || Buffer.byteLength(name) > nameBytesMax;
    const isBeside = at < key.length && isFile(at);
    names.push(isBeside ? `${name}%` : name);
    from = at + 1;
    if (isLong) break;
  }
  const path = `${root}/${names.join('/')}`;
  if (!isLong && Buffer.byteLength(path) <= pathBytesMax) return path;
  return longPathOf(space, key);
}

/** The path of a key that is too long for one of its own. */
export function longPathOf(space: string | undefined, key: Uint8Array): string {
  return `long/${sha256Hex(Buffer.concat([encodeUtf8(`${space ?? ''}\0`), key]))}`;
}

function nameOf(bytes: Uint8Array): string {
  if (bytes.length === 0) return '%';
  const text = decodeUtf8(bytes);
  // A name that some system would write in another form keeps its bytes as digits.
  const isText = text !== undefined && text.normalize('NFC') === text;
  let out = '';
  if (isText) for (const char of text) out += refused.test(char) ? escaped(encodeUtf8(char)) : char;
  else for (const byte of bytes) out += byte >= 0x80 ? escaped([byte]) : nameOfAscii(byte);
  if (out === '.' || out === '..') return out.replaceAll('.', '%2E');
  if (deviceName.test(out)) out = escaped([out.charCodeAt(0)]) + out.slice(1);
  const last = out.at(-1)!;
  return last === '.' || last === ' ' ? out.slice(0, -1) + escaped([last.charCodeAt(0)]) : out;
}

function nameOfAscii(byte: number): string {
  const char = String.fromCharCode(byte);
  return refused.test(char) ? escaped([byte]) : char;
}

function escaped(bytes: ArrayLike<number>): string {
  return Array.from(bytes, (byte) => `%${byte.toString(16).toUpperCase().padStart(2, '0')}`).join('');
}

/** The space and key that a path stands for; undefined for paths that none has, and for those of `long/`. */
export function keyOfPath(path: string): { space: string | undefined; key: Uint8Array } | undefined {
  const parts = path.split('/');
  const root = parts.shift();
  let space: string | undefined;
  if (root === 'spaces') {
    const name = parts.shift();
    space = name === undefined ? undefined : decodeUtf8(bytesOfName(name) ?? Uint8Array.of(0xff));
    if (space === undefined) return undefined;
  } else if (root !== 'keys') return undefined;
  if (parts.length === 0) return undefined;
  const names = parts.map(bytesOfName);
  if (names.some((name) => name === undefined)) return undefined;
  const pieces = names.flatMap((name, i) => (i === 0 ? [name!] : [Uint8Array.of(slash), name!]));
  return { space, key: new Uint8Array(Buffer.concat(pieces)) };
}

function bytesOfName(name: string): Uint8Array | undefined {
  const bytes = encodeUtf8(name.replace(/%+$/, ''));
  const out: number[] = [];
  for (let i = 0; i < bytes.length; i++) {
    if (bytes[i] !== percent) {
      out.push(bytes[i]!);
      continue;
    }
    const digits = String.fromCharCode(...bytes.subarray(i + 1, i + 3));
    if (!/^[0-9A-F]{2}$/.test(digits)) return undefined;
    out.push(Number.parseInt(digits, 16));
    i += 2;
  }
  return Uint8Array.from(out);
}
