/**
 * How many random histories a test tries: few in the suite, and as many as are asked for in a campaign,
 *
 *     VARVE_HISTORIES=10000 VARVE_SEED=7 npx vitest run test/engine/history-model.test.ts
 *
 * with the seed of the first one. A failure prints the seed and path that replay it.
 */
const asked = process.env.VARVE_HISTORIES === undefined ? undefined : Number(process.env.VARVE_HISTORIES);
const seed = process.env.VARVE_SEED === undefined ? undefined : Number(process.env.VARVE_SEED);

/** Options of fc.assert. */
export function histories(byDefault: number): { numRuns: number; seed?: number } {
  return { numRuns: asked ?? byDefault, ...(seed === undefined ? {} : { seed }) };
}

/** Seeds for histories that are made from one each. */
export function historySeeds(byDefault: number): number[] {
  return Array.from({ length: asked ?? byDefault }, (_, i) => (seed ?? 1) + i);
}

/** How long a test may take, ms. */
export function historiesMs(byDefault = 60_000): number {
  return asked === undefined ? byDefault : 24 * 3_600_000;
}
