/** What is fixed when a store is created, and how the options of a later open must agree with it. */
import { invalid, VarveError } from '../../base/errors.ts';
import { segmentBytesTarget } from '../../base/limits.ts';
import type { StoreIdentity } from '../../catalog/catalog-create.ts';
import { superName } from '../../format/file-names.ts';
import type { SuperSlot } from '../../format/superblock.ts';
import { type ChunkerKey, deriveChunkerKey } from '../../kernels/chunker/key.ts';
import {
  type ChunkerParams,
  nameOfAlgorithm,
  paramsProblem,
  solveParams,
} from '../../kernels/chunker/params.ts';
import type { Env } from '../env.ts';
import { type CheckedOptions, defaultChunking, defaultInlineMax } from '../options.ts';

/** Identity of a new store. VARVE_INVALID_ARGUMENT when the chunk sizes cannot be used. */
export function identityOf(options: CheckedOptions, env: Env): StoreIdentity {
  const sizes = { ...defaultChunking, ...options.chunking };
  const params = solveParams(sizes);
  return {
    dbUuid: env.random(16),
    timelineId: 1,
    chunkerAlgo: params.algorithmId,
    chunkMin: params.min,
    chunkAvg: sizes.avg,
    chunkMax: params.max,
    chunkerNormalPoint: params.normal,
    chunkerStrict: params.strict,
    chunkerLoose: params.loose,
    chunkerKeyCheck: deriveChunkerKey(sizes.algorithm).check,
    inlineMax: options.inlineMax ?? defaultInlineMax,
    segTarget: segmentBytesTarget,
    createdMs: env.clock.now(),
  };
}

/**
 * The chunker of an existing store, from its integers. VARVE_INVALID_ARGUMENT when an option asks for another
 * one: cuts are fixed at creation. VARVE_CORRUPT or VARVE_FORMAT_VERSION when the superblock's cannot be run.
 */
export function chunkerParamsOf(
  slot: SuperSlot,
  options: CheckedOptions,
): { params: ChunkerParams; key: ChunkerKey } {
  const algorithm = nameOfAlgorithm(slot.chunkerAlgo);
  if (algorithm === undefined) {
    throw new VarveError('VARVE_FORMAT_VERSION', `${superName}: unknown chunker ${slot.chunkerAlgo}`, {
      file: superName,
    });
  }
  const params: ChunkerParams = {
    algorithmId: slot.chunkerAlgo,
    min: slot.chunkMin,
    normal: slot.chunkerNormalPoint,
    max: slot.chunkMax,
    strict: slot.chunkerStrict,
    loose: slot.chunkerLoose,
  };
  const problem = paramsProblem(params);
  if (problem !== undefined) {
    throw new VarveError('VARVE_CORRUPT', `${superName}: chunker parameters: ${problem}`, {
      file: superName,
    });
  }
  const key = deriveChunkerKey(algorithm);
  if (key.check !== slot.chunkerKeyCheck) {
    throw new VarveError(
      'VARVE_FORMAT_VERSION',
      `${superName}: the chunker key is derived differently by this build`,
      {
        file: superName,
        expected: slot.chunkerKeyCheck,
        actual: key.check,
      },
    );
  }
  refuseOther('chunking.algorithm', options.chunking?.algorithm, algorithm);
  refuseOther('chunking.min', options.chunking?.min, slot.chunkMin);
  refuseOther('chunking.avg', options.chunking?.avg, slot.chunkAvg);
  refuseOther('chunking.max', options.chunking?.max, slot.chunkMax);
  refuseOther('inlineMax', options.inlineMax, slot.inlineMax);
  return { params, key };
}

function refuseOther(name: string, asked: string | number | undefined, stored: string | number): void {
  if (asked === undefined || asked === stored) return;
  throw invalid(`${name} is ${stored} in this store, fixed when it was created; ${asked} was asked for`, {
    expected: stored,
    actual: asked,
  });
}
