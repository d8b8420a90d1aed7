/** Types of the error class: codes are a closed set, location fields are optional. */
import { expectTypeOf } from 'vitest';
import { isVarveError, VarveError, type VarveErrorCode } from '../../src/base/errors.ts';

expectTypeOf<'VARVE_CORRUPT'>().toExtend<VarveErrorCode>();
expectTypeOf<VarveErrorCode>().not.toEqualTypeOf<string>();
expectTypeOf<VarveError['offset']>().toEqualTypeOf<number | undefined>();
expectTypeOf<VarveError['cause']>().toEqualTypeOf<unknown>();

// @ts-expect-error a code that does not exist is refused
new VarveError('VARVE_UNHEARD_OF', 'message');

const caught: unknown = new VarveError('VARVE_IO', 'message', { errno: 'EIO' });
if (isVarveError(caught, 'VARVE_IO')) {
  expectTypeOf(caught).toEqualTypeOf<VarveError>();
  // @ts-expect-error fields of an error are read-only
  caught.file = 'elsewhere';
}
