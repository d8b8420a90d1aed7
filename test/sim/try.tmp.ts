import { setSha256 } from '../../src/kernels/hash/sha256.ts';
import { nodeSha256 } from '../../src/kernels/hash/sha256-node.ts';
import { planOf } from './plan-maker.ts';
import { runPlan } from './run.ts';

setSha256(nodeSha256);
const from = Number(process.argv[2] ?? 1),
  count = Number(process.argv[3] ?? 20);
process.on('unhandledRejection', (e) => {
  console.log('UNHANDLED', e);
});
const t0 = performance.now();
let bad = 0,
  calls = 0,
  ends = 0,
  lives = 0,
  faults = 0,
  reads = 0;
const kinds = new Map<string, number[]>();
for (let seed = from; seed < from + count; seed++) {
  const r = await runPlan(planOf(seed));
  calls += r.calls;
  ends += r.ends;
  lives += r.lives;
  faults += r.faults;
  reads += r.checkedReads;
  if (r.failure) {
    bad++;
    const k = r.failure.split('\n')[0]!.replace(/\d+/g, 'N').slice(0, 150);
    const l = kinds.get(k) ?? [];
    l.push(seed);
    kinds.set(k, l);
    if (count < 3)
      console.log(
        JSON.stringify(planOf(seed).options),
        JSON.stringify(planOf(seed).ends),
        seed,
        r.failure,
        r.faultLog,
        r,
      );
  }
}
const s = (performance.now() - t0) / 1000;
console.log({ s, perS: count / s, bad, calls, ends, lives, faults, reads });
for (const [k, l] of kinds) console.log(l.length, l.slice(0, 6).join(' '), k);
process.exit(0);
