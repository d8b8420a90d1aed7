import { expect, test } from 'vitest';
import { deletesOfBrief, rowsProblem } from './kept-rows.ts';
import { type Row, valueName } from './row.ts';

const put = (seq: number, key: string): Row => ({
  seq,
  space: 0,
  key,
  isPut: true,
  isLate: false,
  record: `${seq}`,
});
const gone = (seq: number, key: string): Row => ({ ...put(seq, key), isPut: false });

test('deletes that an open writes of what has expired are told from rows nobody committed', () => {
  const committed = {
    rows: [put(1, 'aa'), put(2, 'bb'), put(3, 'cc'), put(4, 'cc')],
    ranges: [],
    spaceRows: [],
  };
  const brief = new Set([valueName(2, 'bb'), valueName(3, 'cc')]);
  const found = [...committed.rows, gone(6, 'aa'), gone(6, 'bb'), gone(6, 'cc'), put(7, 'bb')];
  const expired = deletesOfBrief(found, committed, 4, brief);
  expect(expired).toEqual([gone(6, 'bb')]);
  const rows = [...committed.rows, ...expired];
  // The version that had expired may have gone in a merge.
  const sound = rows.filter(({ seq }) => seq !== 2);
  expect(rowsProblem(sound, { ...committed, rows }, { merges: true })).toBeUndefined();
  expect(rowsProblem(sound, committed, { merges: true })).toBeDefined();
});
