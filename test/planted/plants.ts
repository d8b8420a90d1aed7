/** Every planted fault. */
import { filePlants } from './file-plants.ts';
import { logPlants } from './log-plants.ts';
import type { Plant } from './plant.ts';
import { repairPlants } from './repair-plants.ts';
import { treePlants } from './tree-plants.ts';

export const plants: readonly Plant[] = [...logPlants, ...filePlants, ...treePlants, ...repairPlants];
