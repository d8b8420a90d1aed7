/** What a check finds wrong, in the order it is found, bounded in number. */
import { isVarveError, VarveError } from '../base/errors.ts';

/** What was found damaged. Never renamed: programs match on it. */
export type FindingKind =
  /** A slot of SUPER. */
  | 'superblock'
  | 'catalog'
  | 'log'
  /** Rows of a table, or its index. */
  | 'table'
  /** Of a table, and costs no row: a filter, bytes behind the end. */
  | 'filter'
  /** Header, trailer or footer of a segment; frames are read without them. */
  | 'segment'
  /** Bytes of chunks, or a chunk that is nowhere. */
  | 'chunk'
  /** A count of references that a recount does not give. */
  | 'references'
  /** A value whose parts do not add up. */
  | 'value'
  /** A file that should be there. */
  | 'missing';

/** One damaged place and what it affects. */
export interface Finding {
  /** Relative to the store directory. */
  readonly file: string;
  readonly offset?: number;
  readonly length?: number;
  readonly kind: FindingKind;
  readonly message: string;
  /**
   * Keys whose newest version needs what is damaged: at most `affectedKeysMax`. Text of the key where it is
   * UTF-8, else `hex:` and its bytes; a key of a named space has the space's name and a line feed before it.
   */
  keys?: string[];
  /** Keys beyond those listed. */
  moreKeys?: number;
  /** Older versions that need it, of whatever key. */
  olderVersions?: number;
  /** Named snapshots in which a key needs it. */
  snapshots?: string[];
  /** Rows of these keys may be lost: the first key and the last, written as in `keys`. */
  readonly keyRange?: { readonly from: string; readonly to: string };
  /** Sequence numbers that are lost. */
  readonly sequences?: { readonly from: number; readonly to?: number };
}

/** Fields of a finding beside the place and the message. */
export type FindingFields = Omit<Finding, 'file' | 'offset' | 'kind' | 'message'>;

/** Findings listed; further ones are counted. */
export const findingsMax = 1000;
/** Ids of damaged chunks that are attributed to keys, over all findings. */
export const damagedIdsMax = 65_536;

/** Collects findings; each place once. */
export class Findings {
  readonly list: Finding[] = [];
  /** Findings beyond the bound. */
  more = 0;
  /** How often a damaged place was told of, known ones included. */
  told = 0;
  /** Damaged chunks by id (hex), and the findings they belong to. */
  readonly ids = new Map<string, Finding[]>();
  /** Ids beyond the bound: not attributed. */
  moreIds = 0;
  readonly #seen = new Set<string>();
  readonly #errors = new Map<Finding, VarveError>();
  readonly #note: (error: VarveError) => void;

  /** `note` is told of each finding as an error, for health(). */
  constructor(note: (error: VarveError) => void) {
    this.#note = note;
  }

  get isEmpty(): boolean {
    return this.list.length === 0;
  }

  /** A damaged place from the error that told of it; undefined when it is known or beyond the bound. */
  add(kind: FindingKind, error: VarveError, fields: FindingFields = {}): Finding | undefined {
    this.told++;
    const name = `${kind}\n${error.file ?? ''}\n${error.offset ?? ''}\n${error.message}`;
    if (this.#seen.has(name)) return undefined;
    if (this.list.length >= findingsMax) {
      this.more++;
      return undefined;
    }
    this.#seen.add(name);
    const finding: Finding = {
      file: error.file ?? '',
      ...(error.offset === undefined ? {} : { offset: error.offset }),
      kind: isGone(error) ? 'missing' : kind,
      message: error.message,
      ...fields,
    };
    this.list.push(finding);
    this.#errors.set(finding, error);
    this.#note(isVarveError(error, 'VARVE_CORRUPT') ? error : asDamage(error));
    return finding;
  }

  /** Takes over what another list has. */
  adopt(other: Findings): void {
    for (const [finding, error] of other.#errors) {
      const { file: _file, offset: _offset, kind, message: _message, ...fields } = finding;
      this.add(kind, error, fields);
    }
    this.more += other.more;
  }

  /** The chunk with this id (hex) is damaged by what `finding` tells. */
  blame(finding: Finding | undefined, id: string): void {
    if (finding === undefined) return;
    const known = this.ids.get(id);
    if (known !== undefined) {
      if (!known.includes(finding)) known.push(finding);
    } else if (this.ids.size < damagedIdsMax) this.ids.set(id, [finding]);
    else this.moreIds++;
  }
}

/** The file an error is about is not there. */
export function isGone(error: unknown): boolean {
  return isVarveError(error) && (error.errno === 'ENOENT' || isGone(error.cause));
}

/** Health lists damage; a file that is gone or cannot be read is damage of the store. */
function asDamage(error: VarveError): VarveError {
  return new VarveError('VARVE_CORRUPT', error.message, {
    cause: error,
    ...(error.file === undefined ? {} : { file: error.file }),
    ...(error.offset === undefined ? {} : { offset: error.offset }),
  });
}
