/** Keys as paths: which are safe to write below a directory. */
import { decodeUtf8 } from '../../base/bytes.ts';

const slash = 0x2f;

/** What a Windows device is called, whatever its extension. */
const deviceName = /^(con|prn|aux|nul|conin\$|conout\$|com[0-9¹²³]|lpt[0-9¹²³])\s*(\.|$)/i;
const refusedOnWindows = /[<>:"|?*\\\p{Cc}]/u;

/**
 * Why `path` (relative, '/' between names, a trailing '/' allowed) must not be written below a directory;
 * undefined when it is safe. `platform` as in process.platform.
 */
export function pathFault(path: Uint8Array, platform: string): string | undefined {
  const end = path.at(-1) === slash ? path.length - 1 : path.length;
  if (end <= 0) return path.length === 0 ? 'the path is empty' : 'the path is absolute';
  if (path[0] === slash) return 'the path is absolute';
  let from = 0;
  for (let i = 0; i <= end; i++) {
    if (i < end && path[i] === 0) return 'the path has a NUL byte';
    if (i < end && path[i] !== slash) continue;
    const fault = nameFault(path.subarray(from, i), platform);
    if (fault !== undefined) return fault;
    from = i + 1;
  }
  return undefined;
}

function nameFault(name: Uint8Array, platform: string): string | undefined {
  if (name.length === 0) return 'the path has an empty component';
  const dots = name.every((byte) => byte === 0x2e);
  if (dots && name.length === 1) return "the path has a component '.'";
  if (dots && name.length === 2) return "the path has a component '..'";
  return platform === 'win32' ? windowsFault(name) : undefined;
}

function windowsFault(name: Uint8Array): string | undefined {
  const text = decodeUtf8(name);
  if (text === undefined) return 'a name that is not UTF-8 cannot be a file on Windows';
  if (refusedOnWindows.test(text)) return 'a name has a character that Windows refuses';
  if (/[. ]$/.test(text)) return 'a name ends in a dot or space, which Windows drops';
  if (deviceName.test(text)) return 'a name is that of a Windows device';
  return undefined;
}

/**
 * Length of the directory part of `path`, its '/' included; 0 where it has none. A trailing '/' does not
 * count.
 */
export function parentLength(path: Uint8Array): number {
  let at = path.length - 1;
  if (at >= 0 && path[at] === slash) at--;
  while (at >= 0 && path[at] !== slash) at--;
  return at + 1;
}

/**
 * Order of two names of one directory as their keys are ordered: a directory's name counts with the '/'
 * behind it, so that a walk in this order meets keys in byte order.
 */
export function compareNames(
  a: Uint8Array,
  aIsDirectory: boolean,
  b: Uint8Array,
  bIsDirectory: boolean,
): number {
  const n = Math.min(a.length, b.length);
  for (let i = 0; i < n; i++) {
    const d = a[i]! - b[i]!;
    if (d !== 0) return d;
  }
  const next = (name: Uint8Array, isDirectory: boolean): number =>
    name.length > n ? name[n]! : isDirectory ? slash : -1;
  return next(a, aIsDirectory) - next(b, bIsDirectory);
}
