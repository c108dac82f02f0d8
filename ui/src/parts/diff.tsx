// Two definitions side by side.

import { useState } from 'preact/hooks';
import { diffLines, folded, type DiffRow } from '../lib/diff.ts';

export function Diff({ before, after, left, right }: { before: string; after: string; left: string; right: string }) {
  const [open, setOpen] = useState(false);
  if (before === after) return <p class="dim">There is no difference.</p>;
  const rows = diffLines(before, after);
  const list = open ? rows : folded(rows);
  return (
    <div class="diff" tabIndex={0} role="region" aria-label={`Differences between ${left} and ${right}`}>
      <table>
        <colgroup><col class="no" /><col /><col class="no" /><col /></colgroup>
        <thead><tr><th scope="col" colSpan={2}>{left}</th><th scope="col" colSpan={2}>{right}</th></tr></thead>
        <tbody>
          {list.map((row, at) => typeof row === 'number'
            ? <tr key={at} class="fold"><td colSpan={4}><button type="button" class="quiet" onClick={() => setOpen(true)}>{row} lines are the same</button></td></tr>
            : <Row key={at} row={row} />)}
        </tbody>
      </table>
    </div>
  );
}

function Row({ row }: { row: DiffRow }) {
  const [gone, come] = [row.kind === 'removed' || row.kind === 'changed', row.kind === 'added' || row.kind === 'changed'];
  return (
    <tr>
      <td class="line-no">{row.left?.line}</td><td class={gone ? 'line gone' : 'line'}>{gone && <span class="hidden">removed: </span>}{row.left?.text}</td>
      <td class="line-no">{row.right?.line}</td><td class={come ? 'line come' : 'line'}>{come && <span class="hidden">added: </span>}{row.right?.text}</td>
    </tr>
  );
}
