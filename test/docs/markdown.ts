/** Reading the project's Markdown: marked blocks and links. */

/** A fenced block behind a line `<!-- kind: name -->`. */
export interface Block {
  readonly kind: string;
  readonly name: string;
  readonly language: string;
  readonly text: string;
}

const marked = /^<!-- (\w+): ([\w-]+) -->\n```(\w+)\n([\s\S]*?)^```$/gm;

/** Every marked block, in order. */
export function blocksOf(markdown: string): Block[] {
  return Array.from(markdown.matchAll(marked), ([, kind, name, language, text]) => ({
    kind: kind!,
    name: name!,
    language: language!,
    text: text!,
  }));
}

/** How many fenced blocks there are in one of `languages`, marked or not. */
export function fencesIn(markdown: string, languages: readonly string[]): number {
  const fences = Array.from(markdown.matchAll(/^```(\w+)$/gm), ([, language]) => language!);
  return fences.filter((language) => languages.includes(language)).length;
}

/** Targets of links that are files of the project, without the part behind `#`. */
export function fileLinks(markdown: string): string[] {
  const links = Array.from(markdown.matchAll(/\]\(([^)\s]+)\)/g), ([, target]) => target!);
  return links.filter((target) => !/^(https?:|#)/.test(target)).map((target) => target.split('#')[0]!);
}

/** One command of a console block and what it prints; `…` in a line stands for any text. */
export interface ConsoleStep {
  readonly command: string;
  readonly output: string;
}

/** The steps of a console block: a line that begins with `$ ` is a command, what follows is its output. */
export function consoleSteps(text: string): ConsoleStep[] {
  return text
    .split(/^\$ /m)
    .slice(1)
    .map((step) => {
      const end = step.indexOf('\n');
      return { command: step.slice(0, end), output: step.slice(end + 1) };
    });
}

/** Whether `actual` is `shown`, where `…` stands for any text within its line. */
export function matchesShown(actual: string, shown: string): boolean {
  const escaped = shown.trimEnd().replace(/[.*+?^${}()|[\]\\]/g, '\\$&');
  return new RegExp(`^${escaped.replaceAll('…', '[^\\n]*')}$`).test(trimLines(actual));
}

/** Without the spaces at line ends that tables are padded with. */
export function trimLines(text: string): string {
  return text.replace(/[ \t]+$/gm, '').trimEnd();
}
