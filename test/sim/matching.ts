/** Which call made which commit, where several calls may have made several. */

/**
 * Gives each commit one of the calls that fit it, no call to two commits; undefined where none is left.
 * Every call of `needed` gets a commit and every commit a call wherever some choice of pairs gives each of
 * them one; where a commit has a choice, earlier calls of its list come first.
 */
export function matchCalls<T>(fits: readonly (readonly T[])[], needed: Iterable<T>): (T | undefined)[] {
  const callOf: (T | undefined)[] = fits.map(() => undefined);
  const commitOf = new Map<T, number>();
  const commitsOf = new Map<T, number[]>();
  fits.forEach((calls, commit) => {
    for (const call of calls) commitsOf.set(call, [...(commitsOf.get(call) ?? []), commit]);
  });
  const pair = (call: T, commit: number): boolean => {
    callOf[commit] = call;
    commitOf.set(call, commit);
    return true;
  };
  // Both ways only re-pair what has a pair, so what the first has covered the second leaves covered.
  const place = (call: T, tried: Set<number>): boolean =>
    (commitsOf.get(call) ?? []).some((commit) => {
      if (tried.has(commit)) return false;
      tried.add(commit);
      const other = callOf[commit];
      return (other === undefined || place(other, tried)) && pair(call, commit);
    });
  const fill = (commit: number, tried: Set<T>): boolean =>
    fits[commit]!.some((call) => {
      if (tried.has(call)) return false;
      tried.add(call);
      const other = commitOf.get(call);
      return (other === undefined || fill(other, tried)) && pair(call, commit);
    });
  for (const call of needed) if (!commitOf.has(call)) place(call, new Set());
  for (let commit = 0; commit < fits.length; commit++)
    if (callOf[commit] === undefined) fill(commit, new Set());
  return callOf;
}
