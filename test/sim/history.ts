/** What is known of a store's commits: the part of the oracle that reads are held against. */

/** One row of the store's history. */
export interface Version {
  readonly seq: number;
  readonly space: string;
  readonly key: string;
  /** The call that put it, or minus what a counter put; undefined for a removal. */
  readonly id: number | undefined;
  /** From then on the key is absent, ms since 1970. */
  readonly expires?: number | undefined;
}

export interface History {
  /** Every version, of keys in any order. */
  readonly versions: readonly Version[];
  /** The newest version of a key at or below `view`; undefined where it is absent. */
  at(space: string, key: string, view: number): Version | undefined;
  /** Live versions of a space at `view`, by key in byte order. */
  stateAt(space: string, view: number): Version[];
  /** Length of the value a call put under a key. */
  lengthOf(version: Version): number;
  /** The bytes of a version's value. */
  bytesOf(version: Version): Uint8Array;
  /** Throws where `bytes` are others. */
  checkBytes(version: Version, bytes: Uint8Array, what: string): void;
}
