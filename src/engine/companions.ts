/** Health, what is held, and scrubbing: made for a store when it is opened. */

import { HeldSpaceBook } from './cleaning/held-space.ts';
import type { Companions } from './companion-types.ts';
import { HealthWatch } from './health/health-report.ts';
import { Scrubber } from './health/scrubber.ts';
import type { Store } from './store.ts';

/** Makes them; nothing runs before `start`. */
export function companionsOf(store: Store): Companions {
  const { write, options } = store.parts;
  const watch = new HealthWatch();
  const held = new HeldSpaceBook(store);
  const settings = write === undefined ? undefined : options.scrub;
  const scrubber = settings === undefined ? undefined : new Scrubber(store, settings);
  if (write !== undefined) write.cleaning.onMeasured = () => held.measureSoon();
  return {
    held,
    health: () => watch.report(store),
    start: () => scrubber?.start(),
    stop: async () => {
      await scrubber?.stop();
      await held.stop();
    },
  };
}
