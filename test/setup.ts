import { initChecksum } from '../src/codec/checksum.ts';

await initChecksum();
