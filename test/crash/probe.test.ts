import { test } from 'vitest';
import { record } from './recorder.ts';
import { checkRecovered } from './recovered.ts';
import { workloadOf } from './workload.ts';
test('probe', async () => {
  for (let seed = 1; seed <= 12; seed++) {
    const w = workloadOf(seed);
    const t0 = performance.now();
    let r;
    try { r = await record(w, 'posix'); } catch (e) { console.log(seed, 'record', e); continue; }
    const t1 = performance.now();
    let n = 0; const bad = new Map<string, number>();
    for (const choose of ['none','all'] as const) for (const p of r.points) {
      const d = p.disk.crash(choose);
      try { await checkRecovered(d, r.history, { floor: choose === 'all' ? p.acked : p.durable, shape: w.shape, seed: 7, goOn: n % 8 === 0 }); }
      catch (e) { const m = String((e as Error).message).slice(0, 300) + ' @ ' + (e as Error).stack!.split('\n').find(x=>/src|crash/.test(x)); const k = m.replace(/[0-9a-f]{20,}/g,'#'); if (!bad.has(k)) console.log(seed, choose, p.op, m); bad.set(k, (bad.get(k) ?? 0) + 1); }
      n++;
    }
    console.log(seed, JSON.stringify(w.shape), 'steps', w.steps.length, 'points', r.points.length, 'rows', r.history.rows.length, 'record ms', Math.round(t1-t0), 'per state ms', ((performance.now()-t1)/n).toFixed(2), 'bad', [...bad.values()].reduce((a,b)=>a+b,0), bad.size);
  }
}, 600000);
