/** Exit codes of the command line: one per outcome, never changed. */
import { isVarveError, VarveError } from '../base/errors.ts';

/** What the process ends with. 130 and 143 follow the shells' rule for signals. */
export const exitCodes = {
  done: 0,
  failed: 1,
  usage: 2,
  notFound: 3,
  corrupt: 4,
  locked: 5,
  interrupted: 130,
  terminated: 143,
} as const;

/** Exit code for an error a command ended with. */
export function exitCodeOf(error: unknown): number {
  if (!(error instanceof VarveError)) return exitCodes.failed;
  switch (error.code) {
    case 'VARVE_NOT_FOUND':
      return exitCodes.notFound;
    case 'VARVE_CORRUPT':
      return exitCodes.corrupt;
    case 'VARVE_LOCKED':
      return exitCodes.locked;
    case 'VARVE_INVALID_ARGUMENT':
      return exitCodes.usage;
    case 'VARVE_READ_ONLY':
      return isVarveError(error.cause, 'VARVE_CORRUPT') ? exitCodes.corrupt : exitCodes.failed;
    default:
      return exitCodes.failed;
  }
}
