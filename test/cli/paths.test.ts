import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { compareBytes, encodeUtf8 } from '../../src/base/bytes.ts';
import { keyText } from '../../src/cli/text.ts';
import { compareNames, parentLength, pathFault } from '../../src/cli/tree/paths.ts';

const fault = (path: string, platform = 'linux'): string | undefined => pathFault(encodeUtf8(path), platform);

describe('pathFault', () => {
  test('plain relative paths are safe, a directory with its slash as well', () => {
    for (const path of ['a', 'a/b', 'a/b/', '...', '.hidden', 'a\nb', 'a\\b', 'con', 'C:x', ' '])
      expect(fault(path)).toBeUndefined();
  });

  test('paths that could leave the target are refused', () => {
    for (const path of [
      '',
      '/',
      '/a',
      '//',
      '..',
      '../a',
      'a/..',
      'a/../b',
      '.',
      './a',
      'a/.',
      'a//b',
      'a//',
      'a\0b',
    ])
      expect(fault(path), path).toBeDefined();
  });

  test('Windows refuses drives, backslashes, streams, devices and names it would change', () => {
    const bad = [
      'C:x',
      'a\\b',
      '..\\a',
      'a:b',
      'con',
      'CON.txt',
      'x/nul',
      'com1.log',
      'lpt¹',
      'a.',
      'a ',
      'a?',
      'a\nb',
    ];
    for (const path of bad) expect(fault(path, 'win32'), path).toBeDefined();
    for (const path of ['a', 'console', 'com', 'com10', 'a.b/c'])
      expect(fault(path, 'win32'), path).toBeUndefined();
    expect(pathFault(Uint8Array.of(0xff), 'win32')).toBeDefined();
    expect(pathFault(Uint8Array.of(0xff), 'linux')).toBeUndefined();
  });

  test('no accepted path resolves to a place outside, whatever its bytes', () => {
    const piece = fc.constantFrom('.', '..', '/', 'a', '\0', '//', 'b.c', '');
    fc.assert(
      fc.property(fc.array(piece, { maxLength: 8 }), (pieces) => {
        const path = pieces.join('');
        if (fault(path) !== undefined) return;
        const resolved = new URL(encodeURI(path), 'file:///base/target/');
        expect(resolved.pathname.startsWith('/base/target/')).toBe(true);
      }),
    );
  });
});

describe('order of names', () => {
  test('names sort as their keys do, a directory with the slash behind it', () => {
    const name = fc
      .uint8Array({ minLength: 1, maxLength: 4 })
      .map((bytes) => bytes.map((b) => [0x2d, 0x2e, 0x30, 0x61, 0xff][b % 5]!));
    fc.assert(
      fc.property(name, fc.boolean(), name, fc.boolean(), (a, aDir, b, bDir) => {
        const key = (bytes: Uint8Array, dir: boolean): Uint8Array =>
          dir ? Uint8Array.from([...bytes, 0x2f]) : bytes;
        const expected = Math.sign(compareBytes(key(a, aDir), key(b, bDir)));
        expect(Math.sign(compareNames(a, aDir, b, bDir))).toBe(expected);
      }),
    );
  });

  test('parentLength cuts behind the last slash before the name', () => {
    const parent = (path: string): string => path.slice(0, parentLength(encodeUtf8(path)));
    expect(['a', 'a/', 'a/b', 'a/b/', 'a/b/c'].map(parent)).toEqual(['', '', 'a/', 'a/', 'a/b/']);
  });
});

describe('keys as text', () => {
  test('control characters, direction marks and bytes that are not UTF-8 are escaped', () => {
    expect(keyText(encodeUtf8('a\u001b[31m\u202eb\\'))).toBe('a\\x1b[31m\\u202eb\\\\');
    expect(keyText(Uint8Array.of(0x61, 0xff, 0x0a))).toBe('a\\xff\\x0a');
    expect(keyText(encodeUtf8('naïve 日本'))).toBe('naïve 日本');
  });
});
