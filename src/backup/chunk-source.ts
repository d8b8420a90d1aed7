/**
 * Single chunks out of a vault, for whoever has lost some. Any whole copy will do: of several, and of packs
 * that no index object names (any more).
 *
 * Memory: whatever the size of the vault, pages of its index (`IndexPages`), trailers of unnamed packs
 * (`trailerBytesMax`), and names of packs.
 *
 * Invariants (test/backup/chunk-source.test.ts)
 * - What is given has the SHA-256 that was asked for; undefined only where no pack has a whole copy
 *   ("a chunk comes from whichever copy is whole").
 */
import { compareRange } from '../base/bytes.ts';
import { isVarveError, VarveError } from '../base/errors.ts';
import { MiB } from '../base/limits.ts';
import { ChunkFrame } from '../format/chunk-frame.ts';
import { chunkIdBytes } from '../format/chunk-ref.ts';
import { type Trailer, trailerEntry } from '../format/segment.ts';
import { readPackEnds, readPackFrame } from './pack-reader.ts';
import { throwIfAborted } from './throttle.ts';
import { checkVault, type Vault } from './vault.ts';
import type { IndexHit } from './vault-index.ts';
import { everyPack, loadVault, type VaultEnv, type VaultState } from './vault-state.ts';

/** Gives chunks by their ids. */
export interface ChunkSource {
  /**
   * The bytes of the chunk with the 32-byte id, the caller's, checked; undefined where no pack has a whole
   * copy. VARVE_ABORTED; VARVE_IO and the like when the target refuses; VARVE_INVALID_ARGUMENT.
   */
  read(id: Uint8Array, signal?: AbortSignal): Promise<Uint8Array | undefined>;
}

/** Over an open vault; reads nothing before the first `read`, and needs no closing. */
export function openChunkSource(vault: Vault): ChunkSource {
  return new VaultChunkSource(checkVault(vault).env);
}

const trailerBytesMax: number = 32 * MiB;
/** A prune may delete packs between looking and reading. */
const triesMax = 3;

type Place = Pick<IndexHit, 'off8' | 'storedLen'>;

class VaultChunkSource implements ChunkSource {
  readonly #env: VaultEnv;
  #loaded: Promise<VaultState> | undefined;
  /** By hash, read last last; undefined: it cannot be read. */
  readonly #trailers = new Map<string, Trailer | undefined>();
  #trailerBytes = 0;

  constructor(env: VaultEnv) {
    this.#env = env;
  }

  async read(id: Uint8Array, signal?: AbortSignal): Promise<Uint8Array | undefined> {
    if (!(id instanceof Uint8Array) || id.length !== chunkIdBytes)
      throw new VarveError('VARVE_INVALID_ARGUMENT', 'the id of a chunk has 32 bytes');
    for (let tries = 1; ; tries++) {
      throwIfAborted(signal);
      const found = await this.#readOnce(id, signal);
      if (found !== 'changed') return found;
      this.#loaded = undefined;
      if (tries === triesMax)
        throw new VarveError('VARVE_CONFLICT', 'packs of the vault keep changing; try again', {
          retryable: true,
        });
    }
  }

  async #readOnce(
    id: Uint8Array,
    signal: AbortSignal | undefined,
  ): Promise<Uint8Array | undefined | 'changed'> {
    this.#loaded ??= loadVault(this.#env, everyPack);
    let state: VaultState;
    try {
      state = await this.#loaded;
    } catch (error) {
      this.#loaded = undefined;
      throw error;
    }
    let changed = false;
    const attempt = async (hash: string, { off8, storedLen }: Place) => {
      const frame = new ChunkFrame();
      try {
        const buf = await readPackFrame(this.#env.store, hash, off8, storedLen, id, frame);
        return buf.slice(frame.payloadFrom, frame.payloadTo);
      } catch (error) {
        if (isVarveError(error, 'VARVE_NOT_FOUND')) changed = true;
        else if (!isVarveError(error, 'VARVE_CORRUPT', 'VARVE_FORMAT_VERSION')) throw error;
        return undefined;
      }
    };
    const copies = await state.index.copies(id).catch((error: unknown) => {
      if (!isVarveError(error, 'VARVE_CORRUPT')) throw error;
      // The index was whole when it was opened.
      changed = true;
      return [];
    });
    for (const hit of copies) {
      throwIfAborted(signal);
      const bytes = await attempt(state.packs[hit.pack]!.hash, hit);
      if (bytes !== undefined) return bytes;
    }
    for (const pack of state.packs) {
      if (pack.indexed) continue;
      throwIfAborted(signal);
      const place = placeIn(await this.#trailer(pack), id);
      const bytes = place === undefined ? undefined : await attempt(pack.hash, place);
      if (bytes !== undefined) return bytes;
    }
    return changed ? 'changed' : undefined;
  }

  async #trailer({ hash, size }: { hash: string; size: number }): Promise<Trailer | undefined> {
    if (this.#trailers.has(hash)) return this.#trailers.get(hash);
    let trailer: Trailer | undefined;
    try {
      ({ trailer } = await readPackEnds(this.#env.store, hash, size, this.#env.vaultId));
    } catch (error) {
      if (!isVarveError(error, 'VARVE_NOT_FOUND', 'VARVE_CORRUPT', 'VARVE_FORMAT_VERSION')) throw error;
    }
    this.#trailers.set(hash, trailer);
    this.#trailerBytes += sizeOf(trailer);
    for (const [old, one] of this.#trailers) {
      if (this.#trailerBytes <= trailerBytesMax || old === hash) break;
      this.#trailers.delete(old);
      this.#trailerBytes -= sizeOf(one);
    }
    return trailer;
  }
}

function sizeOf(trailer: Trailer | undefined): number {
  return (trailer?.count ?? 0) * trailerEntry.size;
}

function placeIn(
  trailer: Trailer | undefined,
  id: Uint8Array,
): { off8: number; storedLen: number } | undefined {
  if (trailer === undefined) return undefined;
  for (let i = 0; i < trailer.count; i++) {
    const at = i * chunkIdBytes;
    if (compareRange(trailer.ids, at, at + chunkIdBytes, id, 0, chunkIdBytes) === 0)
      return { off8: trailer.off8[i]!, storedLen: trailer.storedLen[i]! };
  }
  return undefined;
}
