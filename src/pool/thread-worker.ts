/** Entry of the threads of native-free: answers one task after another on the port it was started with. */
import { parentPort, workerData } from 'node:worker_threads';
import { assert } from '../base/assert.ts';
import { setSha256 } from '../kernels/hash/sha256.ts';
import type { PoolTask } from './port.ts';
import { runTask } from './run-task.ts';

const { sha256 } = workerData as { readonly sha256: 'node' | 'javascript' };
if (sha256 === 'node') setSha256((await import('../kernels/hash/sha256-node.ts')).nodeSha256);
else setSha256((await import('../kernels/hash/sha256-noble.ts')).nobleSha256);

const port = parentPort;
assert(port !== null, 'this file is started as a thread');
port.on('message', (task: PoolTask) => {
  try {
    port.postMessage({ result: runTask(task) });
  } catch (error) {
    port.postMessage({ error });
  }
});
