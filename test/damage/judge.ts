/**
 * Judges one damaged store: opens it for reading and for writing, reads what the damage may have hit, asks
 * health(), writes. Every answer must be the right bytes or an error, and what is wrong must be listed.
 */
import { isVarveError, VarveError, type VarveErrorCode } from '../../src/base/errors.ts';
import type { Engine } from '../../src/engine/engine.ts';
import type { Health } from '../../src/engine/types.ts';
import type { MemoryFileSystem } from '../../src/fs/memory-file-system.ts';
import { openOn } from '../crash/machine.ts';
import { beginStep } from '../crash/processor-time.ts';
import {
  isGotAround,
  type Knowledge,
  losesTwoRoots,
  lostWholly,
  overlaps,
  structureAt,
  tornFrom,
} from './knowledge.ts';
import type { Mutation } from './mutations.ts';
import type { KnownKey } from './stores.ts';

/**
 * 'same': nothing changed. 'refused': the store does not open. 'degraded': open for reading, damage listed.
 * 'warned': open for writing, damage listed. 'torn': taken for the tail a crash leaves. 'unseen': everything
 * asked for was right and nothing is listed.
 */
export type Verdict = 'same' | 'refused' | 'degraded' | 'warned' | 'torn' | 'unseen';

export interface Judgement {
  readonly verdict: Verdict;
  /** Keys of a degraded store whose newest version was not found, without an error. */
  readonly lost: number;
  /** Reads that threw. */
  readonly errors: number;
  readonly faults: readonly string[];
}

export interface JudgePlan {
  /** Position of this mutation in the run: chooses what is read beside the keys hit. */
  readonly turn: number;
  /** Every key and every listing. */
  readonly whole: boolean;
  /**
   * False: only the writer's open, which does all a reader's does and more, the keys hit and health(). What a
   * reader's open, a write, a close and the open after it add depends on the structure that is damaged and
   * on the kind of damage, not on the bit.
   */
  readonly full: boolean;
}

/** Keys read beside those hit, and of those hit at most; fewer for a look that is not full. */
const besides = 4;
const hitMax = 16;
const besidesShort = 1;
const hitMaxShort = 4;
const afterwards = 'after the writer';
const probeKey = 'written after the damage';
/** Damaged values whose bytes are put again. */
const copiesMax = 2;
/** By the clock, as a busy machine is not a hang; a process that was stopped misses all steps but one. */
const hangStepMs = 10_000;
const hangSteps = 30;
/** Of processor time. */
const slowMs = 10_000;
const memoryEvery = 64;
const memoryMax = 512 * 1024 * 1024;

/** Codes that damage may show as. */
const damageCodes: readonly VarveErrorCode[] = ['VARVE_CORRUPT', 'VARVE_FORMAT_VERSION', 'VARVE_IO'];

class Findings {
  readonly faults: string[] = [];
  refused = 0;
  degraded = 0;
  warned = 0;
  torn = 0;
  lost = 0;
  errors = 0;

  fault(what: string): void {
    if (this.faults.length < 5) this.faults.push(what);
  }

  /** Notes what an open or a call threw; true when it is the kind of error that damage may show as. */
  typed(error: unknown, where: string): error is VarveError {
    if (isVarveError(error, ...damageCodes)) return true;
    const text = error instanceof VarveError ? `${error.code}: ${error.message}` : stackOf(error);
    this.fault(`${where}: ${text}`);
    return false;
  }
}

function stackOf(error: unknown): string {
  return error instanceof Error
    ? (error.stack ?? String(error)).split('\n').slice(0, 4).join(' | ')
    : String(error);
}

/** Applies `mutation` to a copy of the store and judges what comes of it. */
export async function judge(known: Knowledge, mutation: Mutation, plan: JudgePlan): Promise<Judgement> {
  const disk = known.store.disk.fork();
  if (!(await mutation.apply(disk))) return { verdict: 'same', lost: 0, errors: 0, faults: [] };
  const findings = new Findings();
  const step = beginStep();
  const memory = plan.turn % memoryEvery === 0 ? process.memoryUsage.rss() : undefined;
  await withoutHanging(judgeDisk(known, mutation, plan, disk, findings), findings);
  const took = step.over(slowMs);
  if (took !== undefined) findings.fault(`took ${Math.round(took)} ms of processor time`);
  const grown = memory === undefined ? 0 : process.memoryUsage.rss() - memory;
  if (grown > memoryMax) findings.fault(`took ${Math.round(grown / 2 ** 20)} MiB of memory`);
  const { lost, errors, faults } = findings;
  const verdict = verdictOf(findings);
  if (verdict === 'unseen' && isReadByKey(known, mutation))
    findings.fault('a key reads it, and nothing was seen');
  if (isGotAround(known, mutation)) {
    const { refused, degraded, torn } = findings;
    if (lost + errors + refused + degraded + torn > 0)
      findings.fault(`the install before was to serve all of it: ${verdict}, ${errors} errors, ${lost} lost`);
  }
  const spared = sparedPart(known, mutation);
  if (spared !== undefined && verdict !== 'warned')
    findings.fault(`${spared}: it costs no row, so it is a warning, not ${verdict}`);
  return { verdict, lost, errors, faults };
}

