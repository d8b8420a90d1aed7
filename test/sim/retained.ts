/** What merges may leave out: rows that nobody can ask for any more. */
import type { Row } from './store-audit.ts';

/**
 * Throws unless every row that is gone was of no use: the newest put of a key is there, a version whose value
 * lies in chunks is, and a removal only goes when nothing of its key is left under it or a newer row of the
 * key is there. `rows` are all there ever were, oldest first. What reads under way saw, their observations
 * tell.
 */
export function checkRetained(rows: readonly Row[], present: ReadonlySet<Row>): void {
  if (rows.length === present.size) return;
  /** Keys with a newer row that is there; keys whose newer removal is gone. */
  const covered = new Set<string>();
  const hidden = new Set<string>();
  for (let i = rows.length - 1; i >= 0; i--) {
    const row = rows[i]!;
    const name = `${row.space} ${row.key}`;
    const what = `row ${row.seq}:${row.key}`;
    if (present.has(row)) {
      if (hidden.has(name)) throw new Error(`${what} is there, and its removal is gone`);
      covered.add(name);
    } else if (row.hasChunks) throw new Error(`${what} holds chunks and is gone`);
    else if (!covered.has(name)) {
      if (row.isPut && !hidden.has(name)) throw new Error(`${what} is the newest of its key and is gone`);
      hidden.add(name);
    }
  }
}
