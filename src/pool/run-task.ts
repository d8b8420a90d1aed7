/** What threads do for a task; the same code runs on the calling thread where a thread has failed. */
import { assert } from '../base/assert.ts';
import { ChunkerPool, type StreamChunker } from '../kernels/chunker/chunker.ts';
import { sha256Bytes, sha256Into } from '../kernels/hash/sha256.ts';
import type { CutResult, CutTask, HashResult, HashTask, PoolTask, ResultOf } from './port.ts';

/** Chunkers of the stores this thread works for, newest last. */
const chunkers: ChunkerPool[] = [];
const chunkersMax = 4;

/** Runs a task to its end. Throws on a task that is none: ranges outside their memory. */
export function runTask<T extends PoolTask>(task: T): ResultOf<T> {
  const result: CutResult | HashResult = task.kind === 'cut' ? cut(task) : hash(task);
  return result as ResultOf<T>;
}

function cut(task: CutTask): CutResult {
  const bytes = new Uint8Array(task.shared, 0, task.length);
  const chunker = chunkerFor(task);
  try {
    return cutAll(chunker, bytes, task.atEnd);
  } finally {
    chunker.release();
  }
}

function cutAll(chunker: StreamChunker, bytes: Uint8Array, atEnd: boolean): CutResult {
  chunker.reset();
  // No chunk but the last is shorter than min.
  const most = Math.ceil(bytes.length / chunker.params.min);
  const ends = new Uint32Array(most);
  const ids = new Uint8Array(most * sha256Bytes);
  let count = 0;
  let end = 0;
  for (let taken = 0; taken < bytes.length; ) {
    taken += chunker.write(bytes, taken);
    const last = atEnd && taken === bytes.length;
    for (let n = chunker.next(last); n > 0; n = chunker.next(last)) {
      // Hashed in the window, where the scan has left it in the processor's cache.
      sha256Into(chunker.buffer, chunker.start, chunker.start + n, ids, count * sha256Bytes);
      end += n;
      ends[count++] = end;
      chunker.consume();
    }
  }
  return { ends: ends.slice(0, count), ids: ids.slice(0, count * sha256Bytes) };
}

function hash(task: HashTask): HashResult {
  const bytes = new Uint8Array(task.shared);
  const { ranges } = task;
  assert(ranges.length % 2 === 0, 'ranges are pairs');
  const ids = new Uint8Array((ranges.length / 2) * sha256Bytes);
  for (let i = 0; i < ranges.length; i += 2)
    sha256Into(bytes, ranges[i]!, ranges[i + 1]!, ids, (i / 2) * sha256Bytes);
  return { ids };
}

function chunkerFor({ params, key }: CutTask): StreamChunker {
  let found = chunkers.find((one) => one.key.check === key.check && sameParams(one.params, params));
  if (found === undefined) {
    found = new ChunkerPool(params, { key, kept: 1 });
    chunkers.push(found);
    if (chunkers.length > chunkersMax) chunkers.shift();
  }
  return found.open();
}

function sameParams(a: CutTask['params'], b: CutTask['params']): boolean {
  return (
    a.algorithmId === b.algorithmId &&
    a.min === b.min &&
    a.normal === b.normal &&
    a.max === b.max &&
    a.strict === b.strict &&
    a.loose === b.loose
  );
}
