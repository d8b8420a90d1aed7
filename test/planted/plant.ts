/** A planted fault as data: what is changed in the sources, and which campaigns must notice. */

/** A campaign that is tried with a plant, with at most `count` of its tries. */
export interface Hunt {
  readonly campaign: string;
  readonly count: number;
}

export interface Edit {
  /** Below the root of the project. */
  readonly file: string;
  /** Occurs exactly once in the file. */
  readonly find: string;
  readonly replace: string;
}

export interface Plant {
  readonly name: string;
  /** What the program does wrong with it. */
  readonly what: string;
  readonly edits: readonly Edit[];
  /** Tried in this order until one notices. */
  readonly hunts: readonly Hunt[];
}

/** A plant that is one edit. */
export function plant(
  name: string,
  what: string,
  file: string,
  [find, replace]: readonly [find: string, replace: string],
  ...hunts: readonly Hunt[]
): Plant {
  return { name, what, edits: [{ file: `src/${file}`, find, replace }], hunts };
}

const hunt =
  (campaign: string) =>
  (count: number): Hunt => ({ campaign, count });

export const crash = hunt('crash');
export const sim = hunt('sim');
export const damage = hunt('damage');
export const fuzz = hunt('fuzz');
export const diskFull = hunt('disk-full');
export const locks = hunt('locks');
export const syscalls = hunt('syscalls');

/** The text with the edit made. Throws where the text to find is not there exactly once. */
export function edited(text: string, { file, find, replace }: Edit): string {
  const pieces = text.split(find);
  if (pieces.length !== 2) {
    throw new Error(`${file}: ${pieces.length - 1} places instead of one have the text\n${find}`);
  }
  return pieces.join(replace);
}
