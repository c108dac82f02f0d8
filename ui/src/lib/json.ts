// Reading and changing a definition by path. A path is a list of keys and places: `['healthChecks', 0, 'path']`.

export type Json = null | boolean | number | string | Json[] | { [key: string]: Json };
export type JsonObject = { [key: string]: Json };
export type Path = readonly (string | number)[];

export function isObject(value: unknown): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

export function get(root: Json | undefined, path: Path): Json | undefined {
  let at: Json | undefined = root;
  for (const key of path) {
    if (typeof key === 'number') at = Array.isArray(at) ? at[key] : undefined;
    else at = isObject(at) ? at[key] : undefined;
  }
  return at;
}

/** A copy with one value set, or taken away where it is `undefined`; what is not on the path is shared. */
export function set(root: Json | undefined, path: Path, value: Json | undefined): Json {
  const [key, ...rest] = path;
  if (key === undefined) return value ?? null;
  if (typeof key === 'number') {
    const list = Array.isArray(root) ? [...root] : [];
    if (rest.length === 0 && value === undefined) list.splice(key, 1);
    else list[key] = set(list[key], rest, value);
    return list;
  }
  const object: JsonObject = isObject(root) ? { ...root } : {};
  if (rest.length === 0 && value === undefined) delete object[key];
  else object[key] = set(object[key], rest, value);
  return object;
}

/** Like `set`, and objects and lists on the way that became empty are taken away, too. */
export function put(root: Json, path: Path, value: Json | undefined): Json {
  let next = set(root, path, value);
  if (value !== undefined) return next;
  for (let length = path.length - 1; length > 0; length--) {
    const above = path.slice(0, length);
    const at = get(next, above);
    const empty = Array.isArray(at) ? at.length === 0 : isObject(at) && Object.keys(at).length === 0;
    if (!empty || typeof above.at(-1) === 'number') break;
    next = set(next, above, undefined);
  }
  return next;
}

export function text(value: unknown): string {
  return JSON.stringify(value, null, 2);
}

/** Where the parser stumbled, by line and column, from whatever form the browser's message has. */
export function parse(source: string): { value: Json } | { error: string } {
  try {
    return { value: JSON.parse(source) as Json };
  } catch (error) {
    const message = error instanceof Error ? error.message : String(error);
    const position = /position (\d+)/.exec(message);
    if (!position) return { error: message };
    const before = source.slice(0, Number(position[1])).split('\n');
    const where = `line ${before.length}, column ${(before.at(-1)?.length ?? 0) + 1}`;
    return { error: `${message.replace(/ ?(in JSON )?at position.*$/, '')} (${where})` };
  }
}

/** The server's `/healthChecks(0)/path` as a path of ours. */
export function pathOf(pointer: string): Path {
  const keys: (string | number)[] = [];
  for (const part of pointer.split('/')) {
    if (part === '') continue;
    const match = /^([^()]*)((?:\(\d+\))*)$/.exec(part);
    if (!match) {
      keys.push(part);
      continue;
    }
    if (match[1] !== '') keys.push(match[1]!);
    for (const at of match[2]!.matchAll(/\((\d+)\)/g)) keys.push(Number(at[1]));
  }
  return keys;
}

export function keyOf(path: Path): string {
  return path.join('.');
}
