/** SHA-256 in plain JavaScript (@noble/hashes), for runtimes without node:crypto and as a cross-check. */
import { sha256 as nobleHash } from '@noble/hashes/sha2.js';
import type { IncrementalSha256, Sha256Provider } from './sha256.ts';

/** SHA-256 in plain JavaScript. */
export const nobleSha256: Sha256Provider = {
  name: '@noble/hashes',
  into(buf, from, to, out, at) {
    out.set(nobleHash(buf.subarray(from, to)), at);
  },
  incremental: () => new NobleIncremental(),
};

class NobleIncremental implements IncrementalSha256 {
  readonly #hash = nobleHash.create();

  update(bytes: Uint8Array): void {
    this.#hash.update(bytes);
  }

  digest(): Uint8Array {
    return this.#hash.digest();
  }
}
