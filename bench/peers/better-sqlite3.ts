/** better-sqlite3: SQLite on the calling thread. */
import { importPeer } from './install.ts';
import type { OpenSettings, PeerStore, PeerSystem } from './store.ts';

interface SqliteStatement {
  get(...values: unknown[]): unknown;
  run(...values: unknown[]): unknown;
  iterate(): Iterable<unknown>;
  pluck(): SqliteStatement;
  raw(): SqliteStatement;
}

interface SqliteDatabase {
  pragma(text: string): unknown;
  exec(text: string): unknown;
  prepare(text: string): SqliteStatement;
  transaction<A extends unknown[]>(work: (...values: A) => void): (...values: A) => void;
  close(): void;
}

interface SqliteModule {
  readonly default: new (path: string) => SqliteDatabase;
}

/** Rows of this many bytes are best kept in the key's own tree; larger ones overflow its pages. */
const clusteredBytesMax = 200;

async function load(): Promise<(settings: OpenSettings) => Promise<PeerStore>> {
  const { default: Database } = await importPeer<SqliteModule>('better-sqlite3');
  return async ({ dir, isDurable, valueBytes }) => {
    const db = new Database(`${dir}/data.sqlite`);
    db.pragma('journal_mode = WAL');
    db.pragma(`synchronous = ${isDurable ? 'FULL' : 'NORMAL'}`);
    const clustered = valueBytes <= clusteredBytesMax ? ' WITHOUT ROWID' : '';
    db.exec(`CREATE TABLE IF NOT EXISTS kv (k TEXT PRIMARY KEY, v BLOB NOT NULL)${clustered}`);
    const get = db.prepare('SELECT v FROM kv WHERE k = ?').pluck();
    const put = db.prepare('INSERT OR REPLACE INTO kv VALUES (?, ?)');
    const all = db.prepare('SELECT k, v FROM kv ORDER BY k').raw();
    const putAll = db.transaction((keys: readonly string[], values: readonly Uint8Array[]) => {
      for (let i = 0; i < keys.length; i++) put.run(keys[i], values[i]);
    });
    return {
      getSync: (key) => get.get(key) as Uint8Array | undefined,
      put: (key, value) => {
        put.run(key, value);
        return undefined;
      },
      batch: (keys, values) => {
        putAll(keys, values);
        return undefined;
      },
      scan: async (visit) => {
        for (const [key, value] of all.iterate() as Iterable<[string, Uint8Array]>) visit(key, value);
      },
      close: async () => db.close(),
    };
  };
}

/** WAL with synchronous FULL; not durable: NORMAL, which syncs at checkpoints only. */
export const betterSqlite3: PeerSystem = { load };
