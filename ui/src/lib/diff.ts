// Two texts side by side, by lines.

export interface DiffRow {
  kind: 'same' | 'changed' | 'added' | 'removed';
  left?: { line: number; text: string };
  right?: { line: number; text: string };
}

/** Definitions have a few hundred lines; beyond this the middle is shown as one change. */
const CELLS_MAX = 4_000_000;

export function diffLines(before: string, after: string): DiffRow[] {
  const a = before.split('\n');
  const b = after.split('\n');
  let head = 0;
  while (head < a.length && head < b.length && a[head] === b[head]) head++;
  let tail = 0;
  while (tail < a.length - head && tail < b.length - head && a[a.length - 1 - tail] === b[b.length - 1 - tail]) tail++;
  const rows: DiffRow[] = [];
  const same = (i: number, j: number) =>
    rows.push({ kind: 'same', left: { line: i + 1, text: a[i]! }, right: { line: j + 1, text: b[j]! } });
  for (let i = 0; i < head; i++) same(i, i);
  const [endA, endB] = [a.length - tail, b.length - tail];
  let [i, j] = [head, head];
  for (const [x, y] of common(a, b, head, endA, endB)) {
    change(rows, a, b, i, x, j, y);
    same(x, y);
    [i, j] = [x + 1, y + 1];
  }
  change(rows, a, b, i, endA, j, endB);
  for (let k = 0; k < tail; k++) same(endA + k, endB + k);
  return rows;
}

/** Pairs of equal lines, in order: a longest common subsequence. */
function common(a: string[], b: string[], from: number, endA: number, endB: number): [number, number][] {
  const [n, m] = [endA - from, endB - from];
  if (n === 0 || m === 0 || n * m > CELLS_MAX) return [];
  const width = m + 1;
  const table = new Uint32Array((n + 1) * width);
  for (let i = n - 1; i >= 0; i--) {
    for (let j = m - 1; j >= 0; j--) {
      table[i * width + j] = a[from + i] === b[from + j]
        ? table[(i + 1) * width + j + 1]! + 1
        : Math.max(table[(i + 1) * width + j]!, table[i * width + j + 1]!);
    }
  }
  const pairs: [number, number][] = [];
  for (let i = 0, j = 0; i < n && j < m;) {
    if (a[from + i] === b[from + j]) pairs.push([from + i++, from + j++]);
    else if (table[(i + 1) * width + j]! >= table[i * width + j + 1]!) i++;
    else j++;
  }
  return pairs;
}

function change(rows: DiffRow[], a: string[], b: string[], i: number, endI: number, j: number, endJ: number) {
  while (i < endI || j < endJ) {
    const left = i < endI ? { line: i + 1, text: a[i++]! } : undefined;
    const right = j < endJ ? { line: j + 1, text: b[j++]! } : undefined;
    if (left && right) rows.push({ kind: 'changed', left, right });
    else if (left) rows.push({ kind: 'removed', left });
    else rows.push({ kind: 'added', right: right! });
  }
}

/** Long runs of equal rows shrink to `around` rows at each change; a number stands for how many are left out. */
export function folded(rows: DiffRow[], around = 3): (DiffRow | number)[] {
  const near = new Array<boolean>(rows.length).fill(false);
  rows.forEach((row, at) => {
    if (row.kind === 'same') return;
    for (let k = Math.max(0, at - around); k <= Math.min(rows.length - 1, at + around); k++) near[k] = true;
  });
  const out: (DiffRow | number)[] = [];
  rows.forEach((row, at) => {
    if (near[at]) out.push(row);
    else if (typeof out.at(-1) === 'number') out[out.length - 1] = (out.at(-1) as number) + 1;
    else out.push(1);
  });
  return out;
}
