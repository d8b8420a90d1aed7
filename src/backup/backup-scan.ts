/**
 * One pass over the rows of a store: every chunk that the vault lacks is uploaded, then the row goes into the
 * key tree. A row whose chunks cannot be read whole stays out and is listed.
 *
 * Invariants (test/backup/backup.test.ts)
 * - A row is in the tree only when every chunk of it is in the vault or in a pack of this run ("a store with
 *   damage backs up what is whole and lists what is not").
 */
import type { Seq } from '../base/brands.ts';
import { isDamage, isVarveError, type VarveError } from '../base/errors.ts';
import { ByteWriter } from '../codec/byte-writer.ts';
import { writeCanonicalRecord } from '../format/canonical-record.ts';
import { chunkKinds } from '../format/chunk-ref.ts';
import { rowPrefixBytesMax, seqBytes, seqOf } from '../format/internal-key.ts';
import { keyTreeTags } from '../format/key-tree-node.ts';
import { parseValueRecord, recordForms, type ValueRecord } from '../format/value-record.ts';
import { MISS, OK } from '../tree/cursor.ts';
import type { BackupSource } from './backup-source.ts';
import { type KeyTree, KeyTreeBuilder } from './key-tree-builder.ts';
import type { TreeRoot } from './key-tree-walk.ts';
import type { LoggedChanges } from './logged-changes.ts';
import type { Slices } from './throttle.ts';
import { updateTree } from './tree-update.ts';
import type { Upload } from './upload.ts';
import { ValueUpload } from './value-upload.ts';
import type { VaultIndex } from './vault-index.ts';
import type { VaultReader } from './vault-reader.ts';

/** A key that was left out. */
export interface LeftOut {
  /** Row prefix. */
  readonly prefix: Uint8Array;
  readonly error: VarveError;
}

export interface ScanUpdate {
  readonly base: TreeRoot;
  readonly changes: LoggedChanges;
  readonly reader: VaultReader;
}

export interface ScanOptions {
  /** Rows up to this number are in an earlier backup, which has their chunks; 0 = none are known to be. */
  readonly knownSeq: Seq;
  /** The tree of that backup and what was changed since: then only that is read. */
  readonly update: ScanUpdate | undefined;
  readonly dryRun: boolean;
  readonly slices: Slices;
  readonly onKey: () => void;
  readonly onLeftOut: (key: LeftOut) => void;
}

export class BackupScan {
  readonly #source: BackupSource;
  readonly #options: ScanOptions;
  readonly #values: ValueUpload;
  readonly #builder: KeyTreeBuilder;
  readonly #record = new ByteWriter(1024);
  readonly #key: Uint8Array = new Uint8Array(1 + rowPrefixBytesMax);

  constructor(source: BackupSource, index: VaultIndex, upload: Upload, options: ScanOptions) {
    this.#source = source;
    this.#options = options;
    this.#values = new ValueUpload(source, index, upload, options.dryRun);
    this.#builder = new KeyTreeBuilder(async (id, node) => {
      if (!(await index.has(id))) await upload.addChunk(id, node, chunkKinds.meta);
    });
  }

  /** Runs the pass and gives the tree. Packs may still be open: `upload.finish` ends them. */
  async run(): Promise<KeyTree> {
    for (const { prefix, seq, value } of this.#source.system) {
      this.#key[0] = keyTreeTags.system;
      this.#key.set(prefix, 1);
      const added = this.#builder.add(this.#key, 0, 1 + prefix.length, seq, value, 0, value.length, 0);
      if (added !== undefined) await added;
    }
    const { update } = this.#options;
    if (update === undefined) await this.#rows();
    else await this.#update(update);
    return await this.#builder.finish();
  }

  async #update({ base, changes, reader }: ScanUpdate): Promise<void> {
    await updateTree(base, changes, this.#builder, {
      read: (id) => reader.readAlone(id),
      step: () => this.#options.slices.step(),
      put: async (prefix, seq, bytes) => {
        const record = parseValueRecord(bytes, 0, bytes.length, { file: 'log' });
        this.#key[0] = keyTreeTags.keys;
        this.#key.set(prefix, 1);
        this.#options.onKey();
        this.#record.clear();
        this.#record.raw(bytes);
        if (record.form === recordForms.inline) await this.#add(prefix.length, seq, record.size);
        else await this.#addLater(prefix.length, seq, record);
      },
    });
  }

  async #rows(): Promise<void> {
    const rows = this.#source.rows();
    try {
      for (;;) {
        const step = rows.step();
        if (step === MISS) {
          await rows.load();
          continue;
        }
        if (step !== OK) break;
        const taken = this.#take(rows.cursor);
        if (taken !== undefined) await taken;
        const rest = this.#options.slices.step();
        if (rest !== undefined) await rest;
      }
    } finally {
      rows.close();
    }
  }

  /** The row the cursor stands on. */
  #take(cursor: { keyBytes: Uint8Array; keyFrom: number; keyTo: number } & ValueHere): void | Promise<void> {
    const { keyBytes, keyFrom, keyTo, valueBytes, valueFrom, valueTo } = cursor;
    const seq = seqOf(keyBytes, keyTo);
    const length = keyTo - seqBytes - keyFrom;
    this.#key[0] = keyTreeTags.keys;
    this.#key.set(keyBytes.subarray(keyFrom, keyTo - seqBytes), 1);
    const record = parseValueRecord(valueBytes, valueFrom, valueTo, { file: 'key tree' });
    this.#options.onKey();
    this.#record.clear();
    writeCanonicalRecord(this.#record, record, valueFrom, valueTo);
    if (record.form === recordForms.inline || seq <= this.#options.knownSeq)
      return this.#add(length, seq, record.size);
    return this.#addLater(length, seq, record);
  }

  #add(keyLength: number, seq: Seq, size: number): void | Promise<void> {
    const { bytes, pos } = this.#record;
    return this.#builder.add(this.#key, 0, 1 + keyLength, seq, bytes, 0, pos, size);
  }

  async #addLater(keyLength: number, seq: Seq, record: ValueRecord): Promise<void> {
    try {
      await this.#values.ensure(record);
    } catch (error) {
      if (!isDamage(error) && !isVarveError(error, 'VARVE_FORMAT_VERSION')) throw error;
      this.#options.onLeftOut({ prefix: this.#key.slice(1, 1 + keyLength), error });
      return;
    }
    await this.#add(keyLength, seq, record.size);
  }
}

interface ValueHere {
  valueBytes: Uint8Array;
  valueFrom: number;
  valueTo: number;
}
