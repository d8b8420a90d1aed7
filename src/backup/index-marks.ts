/** What of an index is marked: by whoever goes through a vault and must know where it has been. */
import { RowSet } from './chunk-table.ts';
import { type IndexHit, indexChanged, type VaultIndex } from './vault-index.ts';

/** One bit for each place of an index. */
export class IndexMarks {
  readonly generation: number;
  readonly #index: VaultIndex;
  readonly #own: RowSet;
  readonly #sets: readonly RowSet[];

  constructor(index: VaultIndex) {
    this.#index = index;
    this.generation = index.generation;
    this.#own = new RowSet(index.own.count);
    this.#sets = index.sources.map(({ object }) => new RowSet(object.entries));
  }

  /** The bits of a source. */
  of(source: number): RowSet {
    return source < 0 ? this.#own : this.#sets[source]!;
  }

  has({ source, entry }: IndexHit): boolean {
    return this.of(source).has(entry);
  }

  /** False when it was there. VARVE_CONFLICT once places have lost their meaning: begin again. */
  add({ source, entry }: IndexHit): boolean {
    this.check();
    return this.of(source).add(entry);
  }

  /** VARVE_CONFLICT once places have lost their meaning. */
  check(): void {
    if (this.generation !== this.#index.generation) throw indexChanged();
  }
}
