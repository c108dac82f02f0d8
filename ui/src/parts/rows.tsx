// A list of rows of one height of which only those in sight are in the page: ten thousand scroll as ten do.

import type { ComponentChildren } from 'preact';
import { useEffect, useRef, useState } from 'preact/hooks';

interface Props {
  count: number;
  /** In px; the style sheet must agree. */
  rowHeight: number;
  row: (index: number) => ComponentChildren;
  head: ComponentChildren;
  label: string;
  columns: number;
  /** Called with a row of the list that has the keyboard. */
  onOpen: (index: number) => void;
  onToggle?: (index: number) => void;
}

/** Rows beyond the edge, so that a quick scroll shows no holes. */
const MARGIN = 12;

export function Rows({ count, rowHeight, row, head, label, columns, onOpen, onToggle }: Props) {
  const ref = useRef<HTMLDivElement>(null);
  const [range, setRange] = useState<[number, number]>([0, 40]);
  const [active, setActive] = useState(0);
  const wanted = useRef<number | undefined>(undefined);

  useEffect(() => {
    let frame = 0;
    const look = () => {
      frame = 0;
      const it = ref.current;
      if (!it) return;
      const top = -it.getBoundingClientRect().top;
      const first = Math.max(0, Math.floor(top / rowHeight) - MARGIN);
      const last = Math.min(count, Math.ceil((top + innerHeight) / rowHeight) + MARGIN);
      setRange((was) => (was[0] === first && was[1] === last ? was : [first, Math.max(first, last)]));
    };
    const soon = () => (frame ||= requestAnimationFrame(look));
    look();
    addEventListener('scroll', soon, { passive: true });
    addEventListener('resize', soon);
    return () => {
      cancelAnimationFrame(frame);
      removeEventListener('scroll', soon);
      removeEventListener('resize', soon);
    };
  }, [count, rowHeight]);

  // A row that the keyboard asked for may only now be in the page.
  useEffect(() => {
    if (wanted.current === undefined) return;
    const it = ref.current?.querySelector<HTMLElement>(`[data-row="${wanted.current}"] a`);
    if (!it) return;
    wanted.current = undefined;
    it.focus({ preventScroll: true });
  });

  const walk = (to: number) => {
    const at = Math.max(0, Math.min(count - 1, to));
    const it = ref.current;
    if (!it || count === 0) return;
    const top = it.getBoundingClientRect().top + at * rowHeight;
    const [above, below] = [120, innerHeight - rowHeight - 80];
    if (top < above) scrollBy(0, top - above);
    else if (top > below) scrollBy(0, top - below);
    wanted.current = at;
    setActive(at);
    const found = it.querySelector<HTMLElement>(`[data-row="${at}"] a`);
    if (found) {
      wanted.current = undefined;
      found.focus({ preventScroll: true });
    }
  };

  useEffect(() => {
    const onKey = (event: KeyboardEvent) => {
      const target = event.target as HTMLElement;
      const inside = ref.current?.contains(target);
      if (event.ctrlKey || event.metaKey || event.altKey || document.querySelector('dialog[open]')) return;
      if (!inside && target !== document.body && target.id !== 'main') return;
      if (target.closest('.menu')) return;
      const own = target.closest<HTMLElement>('[data-row]');
      const at = own ? Number(own.dataset.row) : active;
      const steps: Record<string, number> = { ArrowDown: at + 1, j: at + 1, ArrowUp: at - 1, k: at - 1, Home: 0, End: count - 1, PageDown: at + 15, PageUp: at - 15 };
      if (event.key in steps) {
        event.preventDefault();
        walk(own ? steps[event.key]! : at);
      } else if (own && event.key === 'x' && onToggle) {
        event.preventDefault();
        onToggle(at);
      } else if (own && event.key === 'Enter' && target.tagName !== 'BUTTON' && target.tagName !== 'A' && target.tagName !== 'INPUT') {
        onOpen(at);
      }
    };
    document.addEventListener('keydown', onKey);
    return () => document.removeEventListener('keydown', onKey);
  });

  const [first, last] = [Math.min(range[0], count), Math.min(range[1], count)];
  const shown: ComponentChildren[] = [];
  for (let at = first; at < last; at++) shown.push(row(at));
  return (
    <div class="grid" role="table" aria-label={label} aria-rowcount={count + 1} aria-colcount={columns}>
      <div class="grid-head" role="rowgroup">{head}</div>
      <div ref={ref} class="grid-body" role="rowgroup" style={{ height: `${count * rowHeight}px` }}>
        <div class="grid-window" role="presentation" style={{ transform: `translateY(${first * rowHeight}px)` }}>{shown}</div>
      </div>
    </div>
  );
}
