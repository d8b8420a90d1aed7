/** Faults of a repair, and of what opens the store after one. */
import { crash, type Plant, plant, sim } from './plant.ts';

export const repairPlants: readonly Plant[] = [
  plant(
    'repair forgets the log',
    'commits that are only in the log are not in the tables of a repaired store',
    'integrity/repair-log.ts',
    ['      visit(frame, payload, applier);\n', ''],
    sim(150),
    crash(20_000),
  ),
  plant(
    'old log read after a repair',
    'a log file whose removal a power cut undid is the log of a repaired store',
    'format/catalog.ts',
    ['walFirstNo === 0 ? no : walFirstNo', 'walFirstNo'],
    crash(20_000),
  ),
  plant(
    'repair removes first',
    'what a repair replaces is removed before SUPER names what replaces it',
    'integrity/repair-install.ts',
    [
      '  await fs.unlink(draftName);\n',
      `  for (const path of moved) if (path !== superName) await fs.unlink(path);
  await fs.unlink(draftName);\n`,
    ],
    crash(20_000),
    sim(150),
  ),
  plant(
    'repaired SUPER without its name',
    'what a repair replaces is removed before the name of the new SUPER is synced',
    'integrity/repair-install.ts',
    [
      `  await fs.rename(draftName, superName);\n  await fs.syncDir('');\n`,
      '  await fs.rename(draftName, superName);\n',
    ],
    crash(20_000),
    sim(150),
  ),
  plant(
    'repair keeps what nothing proves',
    'commits whose chunks never reached the disk are in the tables of a repaired store',
    'integrity/repair-log.ts',
    ['if (isUnproven && !(await areThere(segments, places)))', 'if (isUnproven && places.length < 0)'],
    crash(20_000),
    sim(150),
  ),
];
