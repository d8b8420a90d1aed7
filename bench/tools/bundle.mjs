/**
 * Puts what users load into few files, beside the compiled tree: `node bench/tools/bundle.mjs`.
 *
 * To find, read and compile three hundred modules is most of what a command takes. All entries are bundled at
 * once and share what they have in common: there is one class of errors, and the portable entry reaches
 * nothing native. All files lie in one folder, because threads are found beside the file that starts them.
 * Packages stay packages.
 */
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { rolldown } from 'rolldown';

const root = fileURLToPath(new URL('../../', import.meta.url));
const manifest = JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8'));
const packages = Object.keys({ ...manifest.dependencies, ...manifest.optionalDependencies });

const bundle = await rolldown({
  cwd: root,
  input: {
    index: 'src/index.ts',
    'native-free': 'native-free/index.ts',
    main: 'src/cli/main.ts',
    worker: 'src/pool/worker.ts',
    'thread-worker': 'src/pool/thread-worker.ts',
  },
  platform: 'node',
  external: (id) => packages.some((name) => id === name || id.startsWith(`${name}/`)),
  onLog(_level, log) {
    // What the bundler is unsure of must not be published.
    throw new Error(log.message);
  },
});
await bundle.write({
  dir: 'dist/lib',
  format: 'esm',
  comments: false,
  sourcemap: true,
  sourcemapExcludeSources: true,
  entryFileNames: '[name].js',
  chunkFileNames: '[name]-[hash].js',
});
await bundle.close();