function verdictOf({ refused, degraded, warned, torn }: Findings): Verdict {
  if (refused > 0) return 'refused';
  if (degraded > 0) return 'degraded';
  if (warned > 0) return 'warned';
  return torn > 0 ? 'torn' : 'unseen';
}

/** Damage that costs no row: of nothing but the filter of a table, or garbage behind its end. */
function sparedPart(known: Knowledge, { touched, isSmall }: Mutation): string | undefined {
  const [span] = touched;
  if (span === undefined || !isSmall) return undefined;
  const part = structureAt(known, span);
  const isSpared = part === 'tab filter' || part === 'tab behind the end';
  const isAlone = structureAt(known, { ...span, from: span.to - 1 }) === part;
  return isSpared && isAlone ? part : undefined;
}

/** Every key that reads the byte has been read; larger spans may have kept the bytes that are read. */
function isReadByKey({ readsOf }: Knowledge, { touched }: Mutation): boolean {
  const [span] = touched;
  if (span === undefined || touched.length > 1 || span.to - span.from > 1) return false;
  return readsOf.some((reads) => reads.some((read) => overlaps(span, read)));
}

async function withoutHanging(work: Promise<void>, findings: Findings): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  let steps = 0;
  const watch = new Promise<void>((resolve) => {
    timer = setInterval(() => {
      if (++steps < hangSteps) return;
      findings.fault(`hangs: nothing for ${hangSteps * hangStepMs} ms`);
      resolve();
    }, hangStepMs);
  });
  try {
    await Promise.race([work, watch]);
  } catch (error) {
    findings.fault(stackOf(error));
  } finally {
    clearInterval(timer);
  }
}

async function judgeDisk(
  known: Knowledge,
  mutation: Mutation,
  plan: JudgePlan,
  disk: MemoryFileSystem,
  findings: Findings,
): Promise<void> {
  const { shape, more } = known.store;
  const keys = keysToRead(known, mutation, plan);
  const torn = tornFrom(known, mutation);
  const lostFile = lostWholly(known, mutation);
  const rootless = losesTwoRoots(known, mutation);
  const look: Look = { keys, torn, rootless, plan, lostFile, findings, broken: [], copies: new Map() };
  for (const readOnly of plan.full ? [true, false] : [false]) {
    const how = readOnly ? 'reader' : 'writer';
    let engine: Engine;
    try {
      engine = await openOn(disk, shape, plan.turn, { ...more, readOnly });
    } catch (error) {
      findings.refused++;
      // Without SUPER a reader finds no store; a writer sees that files of one are there.
      if (isVarveError(error, 'VARVE_NOT_FOUND') && readOnly && (await disk.stat('SUPER')) === null) continue;
      if (findings.typed(error, `${how} open`) && mutation.isSmall)
        findings.fault(`${how}: one small fault and the store does not open: ${error.message}`);
      continue;
    }
    await inspect(engine, how, look);
    // Its disk is dropped with it.
    if (!plan.full) return;
    if (!readOnly) await write(engine, look);
    await closeOf(engine, how, findings);
  }
  if (!plan.full) return;
  if (findings.refused > 0 || (!plan.whole && plan.turn % 8 !== 0)) return;
  const again = await openOn(disk, shape, plan.turn, { ...more, readOnly: true });
  await inspect(again, afterwards, look);
  await closeOf(again, afterwards, findings);
}

async function closeOf(engine: Engine, how: string, findings: Findings): Promise<void> {
  try {
    await engine.close();
  } catch (error) {
    findings.typed(error, `${how} close`);
  }
}

/** The keys whose reads meet the damage, and some others in turn; all of them for a whole look. */
function keysToRead({ store, readsOf }: Knowledge, { touched }: Mutation, plan: JudgePlan): KnownKey[] {
  const { keys } = store;
  if (plan.whole) return [...keys];
  const chosen = new Set<KnownKey>();
  const hits = plan.full ? hitMax : hitMaxShort;
  const others = plan.full ? besides : besidesShort;
  for (let i = 0; i < keys.length && chosen.size < hits; i++) {
    const at = (i + plan.turn) % keys.length;
    if (readsOf[at]!.some((read) => touched.some((span) => overlaps(span, read)))) chosen.add(keys[at]!);
  }
  for (let i = 0; i < others; i++) chosen.add(keys[(plan.turn * others + i) % keys.length]!);
  return Array.from(chosen);
}

interface Look {
  readonly keys: readonly KnownKey[];
  readonly torn: number | undefined;
  /** Commits of the newest log may be gone where the lost slot is listed. */
  readonly rootless: boolean;
  readonly plan: JudgePlan;
  /** A file whose loss an open must list before anything is read. */
  readonly lostFile: string | undefined;
  readonly findings: Findings;
  /** Values whose read failed in the writer. */
  readonly broken: Uint8Array[];
  /** The same bytes, put again by another name. */
  readonly copies: Map<string, Uint8Array>;
}

