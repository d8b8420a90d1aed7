/** A log file, frame by frame, with the ops in each. */
import type { FileNo } from '../../base/brands.ts';
import { toHex } from '../../base/bytes.ts';
import { chunkIdBytes, chunkKinds, codecs } from '../../format/chunk-ref.ts';
import { fileHeader } from '../../format/file-header.ts';
import { decodeInternalKey, encodeInternalKey } from '../../format/internal-key.ts';
import { frameHeaderBytes, frameTypes } from '../../format/log-frame.ts';
import { type OpVisitor, visitOps, visitStage } from '../../format/log-ops.ts';
import { trees } from '../../format/trees.ts';
import type { FsPort } from '../../fs/port.ts';
import { type FrameItem, scanLog } from '../../log/log-reader.ts';
import { keyText } from '../text.ts';
import {
  type Detail,
  damageRecord,
  damageText,
  type Emit,
  type FileRecord,
  layoutRecord,
  readUpTo,
} from './file-record.ts';
import { nameOf, someHex, treeName, valueFields } from './rows.ts';

/** Ops turned into records at a time: a frame may hold a million. */
const opsPerPass = 4096;

/** Emits the header, every frame and every gap; with 'structures' ops are counted, with 'records' listed. */
export async function logRecords(
  fs: FsPort,
  path: string,
  no: FileNo,
  detail: Detail,
  emit: Emit,
): Promise<void> {
  const file = await fs.open(path, 'read');
  let size: number;
  try {
    size = await file.size();
    await emit(layoutRecord(fileHeader, await readUpTo(file, 0, fileHeader.size), 0, 0));
  } finally {
    await file.close();
  }
  try {
    for await (const item of scanLog(fs, path, { no })) {
      if (item.kind === 'header') await emit(damageRecord('file header', 0, item.error));
      else if (item.kind === 'gap') await emit(gapRecord(item.from, item.to, item.reason, size));
      else await emitFrame(item, path, detail, emit);
    }
  } catch (error) {
    await emit(damageRecord('log', 0, error));
  }
}

function gapRecord(from: number, to: number, reason: string, size: number): FileRecord {
  const record = { offset: from, what: 'no frame', fields: { bytes: to - from, reason } };
  return to === size
    ? { ...record, note: 'after the last frame: the end of what a killed writer wrote' }
    : { ...record, error: `bytes between two frames are no frame: ${reason}` };
}

async function emitFrame(item: FrameItem, path: string, detail: Detail, emit: Emit): Promise<void> {
  const { fileNo: _no, path: _path, offset, type, commitTimeMs, ...rest } = item.frame;
  const fields: Record<string, unknown> = {
    type: nameOf(frameTypes, type),
    ...rest,
    time: new Date(commitTimeMs).toISOString(),
    ...item.open,
  };
  const ops = new Ops(item, { file: path, offset: offset + frameHeaderBytes });
  const error = ops.count();
  if (ops.total > 0) Object.assign(fields, ops.counts);
  const fault = item.paddingDamaged ? 'padding of the frame is not zero' : error;
  await emit({ offset, what: 'log frame', fields, ...(fault === undefined ? {} : { error: fault }) });
  if (detail !== 'records') return;
  for (let from = 0; from < ops.total; from += opsPerPass)
    for (const record of ops.list(from, from + opsPerPass)) await emit(record);
}

/** The ops of one frame, read as often as needed instead of kept. */
class Ops implements OpVisitor {
  readonly #item: FrameItem;
  readonly #place: { file: string; offset: number };
  readonly counts: Record<string, number> = {};
  total = 0;
  #at = 0;
  #from = 0;
  #to = 0;
  #listed: FileRecord[] | undefined;

  constructor(item: FrameItem, place: { file: string; offset: number }) {
    this.#item = item;
    this.#place = place;
  }

  /** Counts the ops by kind; the text of what is wrong with them, or undefined. */
  count(): string | undefined {
    try {
      this.#visit();
      return undefined;
    } catch (error) {
      return damageText(error);
    } finally {
      this.total = this.#at;
    }
  }

  /** Records of the ops with indexes from `from` up to `to`. */
  list(from: number, to: number): FileRecord[] {
    const listed: FileRecord[] = [];
    this.#listed = listed;
    this.#from = from;
    this.#to = to;
    try {
      this.#visit();
    } catch (error) {
      // Said of the frame already; the ops before the damage are listed.
      damageText(error);
    }
    return listed;
  }

