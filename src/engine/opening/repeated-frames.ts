/**
 * Frames of an old log as a new one repeats them.
 *
 * Invariants (test/format/log-places.test.ts, test/regressions/rescued-before-slot-lost.test.ts):
 * - a chunk that was rescued is named where its copy lies, which is on disk before the new log is: nobody has
 *   synced the old segment, and the catalog before the next one finds its commits through this log alone;
 * - keys, values, numbers and times are those of the old frames.
 */
import type { FileNo } from '../../base/brands.ts';
import { frameTypes } from '../../format/log-frame.ts';
import { withMovedChunks } from '../../format/log-places.ts';
import type { LogFrame } from '../../log/log-reader.ts';
import type { LogFrameBytes } from '../../log/log-writer.ts';

/** `tail` with chunks of segment n in `moved.get(n)`, at the same offsets; payloads stay borrowed. */
export async function* repeatedFrames(
  tail: AsyncIterable<LogFrame & LogFrameBytes>,
  moved: ReadonlyMap<FileNo, FileNo>,
): AsyncGenerator<LogFrameBytes> {
  for await (const frame of tail) {
    const namesChunks = frame.type === frameTypes.batch || frame.type === frameTypes.stage;
    const place = { file: frame.path, offset: frame.offset };
    yield namesChunks ? { ...frame, payload: withMovedChunks(frame, frame.payload, moved, place) } : frame;
  }
}