interface Missed {
  readonly what: string;
  readonly known: KnownKey;
  readonly got: Uint8Array | undefined;
}

/** Reads, lists, and compares with what was written and with what health() says. */
async function inspect(engine: Engine, how: string, look: Look): Promise<void> {
  const { findings, plan, lostFile } = look;
  const missed: Missed[] = [];
  if (lostFile !== undefined && how !== afterwards && engine.health().ok)
    findings.fault(`${how}: ${lostFile} is not what the catalog says, and the open lists nothing`);
  let errors = 0;
  let nth = plan.turn;
  for (const known of look.keys) {
    const { space, key, versions } = known;
    try {
      const target = space === '' ? engine : engine.space(space);
      const got = nth++ % 2 === 0 ? await target.get(key) : target.getSync(key);
      if (!same(got, versions.at(-1)!.value)) missed.push({ what: `${space}/${key}`, known, got });
    } catch (error) {
      errors++;
      findings.typed(error, `${how} get ${key}`);
      const { value } = versions.at(-1)!;
      if (how === 'writer' && value !== undefined) look.broken.push(value);
    }
  }
  for (const [key, value] of how === 'writer' ? [] : look.copies) {
    if (!same(await engine.get(key), value)) findings.fault(`${how}: ${key} reads as something else`);
  }
  if (plan.whole) errors += await list(engine, how, look, missed);
  const health = engine.health();
  judgeMissed(missed, health, how, look);
  findings.errors += errors;
  if (health.status === 'degraded') findings.degraded++;
  else if (!health.ok) findings.warned++;
  if (errors > 0 && health.ok) findings.fault(`${how}: ${errors} reads failed and health() lists nothing`);
  const placeless = health.damage.find(({ file, kind }) => file === '' || kind === 'unexpected');
  if (placeless !== undefined) findings.fault(`${how}: health() names no file: ${placeless.message}`);
}

/** The names in a listing must be those of the live keys; returns 1 when listing throws. */
async function list(
  engine: Engine,
  how: string,
  { keys, findings }: Look,
  missed: Missed[],
): Promise<number> {
  const spaces = new Set(keys.map(({ space }) => space));
  let errors = 0;
  for (const space of spaces) {
    const listed = new Set<string>();
    try {
      for await (const { key } of (space === '' ? engine : engine.space(space)).scan({ values: false }))
        listed.add(key as string);
    } catch (error) {
      errors++;
      findings.typed(error, `${how} scan`);
      continue;
    }
    for (const known of keys.filter((one) => one.space === space)) {
      const isLive = known.versions.at(-1)!.value !== undefined;
      const seen = listed.delete(known.key);
      if (seen === isLive) continue;
      const before = known.versions.findLast(({ value }) => (value !== undefined) === seen)?.value;
      missed.push({ what: `listing of ${space}/${known.key}`, known, got: before });
    }
    for (const key of listed)
      if (!key.startsWith(probeKey))
        findings.fault(`${how}: the listing has ${key}, which was never written`);
  }
  return errors;
}

/** An answer other than the newest version: right after a torn tail, lossy where degraded, else a fault. */
function judgeMissed(missed: readonly Missed[], health: Health, how: string, look: Look): void {
  const { torn, rootless, findings } = look;
  for (const { what, known, got } of missed) {
    const { versions } = known;
    if (torn !== undefined && same(got, versions.findLast(({ seq }) => seq <= torn)?.value)) {
      findings.torn++;
      continue;
    }
    const isOlder = got === undefined || versions.some(({ value }) => same(got, value));
    if (!isOlder) findings.fault(`${how}: ${what} reads as bytes that were never written to it`);
    else if (rootless && (!health.ok || how === afterwards)) findings.torn++;
    else if (health.missing.length === 0)
      findings.fault(`${how}: ${what} is ${got === undefined ? 'gone' : 'an older version'}, silently`);
    else findings.lost++;
  }
}

/**
 * A write works and can be read back, or is refused with an error that says why; also one of the bytes of a
 * damaged value, which must not rely on what is damaged.
 */
async function write(engine: Engine, { findings, plan, broken, copies }: Look): Promise<void> {
  const values = [new Uint8Array(700).fill(plan.turn), ...broken.slice(0, copiesMax)];
  for (const [i, value] of values.entries()) {
    const key = `${probeKey} ${i}`;
    try {
      await engine.put(key, value);
    } catch (error) {
      if (isVarveError(error, 'VARVE_READ_ONLY') && engine.health().status === 'degraded') return;
      findings.typed(error, 'put');
      return;
    }
    copies.set(key, value);
    try {
      if (!same(await engine.get(key), value))
        findings.fault('a put was acknowledged and reads as something else');
    } catch (error) {
      findings.fault(`a put was acknowledged and cannot be read: ${(error as Error).message}`);
    }
  }
}

function same(a: Uint8Array | undefined, b: Uint8Array | undefined): boolean {
  return a === undefined || b === undefined ? a === b : Buffer.compare(a, b) === 0;
}
