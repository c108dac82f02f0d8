// Numbers and times as people read them.

export function amount(value: number): string {
  if (!Number.isFinite(value)) return '0';
  const rounded = Math.abs(value) >= 100 ? Math.round(value) : Math.round(value * 100) / 100;
  return rounded.toLocaleString('en-US', { maximumFractionDigits: 2 });
}

/** Mebibytes, in the unit that needs the fewest digits. */
export function mebibytes(value: number): string {
  if (value < 1024) return `${amount(value)} MiB`;
  if (value < 1024 * 1024) return `${trimmed(value / 1024)} GiB`;
  return `${trimmed(value / 1024 / 1024)} TiB`;
}

export function bytes(value: number): string {
  if (value < 1024) return `${value} B`;
  if (value < 1024 * 1024) return `${trimmed(value / 1024)} KiB`;
  return mebibytes(value / 1024 / 1024);
}

function trimmed(value: number): string {
  return value >= 100 ? String(Math.round(value)) : String(Math.round(value * 10) / 10);
}

export function duration(ms: number): string {
  if (ms < 0) return '0 s';
  if (ms < 950) return `${Math.round(ms / 10) * 10} ms`;
  const seconds = ms / 1000;
  if (seconds < 10) return `${Math.round(seconds * 10) / 10} s`;
  if (seconds < 60) return `${Math.round(seconds)} s`;
  const minutes = Math.floor(seconds / 60);
  if (minutes < 60) return `${minutes} min ${Math.round(seconds % 60)} s`;
  const hours = Math.floor(minutes / 60);
  if (hours < 48) return `${hours} h ${minutes % 60} min`;
  return `${Math.floor(hours / 24)} d ${hours % 24} h`;
}

export function ago(time: string | undefined, now: number): string {
  const at = time === undefined ? NaN : Date.parse(time);
  if (Number.isNaN(at)) return '–';
  const seconds = Math.round((now - at) / 1000);
  if (seconds < 5) return 'just now';
  if (seconds < 60) return `${seconds} s ago`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min ago`;
  if (seconds < 48 * 3600) return `${Math.floor(seconds / 3600)} h ago`;
  return `${Math.floor(seconds / 86400)} d ago`;
}

export function moment(time: string | undefined): string {
  const at = time === undefined ? NaN : Date.parse(time);
  if (Number.isNaN(at)) return '–';
  return new Date(at).toLocaleString(undefined, {
    year: 'numeric', month: 'short', day: '2-digit', hour: '2-digit', minute: '2-digit', second: '2-digit', hour12: false,
  });
}

export function clock(time: string | undefined): string {
  const at = time === undefined ? NaN : Date.parse(time);
  if (Number.isNaN(at)) return '–';
  const it = new Date(at);
  const two = (n: number) => String(n).padStart(2, '0');
  return `${two(it.getHours())}:${two(it.getMinutes())}:${two(it.getSeconds())}.${String(it.getMilliseconds()).padStart(3, '0')}`;
}

export function plural(count: number, one: string, many = `${one}s`): string {
  return `${count.toLocaleString('en-US')} ${count === 1 ? one : many}`;
}

/** What tells one task from its neighbours: ids share everything but a part of their uuid. */
export function shortTask(id: string): string {
  const match = /instance-([0-9a-f]{8})-.*?(?:\._app)?(?:\.(\d+))?$/.exec(id);
  if (match) return match[2] ? `${match[1]}.${match[2]}` : match[1]!;
  return id.split('.').slice(1).join('.') || id;
}
