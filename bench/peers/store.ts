/** What the comparison asks of a store, so that one set of workloads measures all of them. */

/** How a store is opened. */
export interface OpenSettings {
  readonly dir: string;
  /** True: acknowledged = on disk. False: acknowledged = handed to the kernel. */
  readonly isDurable: boolean;
  /** Bytes of each value, for the one system whose schema should depend on it. */
  readonly valueBytes: number;
}

/** An open store with string keys and binary values. A put that is done when it returns gives undefined. */
export interface PeerStore {
  /** The caller keeps the bytes. */
  getSync(key: string): Uint8Array | undefined;
  /** Absent where the system has no read that returns a promise. */
  get?(key: string): Promise<Uint8Array | undefined>;
  put(key: string, value: Uint8Array): Promise<unknown> | undefined;
  /** All of them in one transaction. */
  batch(keys: readonly string[], values: readonly Uint8Array[]): Promise<unknown> | undefined;
  /** Every entry in key order; the bytes are borrowed until `visit` returns. */
  scan(visit: (key: string, value: Uint8Array) => void): Promise<void>;
  close(): Promise<unknown>;
}

/** A system under comparison. */
export interface PeerSystem {
  /** Loads its code, so that opening a store does not count it. Throws where it is not installed. */
  load(): Promise<(settings: OpenSettings) => Promise<PeerStore>>;
}
