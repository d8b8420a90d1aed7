import { defineConfig } from 'vitest/config';
import { threadEntries } from './test/thread-entries.ts';

export default defineConfig({
  plugins: [threadEntries()],
  test: {
    include: ['test/**/*.test.ts'],
    setupFiles: ['test/setup.ts'],
    pool: 'forks',
    // Loading the sources anew for each file took half of the time. Tests leave no global state behind.
    isolate: false,
    maxWorkers: '100%',
    testTimeout: 30_000,
  },
});
