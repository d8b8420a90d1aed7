/** The ordered trees of a store. Never changed, never reused. */
export const trees = {
  /** Keys: row key to value record. */
  K: 1,
  /** Chunks: id to place and reference count. */
  C: 2,
  /** Secondary indexes. */
  X: 3,
  /** System rows: names, policies, index definitions, trash. */
  S: 4,
} as const;
export type TreeId = (typeof trees)[keyof typeof trees];

/** True for a tree number read from disk that this build knows. */
export function isTree(value: number): value is TreeId {
  return value >= trees.K && value <= trees.S;
}
