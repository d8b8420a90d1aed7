/** Every system the comparison knows, by the name `--systems` takes. */
import { betterSqlite3 } from './better-sqlite3.ts';
import { classicLevel } from './classic-level.ts';
import { lmdb } from './lmdb.ts';
import type { PeerSystem } from './store.ts';
import { varve } from './varve.ts';

/** In the order of the table's columns. */
export const systems: Readonly<Record<string, PeerSystem>> = {
  varve,
  lmdb,
  'classic-level': classicLevel,
  'better-sqlite3': betterSqlite3,
};
