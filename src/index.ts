/** Varve: an embedded database engine with content-defined chunking. */

export { checkBlobStore } from './backup/blob-check.ts';
export { checkBlobName, checkBlobPrefix } from './backup/blob-store.ts';
export { errorCodes, isVarveError, VarveError } from './base/errors.ts';
export { openBackup } from './engine/backups/backup-view.ts';
export { follow, openEngine, openVault, restore, runSchedule, tune } from './engine/open-node.ts';
export { repair } from './engine/repair-node.ts';
export type * from './public-types.ts';