  #visit(): void {
    const { frame, payload } = this.#item;
    this.#at = 0;
    if (frame.type === frameTypes.batch)
      visitOps(payload, 0, payload.length, frame.seqFirst, frame.count, this, this.#place);
    if (frame.type === frameTypes.stage)
      visitStage(payload, 0, payload.length, frame.seqFirst, this, this.#place);
  }

  #op(what: string, at: number, fields: () => Record<string, unknown>): void {
    const index = this.#at++;
    if (this.#listed === undefined) this.counts[what] = (this.counts[what] ?? 0) + 1;
    else if (index >= this.#from && index < this.#to)
      this.#listed.push({ offset: this.#place.offset + at, what, fields: fields() });
  }

  put: OpVisitor['put'] = (tree, seq, buf, keyFrom, keyTo, valueFrom, valueTo) => {
    this.#op('put', keyFrom, () => ({
      tree: treeName(tree),
      seq,
      key: rowKeyText(tree, buf.subarray(keyFrom, keyTo)),
      ...(tree === trees.K ? this.#value(buf.slice(valueFrom, valueTo), valueFrom) : {}),
      valueBytes: valueTo - valueFrom,
    }));
  };

  del: OpVisitor['del'] = (tree, seq, buf, keyFrom, keyTo, coveringSeq) => {
    this.#op('delete', keyFrom, () => ({
      tree: treeName(tree),
      seq,
      key: rowKeyText(tree, buf.subarray(keyFrom, keyTo)),
      coveringSeq,
    }));
  };

  chunk: OpVisitor['chunk'] = (seq, buf, idAt, segment, off8, storedLen, rawLen, kind, codec) => {
    this.#op('chunk', idAt, () => ({
      seq,
      id: toHex(buf.subarray(idAt, idAt + chunkIdBytes)),
      segment,
      at: off8 * 8,
      storedLen,
      rawLen,
      kind: nameOf(chunkKinds, kind),
      codec: nameOf(codecs, codec),
    }));
  };

  move: OpVisitor['move'] = (seq, buf, idAt, segment, off8, storedLen) => {
    this.#op('move', idAt, () => ({
      seq,
      id: toHex(buf.subarray(idAt, idAt + chunkIdBytes)),
      segment,
      at: off8 * 8,
      storedLen,
    }));
  };

  purge: OpVisitor['purge'] = (seq, buf, keyFrom, keyTo, seq1, _idsFrom, count) => {
    this.#op('purge', keyFrom, () => ({
      seq,
      key: rowKeyText(trees.K, buf.subarray(keyFrom, keyTo)),
      seq1,
      references: count,
    }));
  };

  listDrop: OpVisitor['listDrop'] = (seq, buf, idAt, _childrenFrom, count) => {
    this.#op('listDrop', idAt, () => ({
      seq,
      id: toHex(buf.subarray(idAt, idAt + chunkIdBytes)),
      children: count,
    }));
  };

  trash: OpVisitor['trash'] = (seq2, buf, keyFrom, keyTo, seq1) => {
    this.#op('trash', keyFrom, () => ({
      seq2,
      key: rowKeyText(trees.K, buf.subarray(keyFrom, keyTo)),
      seq1,
    }));
  };

  sys: OpVisitor['sys'] = (seq, buf, keyFrom, keyTo, valueFrom, valueTo) => {
    this.#op('sys', keyFrom, () => ({
      seq,
      key: keyText(buf.subarray(keyFrom, keyTo)),
      value: valueFrom < 0 ? null : someHex(buf.subarray(valueFrom, valueTo)),
    }));
  };

  #value(value: Uint8Array, at: number): Record<string, unknown> {
    try {
      return valueFields(value, { file: this.#place.file, offset: this.#place.offset + at });
    } catch (error) {
      return { value: damageText(error) };
    }
  }
}

/** A row prefix as space and key; hex where it does not have that shape. */
function rowKeyText(tree: number, prefix: Uint8Array): string {
  if (tree !== trees.K) return someHex(prefix);
  try {
    const whole = encodeInternalKey(prefix, 0);
    const { space, userKey } = decodeInternalKey(whole, 0, whole.length);
    return `${space}:${keyText(userKey)}`;
  } catch (error) {
    damageText(error);
    return someHex(prefix);
  }
}
