// A growing text as lines: what does not end in a line break yet is the last line.

/** Lines held; the oldest go first. */
export const LINES_MAX = 10_000;

export interface Lines {
  list: string[];
  /** Lines that were dropped at the front. */
  dropped: number;
  /** Whether the last line may still grow. */
  open: boolean;
}

export const NOTHING: Lines = { list: [], dropped: 0, open: false };

// Colors and cursor movements of terminals.
const ESCAPES = /\u001b\[[0-9;?]*[ -/]*[@-~]|\u001b\][^\u0007\u001b]*(?:\u0007|\u001b\\)|\u001b[@-_]/g;

export function appended(lines: Lines, data: string): Lines {
  if (data === '') return lines;
  const parts = data.replace(ESCAPES, '').replace(/\r\n/g, '\n').split('\n');
  const list = lines.list.slice();
  if (lines.open && list.length > 0) list[list.length - 1] += parts.shift()!;
  list.push(...parts);
  // A line break at the end ends a line and begins none.
  const open = list.at(-1) !== '';
  if (!open) list.pop();
  const over = Math.max(0, list.length - LINES_MAX);
  return { list: over > 0 ? list.slice(over) : list, dropped: lines.dropped + over, open };
}

/** Where `word` occurs, whatever its case: `[line, from, to]`. */
export function found(list: readonly string[], word: string, most = 2_000): [number, number, number][] {
  if (word === '') return [];
  const lower = word.toLowerCase();
  const hits: [number, number, number][] = [];
  for (let line = 0; line < list.length && hits.length < most; line++) {
    const text = list[line]!.toLowerCase();
    for (let at = text.indexOf(lower); at >= 0 && hits.length < most; at = text.indexOf(lower, at + lower.length)) {
      hits.push([line, at, at + lower.length]);
    }
  }
  return hits;
}
