/** Rows of the system tree as a reader of the newest visible state sees them. */
import { compareBytes, compareRange, prefixEnd } from '../../base/bytes.ts';
import { decodeSysKey, encodeSysPrefix, rowPrefixEnd, seqOf } from '../../format/internal-key.ts';
import { rowKindAt, rowKinds } from '../../format/row-kinds.ts';
import { OK, settle } from '../../tree/cursor.ts';
import type { Store } from '../store.ts';

/** A row of the system tree; both are copies. */
export interface SystemRowFound {
  readonly key: Uint8Array;
  readonly value: Uint8Array;
}

/**
 * Rows whose system keys begin with `prefix`, in order. For kinds with few rows: all are held. VARVE_CORRUPT
 * where some cannot be read.
 */
export async function systemRowsUnder(store: Store, prefix: Uint8Array): Promise<SystemRowFound[]> {
  const { system } = store.forest;
  const whole = encodeSysPrefix(prefix);
  const front = whole.subarray(0, whole.length - 2);
  const end = prefixEnd(front)!;
  system.lost.refuseRange(front, end);
  const { visibleSeq } = store;
  const found: SystemRowFound[] = [];
  const view = store.openView(system);
  try {
    const cursor = view.cursor();
    let decided: Uint8Array | undefined;
    let step = await settle(cursor, () => cursor.seek(front));
    while (step === OK) {
      const { keyBytes, keyFrom, keyTo, valueBytes, valueFrom, valueTo } = cursor;
      const rowTo = rowPrefixEnd(keyBytes, keyFrom, keyTo);
      const isDecided =
        decided !== undefined && compareRange(keyBytes, keyFrom, rowTo, decided, 0, decided.length) === 0;
      if (!isDecided && seqOf(keyBytes, keyTo) <= visibleSeq) {
        decided = keyBytes.slice(keyFrom, rowTo);
        if (compareBytes(decided, end) >= 0) break;
        if (rowKindAt(valueBytes, valueFrom) === rowKinds.put) {
          const { sysKey } = decodeSysKey(keyBytes, keyFrom, keyTo, { file: 'system tree' });
          found.push({ key: sysKey.slice(), value: valueBytes.slice(valueFrom + 1, valueTo) });
        }
      }
      step = await settle(cursor, () => cursor.next());
    }
  } finally {
    store.closeView(view);
  }
  return found;
}
