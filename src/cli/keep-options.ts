/** Which backups stay, as options: of varve vault forget, and of schedules. */
import type { Command } from 'commander';
import type { KeepRules } from '../index.ts';
import { collect, wholeNumber } from './options.ts';

/** Of the commands that take rules. */
export interface KeepOptions {
  keepLast?: number;
  keepHourly?: number;
  keepDaily?: number;
  keepWeekly?: number;
  keepMonthly?: number;
  keepYearly?: number;
  keepWithinDays?: number;
  keepTag?: string[];
}

export function withKeepOptions(command: Command): Command {
  return command
    .option('--keep-last <n>', 'the newest n', wholeNumber)
    .option('--keep-hourly <n>', 'the newest of each of the last n hours that have one', wholeNumber)
    .option('--keep-daily <n>', 'the same for days', wholeNumber)
    .option('--keep-weekly <n>', 'for ISO weeks', wholeNumber)
    .option('--keep-monthly <n>', 'for months', wholeNumber)
    .option('--keep-yearly <n>', 'for years', wholeNumber)
    .option('--keep-within-days <n>', 'all within so many days before the newest', wholeNumber)
    .option('--keep-tag <tag>', 'all with this tag; may be given several times', collect);
}

/** The rules that were given. */
export function keepRulesOf(options: KeepOptions): KeepRules {
  const { keepLast, keepHourly, keepDaily, keepWeekly, keepMonthly, keepYearly, keepWithinDays, keepTag } =
    options;
  const rules = {
    last: keepLast,
    hourly: keepHourly,
    daily: keepDaily,
    weekly: keepWeekly,
    monthly: keepMonthly,
    yearly: keepYearly,
    within: keepWithinDays === undefined ? undefined : keepWithinDays * 86_400_000,
    tags: keepTag,
  };
  return Object.fromEntries(Object.entries(rules).filter(([, value]) => value !== undefined));
}
