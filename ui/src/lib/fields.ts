// All fields of a definition in words, in the order in which people look for them.

import type { Json } from './json.ts';

/** `[name in the API, what people call it]`. What the API has beyond this list is shown under its own name. */
const NAMES: [string, string][] = [
  ['id', 'ID'], ['cmd', 'Command'], ['args', 'Arguments'], ['instances', 'Instances'], ['cpus', 'CPUs'], ['mem', 'Memory (MiB)'],
  ['disk', 'Disk (MiB)'], ['gpus', 'GPUs'], ['resourceLimits', 'Resource limits'], ['container', 'Container'], ['networks', 'Networks'],
  ['portDefinitions', 'Port definitions'], ['requirePorts', 'Fixed ports'], ['env', 'Environment'], ['secrets', 'Secrets'], ['labels', 'Labels'],
  ['healthChecks', 'Health checks'], ['check', 'Check'], ['readinessChecks', 'Readiness checks'], ['upgradeStrategy', 'Upgrade strategy'],
  ['unreachableStrategy', 'Unreachable strategy'], ['killSelection', 'Kill selection'], ['taskKillGracePeriodSeconds', 'Kill grace period (s)'],
  ['constraints', 'Constraints'], ['acceptedResourceRoles', 'Resource roles'], ['role', 'Role'], ['dependencies', 'Dependencies'],
  ['backoffSeconds', 'Backoff (s)'], ['backoffFactor', 'Backoff factor'], ['maxLaunchDelaySeconds', 'Longest launch delay (s)'],
  ['fetch', 'Fetched files'], ['user', 'User'], ['executor', 'Executor'], ['executorResources', 'Executor resources'], ['tty', 'Terminal'],
];

/** Told by the server, and no part of a definition. */
const COMPUTED = new Set(['version', 'versionInfo', 'tasks', 'tasksStaged', 'tasksRunning', 'tasksHealthy', 'tasksUnhealthy', 'deployments', 'lastTaskFailure', 'taskStats', 'tasksStats', 'readinessCheckResults']);

export function definitionOf(app: object): Record<string, Json> {
  return Object.fromEntries(Object.entries(app as Record<string, Json>).filter(([key]) => !COMPUTED.has(key)));
}

export interface FieldLine {
  name: string;
  value: string | undefined;
  block: boolean;
}

export function fieldLines(app: object): FieldLine[] {
  const definition = definitionOf(app);
  const known = new Set(NAMES.map(([key]) => key));
  const others = Object.keys(definition).filter((key) => !known.has(key)).map((key): [string, string] => [key, key]);
  return [...NAMES, ...others].map(([key, name]) => {
    const value = definition[key];
    const empty = value === undefined || value === null || value === '' || (Array.isArray(value) && value.length === 0)
      || (typeof value === 'object' && value !== null && !Array.isArray(value) && Object.keys(value).length === 0);
    if (empty) return { name, value: undefined, block: false };
    if (typeof value === 'object') return { name, value: lines(value), block: true };
    return { name, value: String(value), block: key === 'cmd' };
  });
}

/** A list of plain values one a line, a map as `key: value`; the rest as JSON. */
function lines(value: Json): string {
  const plain = (it: Json | undefined) => it === null || typeof it !== 'object';
  if (Array.isArray(value)) {
    if (value.every(plain)) return value.join('\n');
    if (value.every((it) => Array.isArray(it) && it.every(plain))) return value.map((it) => (it as Json[]).join(', ')).join('\n');
  } else if (typeof value === 'object' && value !== null && Object.values(value).every(plain)) {
    return Object.entries(value).map(([key, it]) => `${key}: ${String(it)}`).join('\n');
  }
  return JSON.stringify(value, null, 2);
}
