// The sections of an application's form.

import { get, isObject, type Json, type Path } from '../lib/json.ts';
import { CheckField, Field, LinesField, ListField, NumberField, PairsField, Section, SelectField, TextField, useDraft } from '../parts/form.tsx';

export function AppForm({ isNew }: { isNew: boolean }) {
  const draft = useDraft();
  const definition = draft.definition.value;
  const networks = get(definition, ['networks', 0, 'mode']);
  const mode = typeof networks === 'string' ? networks.toLowerCase() : 'host';
  const image = isObject(definition.container) && isObject(definition.container.docker);
  return (
    <>
      <Section title="General" open keys={['id', 'cmd', 'instances', 'cpus', 'mem', 'disk', 'gpus']}>
        <TextField path={['id']} label="ID" mono placeholder="/team/name" disabled={!isNew} autofocus={isNew}
          hint={isNew ? 'Slashes make groups. It cannot be changed later.' : 'An id cannot be changed.'} />
        <TextField path={['cmd']} label="Command" mono lines={3} placeholder={image ? 'blank: what the image starts' : 'exec ./serve --port $PORT0'}
          hint={<>Run by a shell. <code>$PORT0</code>, <code>$PORT1</code> … are the ports it was given, <code>$HOST</code> its host.</>} />
        <div class="columns">
          <NumberField path={['instances']} label="Instances" placeholder="1" />
          <NumberField path={['cpus']} label="CPUs" placeholder="1" />
          <NumberField path={['mem']} label="Memory (MiB)" placeholder="128" />
          <NumberField path={['disk']} label="Disk (MiB)" placeholder="0" />
          <NumberField path={['gpus']} label="GPUs" placeholder="0" />
        </div>
      </Section>
      <Section title="Container" keys={['container']}><Container mode={mode} /></Section>
      <Section title="Ports" keys={['portDefinitions', 'requirePorts']}><Ports mode={mode} /></Section>
      <Section title="Environment variables" keys={['env']}><PairsField path={['env']} keyLabel="Name" valueLabel="Value" /></Section>
      <Section title="Labels" keys={['labels']}><PairsField path={['labels']} keyLabel="Label" valueLabel="Value" /></Section>
      <Section title="Health checks" keys={['healthChecks']}>
        <ListField path={['healthChecks']} one="Health check" fresh={{ protocol: 'HTTP', path: '/', portIndex: 0, gracePeriodSeconds: 300, intervalSeconds: 60, timeoutSeconds: 20, maxConsecutiveFailures: 3 }}>
          {(at, value) => <HealthCheck at={at} value={value} />}
        </ListField>
      </Section>
      <Section title="Volumes" keys={[]} open={volumes(definition).length > 0}>
        <ListField path={['container', 'volumes']} one="Volume" fresh={{ containerPath: 'data', mode: 'RW', persistent: { size: 100 } }}>
          {(at, value) => <Volume at={at} value={value} />}
        </ListField>
      </Section>
      <Section title="Upgrade and restart" keys={['upgradeStrategy', 'backoffSeconds', 'backoffFactor', 'maxLaunchDelaySeconds', 'killSelection', 'taskKillGracePeriodSeconds']}>
        <div class="columns">
          <NumberField path={['upgradeStrategy', 'minimumHealthCapacity']} label="Healthy at least" placeholder="1" hint="Share of the instances, 0 to 1" />
          <NumberField path={['upgradeStrategy', 'maximumOverCapacity']} label="Extra at most" placeholder="1" hint="Share of the instances, 0 to 1" />
          <NumberField path={['backoffSeconds']} label="Backoff (s)" placeholder="1" hint="Wait after a failure" />
          <NumberField path={['backoffFactor']} label="Backoff factor" placeholder="1.15" hint="Growth of the wait" />
          <NumberField path={['maxLaunchDelaySeconds']} label="Longest wait (s)" placeholder="300" />
          <NumberField path={['taskKillGracePeriodSeconds']} label="Kill grace period (s)" placeholder="3" />
          <SelectField path={['killSelection']} label="First to go" options={[['', 'the youngest'], ['YOUNGEST_FIRST', 'the youngest (set)'], ['OLDEST_FIRST', 'the oldest']]} />
        </div>
      </Section>
      <Section title="More" keys={['args', 'constraints', 'fetch', 'acceptedResourceRoles', 'dependencies', 'user', 'role', 'executor']}>
        <LinesField path={['args']} label="Arguments" hint="One a line, instead of a command: for the entry point of an image." />
        <LinesField path={['constraints']} label="Constraints" placeholder="hostname, UNIQUE" hint="One a line: field, operator, value."
          write={(it) => (Array.isArray(it) ? it.join(', ') : JSON.stringify(it))} read={(line) => line.split(',').map((it) => it.trim())} />
        <LinesField path={['fetch']} label="Files to fetch" placeholder="https://example.com/app.tar.gz" hint="One a line; archives are unpacked into the sandbox."
          write={(it) => (isObject(it) && Object.keys(it).length === 1 && typeof it.uri === 'string' ? it.uri : isObject(it) && isPlainFetch(it) ? String(it.uri) : JSON.stringify(it))}
          read={(line) => (line.startsWith('{') ? safe(line) : { uri: line })} />
        <LinesField path={['dependencies']} label="Depends on" placeholder="/db" hint="Ids of apps and groups, one a line, that are started before." />
        <LinesField path={['acceptedResourceRoles']} label="Accepted resource roles" placeholder="*" join=", " hint="Divided by commas." />
        <div class="columns">
          <TextField path={['user']} label="User" placeholder="the server's" />
          <TextField path={['role']} label="Role" placeholder="*" />
          <TextField path={['executor']} label="Executor" placeholder="//cmd" />
        </div>
      </Section>
    </>
  );
}

