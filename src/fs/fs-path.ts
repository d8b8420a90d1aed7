/** Paths of the port: relative to the store directory, '/' between names, no '.', no '..'; '' is the root. */
import { assert } from '../base/assert.ts';

/** Names of the paths seen lately: the same few come again and again. */
const checked = new Map<string, readonly string[]>();
const checkedMax = 1024;

/**
 * Names of a path, outermost first. Paths are made by the engine, never from keys, so a bad one is our
 * mistake.
 */
export function pathNames(path: string): readonly string[] {
  const known = checked.get(path);
  if (known !== undefined) return known;
  const names = namesOf(path);
  if (checked.size === checkedMax) checked.clear();
  checked.set(path, names);
  return names;
}

function namesOf(path: string): readonly string[] {
  if (path === '') return [];
  const names = path.split('/');
  for (const name of names) {
    const plain = name !== '' && name !== '.' && name !== '..' && !/[\\:\0]/.test(name);
    assert(plain, 'path is relative, with plain names');
  }
  return names;
}

/** The directory a path lies in; '' for a name in the root. */
export function parentPath(path: string): string {
  const cut = path.lastIndexOf('/');
  return cut < 0 ? '' : path.slice(0, cut);
}

/** The last name of a path. */
export function baseName(path: string): string {
  return path.slice(path.lastIndexOf('/') + 1);
}
