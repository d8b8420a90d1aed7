/** Where a check that was not finished goes on: text for the caller to keep. */
import { invalid } from '../base/errors.ts';

/** Levels of a check, each with all of those before it. */
export const verifyLevels = ['index', 'chunks', 'full'] as const;
export type VerifyLevel = (typeof verifyLevels)[number];

/** Steps of a check in their order. */
export const verifyPhases = ['roots', 'tables', 'counts', 'segments'] as const;
export type VerifyPhase = (typeof verifyPhases)[number];

/** Everything before is checked: the phases before `phase`, and in it the files with lower numbers. */
export interface VerifyCursor {
  readonly level: VerifyLevel;
  readonly phase: VerifyPhase;
  /** The first file number that is not checked. */
  readonly no: number;
}

/** `chunks.segments.1f`: level, phase, number in hex. */
export function encodeVerifyCursor({ level, phase, no }: VerifyCursor): string {
  return `${level}.${phase}.${no.toString(16)}`;
}

/** VARVE_INVALID_ARGUMENT when it is no cursor, or one of another level. */
export function decodeVerifyCursor(text: string, level: VerifyLevel): VerifyCursor {
  const [of, phase, no, ...rest] = typeof text === 'string' ? text.split('.') : [];
  const isPhase = verifyPhases.includes(phase as VerifyPhase);
  if (!isPhase || rest.length > 0 || !/^[0-9a-f]{1,13}$/.test(no ?? ''))
    throw invalid('cursor is not one that verify gave');
  if (of !== level) throw invalid(`cursor is of a check of level ${of}, not ${level}`);
  return { level, phase: phase as VerifyPhase, no: Number.parseInt(no!, 16) };
}