function volumes(definition: Json): Json[] {
  const list = get(definition, ['container', 'volumes']);
  return Array.isArray(list) ? list : [];
}

function isPlainFetch(it: { [key: string]: Json }): boolean {
  const { uri, extract, executable, cache, ...rest } = it;
  return typeof uri === 'string' && extract !== false && executable !== true && cache !== true && Object.keys(rest).length === 0;
}

function safe(line: string): Json {
  try {
    return JSON.parse(line) as Json;
  } catch {
    return { uri: line };
  }
}

function Container({ mode }: { mode: string }) {
  const draft = useDraft();
  const container = draft.definition.value.container;
  const docker = isObject(container) && isObject(container.docker) ? container.docker : undefined;
  const kind = !isObject(container) || (!docker && container.type !== 'DOCKER') ? '' : container.type === 'DOCKER' ? 'DOCKER' : 'MESOS';
  const change = (next: string) => {
    const rest: { [key: string]: Json } = isObject(container) && Array.isArray(container.volumes) ? { volumes: container.volumes } : {};
    if (next === '') {
      draft.update(['container'], Object.keys(rest).length > 0 ? { type: 'MESOS', ...rest } : undefined);
      if (mode !== 'host') draft.update(['networks'], undefined);
    } else {
      const keep = isObject(container) ? container : {};
      draft.update(['container'], { ...keep, type: next, docker: { image: '', ...(docker ?? {}) } });
    }
  };
  const network = (next: string) => {
    if (next === 'host') {
      draft.update(['networks'], [{ mode: 'host' }]);
      draft.update(['container', 'portMappings'], undefined);
    } else {
      draft.update(['networks'], [next === 'container' ? { mode: 'container', name: '' } : { mode: 'container/bridge' }]);
      draft.update(['portDefinitions'], undefined);
      draft.update(['requirePorts'], undefined);
      if (!Array.isArray(get(draft.definition.value, ['container', 'portMappings']))) draft.update(['container', 'portMappings'], [{ containerPort: 80, hostPort: 0, protocol: 'tcp' }]);
    }
  };
  return (
    <>
      <div class="columns">
        <Field path={['container', 'type']} label="Runs in">
          {({ id, invalid, describedBy }) => (
            <select id={id} value={kind} aria-invalid={invalid} aria-describedby={describedBy} onChange={(event) => change(event.currentTarget.value)}>
              <option value="">a plain process</option><option value="DOCKER">a Docker container</option><option value="MESOS">a container with an image, by Mesos (UCR)</option>
            </select>
          )}
        </Field>
        <Field path={['networks', 0, 'mode']} label="Network" deep>
          {({ id, invalid, describedBy }) => (
            <select id={id} value={mode} aria-invalid={invalid} aria-describedby={describedBy} onChange={(event) => network(event.currentTarget.value)}>
              <option value="host">of the host</option><option value="container/bridge">bridged</option><option value="container">a container network</option>
            </select>
          )}
        </Field>
      </div>
      {mode === 'container' && <TextField path={['networks', 0, 'name']} label="Name of the network" />}
      {kind !== '' && (
        <>
          <TextField path={['container', 'docker', 'image']} label="Image" mono placeholder="nginx:alpine" />
          <CheckField path={['container', 'docker', 'forcePullImage']} label="Pull the image at every launch" />
          {kind === 'DOCKER' && <CheckField path={['container', 'docker', 'privileged']} label="Extended privileges" />}
          {kind === 'DOCKER' && (
            <ListField path={['container', 'docker', 'parameters']} one="Parameter" fresh={{ key: '', value: '' }}>
              {(at) => <div class="columns"><TextField path={[...at, 'key']} label="Parameter" mono /><TextField path={[...at, 'value']} label="Value" mono /></div>}
            </ListField>
          )}
        </>
      )}
    </>
  );
}

