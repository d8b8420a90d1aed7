/** One row of the key tree: a version of a key or its deletion. */
export interface Row {
  readonly seq: number;
  readonly space: number;
  /** User key, hex. */
  readonly key: string;
  readonly isPut: boolean;
  /** A delete that carries out a range delete, under the number of that. */
  readonly isLate: boolean;
  /** The commit that purged it: a GONE row stands before it. */
  readonly goneSeq?: number;
  /** The stored record, hex. */
  readonly record: string;
}

/** Of the version of a key (hex) with this number. */
export const valueName = (seq: number, key: string): string => `${seq}/${key}`;
