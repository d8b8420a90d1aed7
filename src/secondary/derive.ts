/**
 * What a version of a key has in an index: a pure function of its value record.
 *
 * - A field that is missing gives no entry, in a tuple as well; null is a value.
 * - An array (tags, or in metadata) gives one entry for each different element; in a tuple, one for each
 *   combination. Elements that are maps or arrays give none, and so does a map in the place of a value.
 * - A path goes through maps only.
 *
 * Invariants (test/engine/indexes.test.ts, test/engine/index-model.test.ts)
 * - No tuple is given twice, and none beyond the bounds of base/limits.ts ("values that are too many or too
 *   long are refused by name").
 */
import { compareBytes, concatBytes, equalBytes } from '../base/bytes.ts';
import { invalid } from '../base/errors.ts';
import { indexEntriesPerRowMax, indexTupleBytesMax } from '../base/limits.ts';
import type { PackValue } from '../codec/msgpack.ts';
import { encodeComponent, hashComponent } from '../format/index-key.ts';
import { type IndexField, indexKinds } from '../format/index-rows.ts';
import { decodeMetadata, type Metadata } from '../format/metadata.ts';
import type { ValueRecord } from '../format/value-record.ts';
import { recordDigest } from '../value/value-writer.ts';

const place = { file: 'key tree' };
const noMetadata: Metadata = { tags: [] };
const none: readonly Uint8Array[] = [];

/** A version whose fields are asked for, each decoded at most once. The record is borrowed. */
export class RowFields {
  readonly record: ValueRecord;
  #metadata: Metadata | undefined;
  readonly #components = new Map<string, readonly Uint8Array[]>();

  constructor(record: ValueRecord) {
    this.record = record;
  }

  get metadata(): Metadata {
    if (this.#metadata !== undefined) return this.#metadata;
    const { buf, metadataFrom, metadataTo } = this.record;
    const isEmpty = metadataFrom === metadataTo;
    this.#metadata = isEmpty ? noMetadata : decodeMetadata(buf, place, metadataFrom, metadataTo);
    return this.#metadata;
  }

  /** The components of a field, in order, each once. */
  components(field: IndexField): readonly Uint8Array[] {
    const name = typeof field === 'string' ? field : `.${field.metadata}`;
    const known = this.#components.get(name);
    if (known !== undefined) return known;
    const components = this.#encode(field);
    this.#components.set(name, components);
    return components;
  }

  #encode(field: IndexField): readonly Uint8Array[] {
    const { record } = this;
    switch (field) {
      case 'digest':
        return [encodeComponent(recordDigest(record))];
      case 'size':
        return [encodeComponent(record.size)];
      case 'modified':
        return [encodeComponent(new Date(record.timeMs))];
      case 'created':
        return [encodeComponent(new Date(record.createdMs))];
      case 'contentType': {
        const { contentType } = this.metadata;
        return contentType === undefined ? none : [encodeComponent(contentType)];
      }
      case 'tags':
        // They are stored in order, each once.
        return this.metadata.tags.map((tag) => encodeComponent(tag));
      default:
        return componentsAt(this.metadata.metadata, field.metadata);
    }
  }
}

function componentsAt(map: PackValue | undefined, path: string): readonly Uint8Array[] {
  let at: PackValue | undefined = map;
  for (const name of path.split('.')) {
    if (!isMap(at) || !Object.hasOwn(at, name)) return none;
    at = at[name];
  }
  if (at === undefined) return none;
  if (Array.isArray(at)) return distinct((at as readonly PackValue[]).flatMap(componentOf));
  return componentOf(at);
}

function componentOf(value: PackValue): Uint8Array[] {
  if (Array.isArray(value) || isMap(value)) return [];
  return [encodeComponent(value as Exclude<PackValue, readonly PackValue[] | { [key: string]: PackValue }>)];
}

function isMap(value: PackValue | undefined): value is { readonly [key: string]: PackValue } {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return false;
  return !(value instanceof Uint8Array) && !(value instanceof Date);
}

function distinct(components: Uint8Array[]): Uint8Array[] {
  const sorted = components.sort(compareBytes);
  return sorted.filter((component, i) => i === 0 || !equalBytes(component, sorted[i - 1]!));
}

/** What decides the entries of a row. */
export interface TupleSource {
  readonly name: string;
  /** One of indexKinds. */
  readonly kind: number;
  readonly on: readonly IndexField[];
}

/**
 * The tuples of values a version has in an index, in order, each once; values, not hashes.
 * VARVE_INVALID_ARGUMENT when they are too many, or too long for a range index.
 */
export function tuplesOf(row: RowFields, { name, kind, on }: TupleSource): readonly Uint8Array[] {
  let tuples: readonly Uint8Array[] = row.components(on[0]!);
  for (let i = 1; i < on.length && tuples.length > 0; i++) {
    const components = row.components(on[i]!);
    refuseMany(name, tuples.length * components.length);
    tuples = tuples.flatMap((tuple) => components.map((component) => concatBytes([tuple, component])));
  }
  refuseMany(name, tuples.length);
  if (kind === indexKinds.hash) return tuples;
  for (const { length } of tuples) {
    if (length > indexTupleBytesMax) {
      throw invalid(
        `index ${JSON.stringify(name)}: a value takes ${length} bytes encoded; at most ` +
          `${indexTupleBytesMax} are allowed in an index of kind 'range', any number in one of kind 'hash'`,
      );
    }
  }
  return tuples;
}

/** What stands in the keys of the index for these tuples, in order, each once. */
export function storedTuples(tuples: readonly Uint8Array[], kind: number): readonly Uint8Array[] {
  return kind === indexKinds.hash ? distinct(tuples.map(hashComponent)) : tuples;
}

function refuseMany(name: string, count: number): void {
  if (count <= indexEntriesPerRowMax) return;
  throw invalid(
    `index ${JSON.stringify(name)}: a key would have ${count} entries; ` +
      `at most ${indexEntriesPerRowMax} are allowed`,
  );
}
