// A writer in a process of its own. Arguments: directory of the compiled engine, store, 'flock' or 'plain'.
const [, , built, dir, kind] = process.argv;
const { acquireWriterLock } = await import(`${built}/src/fs/writer-lock.js`);
const { loadFlock } = await import(`${built}/src/fs/flock.js`);
const { systemClock } = await import(`${built}/src/fs/system-clock.js`);
const { initChecksum } = await import(`${built}/src/codec/checksum.js`);
await initChecksum();
const flock = kind === 'flock' ? await loadFlock() : undefined;
let lock;
try {
  lock = await acquireWriterLock({ dir, waitMs: 0, clock: systemClock, flock });
  process.stdout.write(`${JSON.stringify({ held: lock.providers })}\n`);
} catch (error) {
  process.stdout.write(`${JSON.stringify({ code: error.code, message: error.message })}\n`);
}
// Lives until its standard input ends.
process.stdin.resume();
process.stdin.on('end', () => lock?.release());
