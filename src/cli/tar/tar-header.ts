/**
 * Headers of tar archives, POSIX pax: a block of 512 bytes for each member, and before it, where its fields
 * do not fit, a member of type `x` with records of text. Nothing that is read here is trusted: every number
 * is bounded, and what is not plain is refused with its place.
 */
import { decodeUtf8, encodeUtf8 } from '../../base/bytes.ts';
import { corrupt, type Place } from '../../base/errors.ts';

export const tarBlockBytes = 512;

/** A member as it is written. `path`: relative, well-formed text without NUL. */
export interface NewMember {
  readonly path: string;
  readonly size: number;
  readonly modifiedMs: number;
  /** A text that other tools pass over. */
  readonly comment?: string;
}

/** A header block as it was read. */
export interface TarBlock {
  readonly name: string;
  readonly size: number;
  readonly type: string;
}

const octalMax = 8 ** 11 - 1;
const nameBytesMax = 100;
/** Plain ASCII, which means the same to every tool. */
const plainPath = /^[\x20-\x7e]+$/;

/** The blocks before the bytes of a member. */
export function memberHeader({ path, size, modifiedMs, comment }: NewMember): Uint8Array {
  const isPlain = plainPath.test(path) && path.length <= nameBytesMax;
  const records = [
    ...(isPlain ? [] : [record('path', path)]),
    ...(size > octalMax ? [record('size', String(size))] : []),
    ...(modifiedMs % 1000 === 0 ? [] : [record('mtime', (modifiedMs / 1000).toFixed(3))]),
    ...(comment === undefined ? [] : [record('comment', comment)]),
  ];
  const seconds = Math.max(0, Math.floor(modifiedMs / 1000));
  const shown = isPlain ? path : shortened(path);
  const block = headerBlock(shown, Math.min(size, octalMax), '0', seconds);
  if (records.length === 0) return block;
  const body = encodeUtf8(records.join(''), 'pax records');
  const parts = [headerBlock('PaxHeaders/entry', body.length, 'x', seconds), padded(body), block];
  return Buffer.concat(parts);
}

/** What a tool that knows no pax would call it. */
function shortened(path: string): string {
  const plain = path.replace(/[^\x21-\x7e]/g, '_');
  return plain.length <= nameBytesMax ? plain : plain.slice(0, nameBytesMax);
}

/** `<length> <name>=<value>\n`, whose length counts its own digits. */
function record(name: string, value: string): string {
  const rest = Buffer.byteLength(` ${name}=${value}\n`);
  let length = rest + String(rest).length;
  if (rest + String(length).length > length) length++;
  return `${length} ${name}=${value}\n`;
}

function headerBlock(name: string, size: number, type: string, seconds: number): Uint8Array {
  const block = Buffer.alloc(tarBlockBytes);
  const octal = (value: number, at: number, digits: number): void => {
    block.write(value.toString(8).padStart(digits, '0'), at, 'latin1');
  };
  block.write(name, 0, 'latin1');
  octal(0o644, 100, 7);
  octal(0, 108, 7);
  octal(0, 116, 7);
  octal(size, 124, 11);
  octal(Math.min(seconds, octalMax), 136, 11);
  block.fill(' ', 148, 156);
  block.write(type, 156, 'latin1');
  block.write('ustar\x0000', 257, 'latin1');
  octal(
    block.reduce((sum, byte) => sum + byte, 0),
    148,
    6,
  );
  block[154] = 0;
  return block;
}

/** Bytes up to the next block. */
export function paddingOf(size: number): number {
  return (tarBlockBytes - (size % tarBlockBytes)) % tarBlockBytes;
}

function padded(body: Uint8Array): Uint8Array {
  return Buffer.concat([body, new Uint8Array(paddingOf(body.length))]);
}

/** A header block; undefined for one of zeros, which ends an archive. VARVE_CORRUPT. */
export function decodeBlock(block: Uint8Array, place: Place): TarBlock | undefined {
  if (block.every((byte) => byte === 0)) return undefined;
  const sum = block.reduce((total, byte, i) => total + (i >= 148 && i < 156 ? 0x20 : byte), 0);
  if (numberAt(block, 148, 8, 'checksum', place) !== sum)
    throw corrupt('header of a tar member fails its checksum', place);
  const magic = textAt(block, 257, 6, place);
  if (magic !== 'ustar' && magic !== 'ustar ') throw corrupt('tar member is not of the ustar format', place);
  const prefix = magic === 'ustar' ? textAt(block, 345, 155, place) : '';
  const base = textAt(block, 0, nameBytesMax, place);
  return {
    name: prefix === '' ? base : `${prefix}/${base}`,
    size: numberAt(block, 124, 12, 'size', place),
    type: String.fromCharCode(block[156]! === 0 ? 0x30 : block[156]!),
  };
}

function textAt(block: Uint8Array, at: number, length: number, place: Place): string {
  const field = block.subarray(at, at + length);
  const end = field.indexOf(0);
  const text = decodeUtf8(end < 0 ? field : field.subarray(0, end));
  if (text === undefined) throw corrupt('header of a tar member has a name that is no text', place);
  return text;
}

function numberAt(block: Uint8Array, at: number, length: number, what: string, place: Place): number {
  const text = Buffer.from(block.subarray(at, at + length)).toString('latin1');
  const match = /^ *([0-7]{1,12})[ \0]*$/.exec(text);
  if (match === null) throw corrupt(`header of a tar member has a ${what} that is no octal number`, place);
  return Number.parseInt(match[1]!, 8);
}

/** Records of a pax header by name; later ones count. VARVE_CORRUPT. */
export function decodeRecords(body: Uint8Array, place: Place): Map<string, string> {
  const records = new Map<string, string>();
  const fail = (): never => {
    throw corrupt('pax header has a record of the wrong shape', place);
  };
  for (let at = 0; at < body.length; ) {
    const space = body.indexOf(0x20, at);
    if (space < 0 || space - at > 8) return fail();
    const digits = Buffer.from(body.subarray(at, space)).toString('latin1');
    const end = /^[1-9]\d*$/.test(digits) ? at + Number(digits) : 0;
    if (end <= space + 1 || end > body.length || body[end - 1] !== 0x0a) return fail();
    const text = decodeUtf8(body.subarray(space + 1, end - 1));
    const cut = text?.indexOf('=') ?? -1;
    if (cut < 1) return fail();
    records.set(text!.slice(0, cut), text!.slice(cut + 1));
    at = end;
  }
  return records;
}
