/** Keys, sizes and other values as text for people and for JSON. */
import prettyBytes from 'pretty-bytes';
import { decodeUtf8, displayText, fromHex, toHex } from '../base/bytes.ts';
import { errorCodes, isVarveError, VarveError } from '../base/errors.ts';

/** Control characters, and those that reorder or hide text: a key must not drive somebody's terminal. */
const unsafe = /[\p{Cc}\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff\\]/gu;

/** A key on one line: control characters and bytes that are not UTF-8 as \xNN, backslashes doubled. */
export function keyText(key: Uint8Array): string {
  const text = decodeUtf8(key);
  if (text !== undefined) return plainText(text);
  let out = '';
  for (const byte of key) out += byte < 0x80 ? plainText(String.fromCharCode(byte)) : hexEscape(byte);
  return out;
}

/** Any text on one line, as `keyText` shows it. */
export function plainText(text: string): string {
  return text.replace(unsafe, (char) => {
    if (char === '\\') return '\\\\';
    const code = char.charCodeAt(0);
    return code < 256 ? hexEscape(code) : `\\u${code.toString(16).padStart(4, '0')}`;
  });
}

function hexEscape(byte: number): string {
  return `\\x${byte.toString(16).padStart(2, '0')}`;
}

/** A key in JSON: `key` where it is UTF-8, else `keyHex`, with `keyText` to look at. */
export function keyFields(key: Uint8Array): { key: string } | { keyHex: string; keyText: string } {
  const text = decodeUtf8(key);
  return text === undefined ? { keyHex: toHex(key), keyText: displayText(key) } : { key: text };
}

/** The key an argument names: its UTF-8, or bytes where it is given in hex. */
export function keyArgument(text: string, hex: boolean | undefined): string | Uint8Array {
  return hex === true ? fromHex(text) : text;
}

/** Bytes for people: `1.5 MiB`. */
export function sizeText(bytes: number): string {
  return prettyBytes(bytes, { binary: true });
}

/** A whole number in groups: `12,345`. Intl says the same and is slow to load. */
export function countText(n: number): string {
  return String(n).replace(/\B(?=(?:\d{3})+$)/g, ',');
}

/** `1 file`, `2 files`. */
export function plural(n: number, one: string, many = `${one}s`): string {
  return `${countText(n)} ${n === 1 ? one : many}`;
}

/** An error in JSON output. */
export function errorFields(error: unknown): object {
  if (error instanceof VarveError) {
    const { code, message, retryable, file, offset, errno } = error;
    return { code, message, retryable, file, offset, errno };
  }
  const errno = errnoOf(error);
  return { code: errno ?? 'ERROR', message: error instanceof Error ? error.message : String(error) };
}

/** An error for people, with what to do about it where that is known. */
export function errorText(error: unknown): string {
  const message = plainText(error instanceof Error ? error.message : String(error));
  if (!isVarveError(error)) return message;
  const known = errorCodes[error.code];
  const hint = hints[error.code];
  const cause = error.cause instanceof Error ? `\n  because: ${plainText(error.cause.message)}` : '';
  return `${message} [${error.code}: ${known}]${cause}${hint === undefined ? '' : `\n  ${hint}`}`;
}

const hints: Partial<Record<VarveError['code'], string>> = {
  VARVE_LOCKED: 'see who has it with: varve doctor STORE',
  VARVE_CORRUPT: 'see what is damaged with: varve verify STORE',
  VARVE_FORMAT_VERSION: 'a newer version of varve wrote this store',
};

/** The operating system's name of an error, such as ENOENT. */
export function errnoOf(error: unknown): string | undefined {
  if (isVarveError(error)) return error.errno;
  const code = error instanceof Error && 'code' in error ? error.code : undefined;
  return typeof code === 'string' ? code : undefined;
}
