/** Lists of what an import or export left out. */
import { type Session, warn } from '../session.ts';
import { keyFields, keyText, plainText, plural } from '../text.ts';
import type { Problem } from '../tree/tree-store.ts';

const shownMax = 50;

/** A problem in JSON output: `path` (or `pathHex`), `reason`, `code`. */
export function problemFields({ path, reason, code }: Problem): object {
  const { key, keyHex } = keyFields(path) as { key?: string; keyHex?: string };
  return { path: key, pathHex: keyHex, reason, code };
}

/** Lists the first problems on stderr. */
export async function warnOfProblems(
  session: Session,
  what: string,
  problems: readonly Problem[],
  count: number,
): Promise<void> {
  if (count === 0) return;
  const lines = problems.slice(0, shownMax).map(({ path, reason }) => {
    return `\n  ${keyText(path)}: ${plainText(reason)}`;
  });
  const more = count > lines.length ? `\n  and ${plural(count - lines.length, 'more', 'more')}` : '';
  await warn(session, `${plural(count, 'entry', 'entries')} ${what}:${lines.join('')}${more}`);
}
