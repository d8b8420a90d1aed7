import { expect, test } from 'vitest';
import { isDamage, isPassing } from '../../src/base/errors.ts';
import { hasErrno } from '../../src/fs/dirs.ts';
import { errnoOf, fsError } from '../../src/fs/fs-errors.ts';

test('a full disk, a quota and a file size limit are VARVE_NO_SPACE, all else is VARVE_IO', () => {
  for (const errno of ['ENOSPC', 'EDQUOT', 'EFBIG']) {
    expect(fsError(errno, 'write failed', 'a')).toMatchObject({ code: 'VARVE_NO_SPACE', errno, file: 'a' });
  }
  for (const errno of ['EIO', 'EROFS', 'EMFILE', 'EACCES', 'ENOENT']) {
    expect(fsError(errno, 'write failed', 'a')).toMatchObject({ code: 'VARVE_IO', errno, file: 'a' });
  }
  expect(fsError(undefined, 'write failed', '')).toMatchObject({
    code: 'VARVE_IO',
    message: '.: write failed',
  });
  expect(hasErrno(fsError('EIO', 'x', 'a'), 'EIO')).toBe(true);
  expect(hasErrno(new Error('EIO'), 'EIO')).toBe(false);
});

test('a read that the disk refuses is damage, a write that it refuses is not', () => {
  for (const what of ['open failed', 'read failed', 'fstat failed', 'list failed']) {
    const error = fsError('EIO', what, 'a');
    expect([what, isDamage(error), isPassing(error)]).toEqual([what, true, false]);
  }
  for (const what of ['write failed after 3 of 9 bytes', 'dataSync failed', 'sync failed', 'rename failed']) {
    const error = fsError('EIO', what, 'a');
    expect([what, isDamage(error), isPassing(error)]).toEqual([what, false, true]);
    expect(error.operation).toBe(what.split(' ', 1)[0]);
  }
  expect(isPassing(fsError('EMFILE', 'open failed', 'a'))).toBe(true);
  expect(isDamage(fsError('ENOENT', 'open failed', 'a'))).toBe(false);
  expect(fsError('ENOENT', 'no such file', 'a').operation).toBeUndefined();
});

test('only names of the operating system count as errno', () => {
  expect(errnoOf(Object.assign(new Error('x'), { code: 'ENOSPC' }))).toBe('ENOSPC');
  expect(errnoOf(Object.assign(new Error('x'), { code: 'E2BIG' }))).toBe('E2BIG');
  expect(errnoOf(Object.assign(new Error('x'), { code: 'ERR_OUT_OF_RANGE' }))).toBeUndefined();
  expect(errnoOf(Object.assign(new Error('x'), { code: 5 }))).toBeUndefined();
  expect(errnoOf('ENOSPC')).toBeUndefined();
});
