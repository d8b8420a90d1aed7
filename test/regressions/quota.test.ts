import os from 'node:os';
import { expect, test } from 'vitest';
import { errnoOf, fsError } from '../../src/fs/fs-errors.ts';

test('a disk quota that is used up is told as no space, though Node has no name for it', () => {
  const errno = -os.constants.errno.EDQUOT;
  const code = `Unknown system error ${errno}`;
  const error = Object.assign(new Error(`${code}: ${code}, write`), { errno, code, syscall: 'write' });
  expect(errnoOf(error)).toBe('EDQUOT');
  expect(fsError(errnoOf(error), 'write failed', 'LOCK', error).code).toBe('VARVE_NO_SPACE');
});
