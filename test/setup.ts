import { initChecksum } from '../src/codec/checksum.ts';
import { setSha256 } from '../src/kernels/hash/sha256.ts';
import { nodeSha256 } from '../src/kernels/hash/sha256-node.ts';

await initChecksum();
setSha256(nodeSha256);
