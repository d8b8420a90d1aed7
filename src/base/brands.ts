/** Branded numbers: a sequence number never passes for a file number. */

/** Total order of commits; 0 = before the first, at most 2^53-1. */
export type Seq = number & { readonly __seq?: never };

/** Number of a file of the store; never reused, 1 .. 2^53-1 (segments: 1 .. 2^32-1). */
export type FileNo = number & { readonly __fileNo?: never };
