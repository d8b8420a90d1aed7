/** First byte of every row value in the ordered trees (low four bits). Never changed, never reused. */
export const rowKinds = { put: 1, delete: 2, gone: 3, lateDelete: 4 } as const;

/** Kind of the row whose value starts at `at`. */
export function rowKindAt(buf: Uint8Array, at: number): number {
  return buf[at]! & 15;
}

/** A lookup ends at the first ordinary row; GONE rows and late deletes lie in newer files than later puts. */
export function isOrdinary(kind: number): boolean {
  return kind === rowKinds.put || kind === rowKinds.delete;
}
