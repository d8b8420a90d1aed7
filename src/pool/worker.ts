/** Entry of the threads of the main build: piscina calls runTask. */
import { setSha256 } from '../kernels/hash/sha256.ts';
import { nodeSha256 } from '../kernels/hash/sha256-node.ts';

setSha256(nodeSha256);

export { runTask } from './run-task.ts';
