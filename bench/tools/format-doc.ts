/** Writes docs/FORMAT.md from layouts and prose: `npm run build && node dist/bench/tools/format-doc.js`. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { formatDocument, projectRoot } from './format-doc/render.ts';

const path = join(projectRoot(), 'docs/FORMAT.md');
writeFileSync(path, await formatDocument());
console.log(`wrote ${path}`);
