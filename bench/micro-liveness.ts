/** Entries a second of the liveness scan: `node dist/bench/micro-liveness.js [entries]`. */
import { Prng } from '../src/base/prng.ts';
import { BlockCache } from '../src/cache/block-cache.ts';
import { measureLiveness } from '../src/chunk/liveness.ts';
import { initChecksum } from '../src/codec/checksum.ts';
import { MemoryFileSystem } from '../src/fs/memory-file-system.ts';
import { Forest } from '../src/tree/forest.ts';

const entries = Number(process.argv[2] ?? 2_000_000);
const perTable = 500_000;
const segments = 16_000;

await initChecksum();
const disk = new MemoryFileSystem();
await disk.mkdir('tab');
const prng = new Prng(1);
const { forest } = await Forest.open(disk, [], {
  dbUuid: new Uint8Array(16),
  cache: new BlockCache(1024 * 1024),
  memtableBytes: 1024 * 1024 * 1024,
});
let no = 1;
for (let from = 0; from < entries; from += perTable) {
  const ids = prng.bytes(perTable * 32);
  for (let i = 0; i < perTable; i++) {
    forest.chunks.setLocation(ids, i * 32, 1 + prng.below(segments), i, 16_384, 16_384, 0, 0);
    if (prng.chance(0.6)) forest.chunks.addRefs(ids, i * 32, 1);
  }
  forest.chunks.note(from + 1);
  const frozen = forest.freeze();
  const metas = await forest.flush(
    frozen,
    () => no++,
    (n) => prng.bytes(n),
  );
  await forest.install(frozen, metas);
}
const pace = {
  monotonic: () => performance.now(),
  turn: () => new Promise<void>((resolve) => setImmediate(resolve)),
  cancelled: () => false,
};
for (let round = 0; round < 6; round++) {
  const start = performance.now();
  const cpu = process.cpuUsage();
  const { live, entries: seen } = await measureLiveness(forest.chunks, () => true, pace);
  const seconds = (performance.now() - start) / 1000;
  const { user, system } = process.cpuUsage(cpu);
  const spent = (user + system) / 1e6;
  const rate = (seen / spent / 1e6).toFixed(2);
  const times = `${seconds.toFixed(2)} s, ${spent.toFixed(2)} s CPU`;
  console.log(`${seen} entries, ${live.size} segments: ${times}, ${rate} M/s of CPU`);
}
await forest.close();
