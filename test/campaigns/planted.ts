/**
 * Planted faults: each is put into a copy of the program, and the campaigns named with it must notice. Then
 * the same tries run without any fault and must pass. One try is one fault; without a bound all are tried.
 * `VARVE_ONLY='torn batch'` tries one, `VARVE_PART=1/2` every second one.
 */
import { Ground } from '../planted/ground.ts';
import { runHunt } from '../planted/hunt.ts';
import type { Plant } from '../planted/plant.ts';
import { plants } from '../planted/plants.ts';
import { type Campaign, type CampaignOptions, type CampaignResult, Pace, partOf } from './campaign.ts';

export const campaign: Campaign = {
  name: 'planted',
  run: (options) => {
    const only = process.env.VARVE_ONLY;
    const { part, of } = partOf();
    const ofPart = plants.filter((_, i) => i % of === part - 1);
    return runPlants(options, only === undefined ? ofPart : plants.filter(({ name }) => name === only));
  },
};

/** What the faults of `some` come to; `lines` is a table in Markdown behind the failures. */
export async function runPlants(options: CampaignOptions, some: readonly Plant[]): Promise<CampaignResult> {
  const pace = new Pace(options, some.length);
  const failures: string[] = [];
  const rows: string[] = [];
  const triesOf = new Map<string, number>();
  const ground = new Ground([...new Set(some.flatMap(({ hunts }) => hunts.map((hunt) => hunt.campaign)))]);
  let tried = 0;
  try {
    for (const one of some) {
      if (!pace.goesOn(tried)) break;
      ground.plant(one);
      const found = await search(ground, one, options.seed);
      ground.clear();
      tried++;
      if (found.tries > 0) triesOf.set(found.by, Math.max(found.tries, triesOf.get(found.by) ?? 0));
      else failures.push(`NOT NOTICED seed ${options.seed}, ${one.name}: ${one.what} (tried: ${found.by})`);
      rows.push(`| ${one.name}: ${one.what} | ${found.by} | ${found.tries} | ${found.seconds.toFixed(0)} |`);
      const note = `${one.name}: ${found.by} after ${found.tries}: ${found.line}`;
      options.onProgress(tried, Math.min(some.length, pace.total ?? some.length), note);
    }
    for (const [name, count] of triesOf) {
      const { failed, line } = await runHunt(ground, { campaign: name, count }, options.seed);
      if (failed) failures.push(`WITHOUT A FAULT ${name} fails too: ${line}`);
      else rows.push(`| none | not by ${name} | ${count} | |`);
    }
  } finally {
    ground.remove();
  }
  const table = ['| Fault | Noticed by | Tries | Seconds |', '|---|---|---|---|', ...rows];
  return { tried, failed: failures.length, lines: [...failures, ...table] };
}

interface Found {
  /** The campaign that noticed, or all that did not. */
  readonly by: string;
  /** 0 = not noticed. */
  readonly tries: number;
  readonly seconds: number;
  readonly line: string;
}

async function search(ground: Ground, { hunts }: Plant, seed: number): Promise<Found> {
  let seconds = 0;
  const blind: string[] = [];
  for (const hunt of hunts) {
    const result = await runHunt(ground, hunt, seed);
    seconds += result.seconds;
    if (result.failed) return { by: hunt.campaign, tries: result.tries, seconds, line: result.line };
    blind.push(`${hunt.campaign} ${result.tries}`);
  }
  return { by: blind.join(', '), tries: 0, seconds, line: '' };
}