const PROTOCOLS: [string, string][] = [['tcp', 'TCP'], ['udp', 'UDP'], ['udp,tcp', 'both']];

function Ports({ mode }: { mode: string }) {
  if (mode === 'host') {
    return (
      <>
        <ListField path={['portDefinitions']} one="Port" fresh={{ port: 0, protocol: 'tcp' }}>
          {(at) => (
            <div class="columns">
              <NumberField path={[...at, 'port']} label="Port" placeholder="0: any" />
              <SelectField path={[...at, 'protocol']} label="Protocol" options={PROTOCOLS} />
              <TextField path={[...at, 'name']} label="Name" placeholder="none" />
            </div>
          )}
        </ListField>
        <CheckField path={['requirePorts']} label="Exactly these ports on the host, not any free ones" />
      </>
    );
  }
  return (
    <ListField path={['container', 'portMappings']} one="Port" fresh={{ containerPort: 0, hostPort: 0, protocol: 'tcp' }}>
      {(at) => (
        <div class="columns">
          <NumberField path={[...at, 'containerPort']} label="In the container" placeholder="80" />
          <NumberField path={[...at, 'hostPort']} label="On the host" placeholder="0: any" />
          <NumberField path={[...at, 'servicePort']} label="Service port" placeholder="any" />
          <SelectField path={[...at, 'protocol']} label="Protocol" options={PROTOCOLS} />
          <TextField path={[...at, 'name']} label="Name" placeholder="none" />
        </div>
      )}
    </ListField>
  );
}

const CHECKS: [string, string][] = ['HTTP', 'HTTPS', 'TCP', 'COMMAND', 'MESOS_HTTP', 'MESOS_HTTPS', 'MESOS_TCP'].map((it) => [it, it]);

function HealthCheck({ at, value }: { at: Path; value: Json }) {
  const protocol = isObject(value) ? String(value.protocol ?? 'HTTP') : 'HTTP';
  return (
    <>
      <div class="columns">
        <SelectField path={[...at, 'protocol']} label="Protocol" options={CHECKS} />
        {protocol.includes('HTTP') && <TextField path={[...at, 'path']} label="Path" mono placeholder="/" />}
        {protocol !== 'COMMAND' && <NumberField path={[...at, 'portIndex']} label="Port index" placeholder="0" />}
        {protocol !== 'COMMAND' && <NumberField path={[...at, 'port']} label="or port" placeholder="by index" />}
      </div>
      {protocol === 'COMMAND' && <TextField path={[...at, 'command', 'value']} label="Command" mono placeholder="curl -f http://localhost:$PORT0/" />}
      <div class="columns">
        <NumberField path={[...at, 'gracePeriodSeconds']} label="Grace period (s)" placeholder="300" />
        <NumberField path={[...at, 'intervalSeconds']} label="Interval (s)" placeholder="60" />
        <NumberField path={[...at, 'timeoutSeconds']} label="Timeout (s)" placeholder="20" />
        <NumberField path={[...at, 'maxConsecutiveFailures']} label="Failures until killed" placeholder="3" />
      </div>
      {protocol === 'HTTP' && <CheckField path={[...at, 'ignoreHttp1xx']} label="Ignore answers 100 to 199" />}
    </>
  );
}

function Volume({ at, value }: { at: Path; value: Json }) {
  const draft = useDraft();
  const it = isObject(value) ? value : {};
  const kind = it.persistent !== undefined ? 'persistent' : it.external !== undefined ? 'external' : 'host';
  const change = (next: string) => {
    const base = { containerPath: it.containerPath ?? '', mode: it.mode ?? 'RW' };
    draft.update(at, next === 'persistent' ? { ...base, persistent: { size: 100 } } : next === 'external' ? { ...base, external: { name: '', provider: 'dvdi', options: { 'dvdi/driver': 'rexray' } } } : { ...base, hostPath: '' });
  };
  const id = `kind-${at.join('-')}`;
  return (
    <div class="columns">
      <div class="field">
        <label for={id}>Kind</label>
        <select id={id} value={kind} onChange={(event) => change(event.currentTarget.value)}>
          <option value="persistent">persistent, on the agent</option><option value="host">path of the host</option><option value="external">external</option>
        </select>
      </div>
      <TextField path={[...at, 'containerPath']} label="Path in the container" mono />
      {kind === 'host' && <TextField path={[...at, 'hostPath']} label="Path of the host" mono />}
      {kind === 'persistent' && <NumberField path={[...at, 'persistent', 'size']} label="Size (MiB)" />}
      {kind === 'external' && <TextField path={[...at, 'external', 'name']} label="Name" mono />}
      <SelectField path={[...at, 'mode']} label="Mode" options={[['RW', 'read and write'], ['RO', 'read only']]} />
    </div>
  );
}
