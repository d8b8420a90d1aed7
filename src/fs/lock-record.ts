/**
 * The owner record in LOCK, readable with `cat`: 4096 bytes, two equal copies of 2048.
 *
 *   varve-lock 1 <xxh64 of the rest of the copy, 16 hex digits>\n
 *   {"host":…}\n
 *   spaces to 2047, \n
 *
 * A copy's text fits into its first sectors and the rest never changes; the checksum guards against torn
 * writes and bit rot, the second copy serves when the first is damaged. LOCK holds no user data: losing it
 * costs nothing but the automatic takeover from a killed writer.
 */
import { assert } from '../base/assert.ts';
import { decodeUtf8, isZero, toHex } from '../base/bytes.ts';
import { corrupt, type Place, VarveError } from '../base/errors.ts';
import { xxh64 } from '../codec/checksum.ts';
import type { LockOwner } from './lock-port.ts';

export const lockRecordBytes = 4096;
export const lockRecordVersion = 1;

const copyBytes = 2048;
const magic = 'varve-lock ';
const headBytes = `${magic}1 0123456789abcdef\n`.length;
const encoder = new TextEncoder();

/** Longest host name kept; longer ones are cut. */
const hostCharsMax = 255;
const textCharsMax = 128;

/** The record as it is written; a new buffer. */
export function encodeLockRecord(owner: LockOwner): Uint8Array {
  const fields: Record<keyof LockOwner, unknown> = {
    host: owner.host.slice(0, hostCharsMax),
    bootId: owner.bootId,
    pid: owner.pid,
    pidNamespace: owner.pidNamespace,
    processStart: owner.processStart,
    nonce: owner.nonce,
    providers: owner.providers,
    writerEpoch: owner.writerEpoch,
    takenMs: owner.takenMs,
    touchedMs: owner.touchedMs,
    touches: owner.touches,
    released: owner.released,
  };
  const text = encoder.encode(`${JSON.stringify(fields)}\n`);
  assert(headBytes + text.length < copyBytes, 'lock record fits');
  const copy = new Uint8Array(copyBytes).fill(0x20);
  copy[copyBytes - 1] = 0x0a;
  copy.set(text, headBytes);
  const sum = checksumText(copy);
  copy.set(encoder.encode(`${magic}${lockRecordVersion} ${sum}\n`));
  const out = new Uint8Array(lockRecordBytes);
  out.set(copy);
  out.set(copy, copyBytes);
  return out;
}

/**
 * The owner in `bytes` (the whole file), or null when no record was ever written. VARVE_CORRUPT when both
 * copies are damaged, VARVE_FORMAT_VERSION when they are of a newer version.
 */
export function decodeLockRecord(bytes: Uint8Array, file: string): LockOwner | null {
  if (isZero(bytes)) return null;
  const found: LockOwner[] = [];
  let problem: VarveError | undefined;
  for (const offset of [0, copyBytes]) {
    const owner = decodeCopy(bytes.subarray(offset, offset + copyBytes), { file, offset });
    if (!(owner instanceof VarveError)) found.push(owner);
    else if (problem === undefined || owner.code === 'VARVE_FORMAT_VERSION') problem = owner;
  }
  if (found.length === 0) throw problem!;
  return found.reduce((best, owner) => (owner.touches > best.touches ? owner : best));
}

function checksumText(copy: Uint8Array): string {
  const sum = xxh64(copy.subarray(headBytes));
  return sum.toString(16).padStart(16, '0');
}

function decodeCopy(copy: Uint8Array, place: Place): LockOwner | VarveError {
  if (copy.length !== copyBytes) return corrupt('lock record is cut off', place, copyBytes, copy.length);
  const head = /^varve-lock (\d{1,9}) ([0-9a-f]{16})\n$/.exec(decodeUtf8(copy.subarray(0, headBytes)) ?? '');
  if (head === null) return corrupt('not a lock record', place, magic, toHex(copy.subarray(0, 8)));
  if (head[2] !== checksumText(copy)) {
    return corrupt('lock record fails its checksum', place, head[2], checksumText(copy));
  }
  if (Number(head[1]) !== lockRecordVersion) {
    const what = `lock record version ${head[1]} needs a newer version of varve`;
    return new VarveError('VARVE_FORMAT_VERSION', `${place.file}: ${what}`, { ...place });
  }
  const text = decodeUtf8(copy.subarray(headBytes)) ?? '';
  return parseOwner(text.slice(0, text.indexOf('\n'))) ?? corrupt('lock record has unexpected fields', place);
}

function parseOwner(text: string): LockOwner | undefined {
  const fields = parseObject(text);
  if (fields === undefined) return undefined;
  const { host, bootId, pid, pidNamespace, processStart, nonce, providers } = fields;
  const { writerEpoch, takenMs, touchedMs, touches, released } = fields;
  if (!isText(host, hostCharsMax) || !isText(bootId) || !isText(pidNamespace)) return undefined;
  if (!isText(processStart) || !isText(nonce) || !isCount(pid) || !isCount(writerEpoch)) return undefined;
  if (!isCount(takenMs) || !isCount(touchedMs) || !isCount(touches)) return undefined;
  if (typeof released !== 'boolean' || !Array.isArray(providers) || providers.length > 8) return undefined;
  const names: unknown[] = providers;
  if (!names.every((name) => isText(name))) return undefined;
  return {
    host,
    bootId,
    pid,
    pidNamespace,
    processStart,
    nonce,
    providers: names,
    writerEpoch,
    takenMs,
    touchedMs,
    touches,
    released,
  };
}

function parseObject(text: string): Record<string, unknown> | undefined {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === 'object' && value !== null ? { ...value } : undefined;
  } catch (error) {
    if (error instanceof SyntaxError) return undefined;
    throw error;
  }
}

function isText(value: unknown, charsMax = textCharsMax): value is string {
  return typeof value === 'string' && value.length <= charsMax;
}

function isCount(value: unknown): value is number {
  return typeof value === 'number' && Number.isSafeInteger(value) && value >= 0;
}
