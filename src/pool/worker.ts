/** Entry of the threads of the main build: piscina calls the default export. */
import { setSha256 } from '../kernels/hash/sha256.ts';
import { nodeSha256 } from '../kernels/hash/sha256-node.ts';
import { runTask } from './run-task.ts';

setSha256(nodeSha256);

export default runTask;
