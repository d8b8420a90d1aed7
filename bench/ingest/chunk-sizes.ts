/** Sizes of the chunks of every store here; borg is given the same. */
export const chunkSizes = { min: 4096, avg: 16_384, max: 65_536 } as const;
