/** Time zones, by the runtime's tables. */
import { invalid } from '../base/errors.ts';

/** VARVE_INVALID_ARGUMENT unless the runtime knows the IANA name. */
export function checkTimeZone(timeZone: string): void {
  try {
    if (typeof timeZone !== 'string' || timeZone === '') throw new RangeError('no name');
    new Intl.DateTimeFormat('en-US', { timeZone });
  } catch (error) {
    if (error instanceof RangeError) throw invalid(`${timeZone} is no time zone`);
    throw error;
  }
}
