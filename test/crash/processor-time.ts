/** Whether a step took longer than it may: by the processor, as a process that had to wait is not slow. */

/** How old the count may be that a step is measured from, in ms: some systems take 0.1 ms to tell it. */
const countedEveryMs = 100;

let counted = process.cpuUsage();
let countedAt = performance.now();

/** `over` of the step that begins now: ms of processor time, to 0.1 s, where they are more than `limitMs`. */
export function beginStep(): { over(limitMs: number): number | undefined } {
  const begun = performance.now();
  if (begun - countedAt > countedEveryMs) {
    counted = process.cpuUsage();
    countedAt = begun;
  }
  const from = counted;
  return {
    over(limitMs) {
      if (performance.now() - begun <= limitMs) return undefined;
      const { user, system } = process.cpuUsage(from);
      const took = (user + system) / 1000;
      return took > limitMs ? took : undefined;
    },
  };
}
