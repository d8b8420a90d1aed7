/**
 * Prints "<passed> <failed>" of one vitest JSON report: `node bench/tools/ci-count.mjs report.json`.
 *
 * A test file that does not even load has no failed test of its own and counts as one. No report at all
 * is no passed and no failed test: the caller knows from the exit code that the run failed.
 */
import { existsSync, readFileSync } from 'node:fs';

const path = process.argv[2];
if (path === undefined) throw new Error('name the report');
if (existsSync(path)) {
  const report = JSON.parse(readFileSync(path, 'utf8'));
  const broken = report.testResults.filter(
    (file) => file.status === 'failed' && !file.assertionResults.some((one) => one.status === 'failed'),
  );
  process.stdout.write(`${report.numPassedTests} ${report.numFailedTests + broken.length}\n`);
} else process.stdout.write('0 0\n');
