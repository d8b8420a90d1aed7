/** What the tests of purging share: every version of a store, those that are gone, and who keeps others. */
import { toHex } from '../../src/base/bytes.ts';
import { queueFrom, scanQueue } from '../../src/engine/background/queue-scan.ts';
import type { Store } from '../../src/engine/store.ts';
import { seqBytes, seqOf, spaceOf } from '../../src/format/internal-key.ts';
import { rowKindAt, rowKinds } from '../../src/format/row-kinds.ts';
import { decodeQueueKey, trashPrefix } from '../../src/format/system-rows.ts';
import { recordForm, recordForms } from '../../src/format/value-record.ts';
import { OK, settle } from '../../src/tree/cursor.ts';
import { isKept } from '../../src/tree/keep-rule.ts';

/** Names of versions: row prefix (hex) and number. */
export interface Versions {
  /** Superseded, with chunks, kept by the rule of this moment. */
  readonly kept: readonly string[];
  /** Superseded, with chunks, kept by nothing. */
  readonly dead: readonly string[];
  /** Of all of those: which have a GONE row. */
  readonly gone: readonly string[];
  readonly trash: readonly string[];
}

/** Looks at every row of the key tree and of the trash. */
export async function versionsOf(store: Store): Promise<Versions> {
  const rule = store.keepRule();
  const [kept, dead, gone]: [string[], string[], string[]] = [[], [], []];
  const view = store.forest.keys.view();
  const cursor = view.cursor();
  let key = '';
  let above = 0;
  let rows = 0;
  let goneName = '';
  for (let step = await settle(cursor, () => cursor.first()); step === OK; ) {
    const { keyBytes, keyFrom, keyTo, valueBytes, valueFrom } = cursor;
    const prefix = toHex(keyBytes.subarray(keyFrom, keyTo - seqBytes));
    const seq = seqOf(keyBytes, keyTo);
    if (prefix !== key) [key, above, rows] = [prefix, 0, 0];
    const kind = rowKindAt(valueBytes, valueFrom);
    const name = `${prefix} ${seq}`;
    if (kind === rowKinds.gone) goneName = name;
    else {
      const hasChunks = kind === rowKinds.put && recordForm(valueBytes, valueFrom) !== recordForms.inline;
      const isGone = name === goneName;
      if (isGone) gone.push(name);
      if (hasChunks && rows > 0) {
        const keeps = isKept(rule, spaceOf(keyBytes, keyFrom), seq, above, rows - 1);
        if (keeps) kept.push(name);
        else dead.push(name);
      }
      above = seq;
      if (!isGone) rows++;
    }
    step = await settle(cursor, () => cursor.next());
  }
  view.release();
  const { keys } = await scanQueue(
    store.forest.system,
    trashPrefix,
    queueFrom(trashPrefix, 0),
    () => true,
    Number.MAX_SAFE_INTEGER,
  );
  const trash = keys.map((one) => {
    const { rowPrefix, seq } = decodeQueueKey(trashPrefix, one);
    return `${toHex(rowPrefix)} ${seq}`;
  });
  return { kept: kept.sort(), dead: dead.sort(), gone: gone.sort(), trash: trash.sort() };
}

/** Purges until nothing is due. */
export async function purged(store: Store): Promise<void> {
  const { purger, reaper, log } = store.parts.write!;
  for (let i = 0; i < 3; i++) {
    await log.drained();
    await reaper.work.idle();
    purger.work.startIfDue();
    await purger.work.idle();
  }
}
