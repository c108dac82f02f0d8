// The interface of a follower, behind HAProxy, over tasks on Mesos: a real ZooKeeper, two instances, the simulated
// cluster with real processes.
import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { after, before, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { Browser, Program, Server, binary, freePort, listens, until } from './world.mjs';

const deploy = join(dirname(fileURLToPath(import.meta.url)), '../../../deploy');
const folder = mkdtempSync(join(tmpdir(), 'marathon-ui-several-'));
const programs = [];
let leader, follower, browser, front;

const started = async (...all) => programs.push(await new Program().start(...all));

async function zookeeper(port) {
  const config = join(folder, 'zoo.cfg');
  writeFileSync(config, [
    'tickTime=100', 'initLimit=100', 'syncLimit=50', `dataDir=${join(folder, 'zk')}`, `clientPort=${port}`,
    'clientPortAddress=127.0.0.1', 'admin.enableServer=false', 'minSessionTimeout=200', '',
  ].join('\n'));
  const jars = '/usr/share/java';
  await started('java', [
    '-Xmx128m', '-XX:+UseSerialGC', '-XX:TieredStopAtLevel=1', '-Dzookeeper.forceSync=no', '-cp', `${jars}/zookeeper.jar`,
    'org.apache.zookeeper.server.quorum.QuorumPeerMain', config,
  ], () => listens(port));
}

async function haproxy(port) {
  let text = readFileSync(join(deploy, 'haproxy/haproxy.cfg'), 'utf8').replace('bind :8080', `bind 127.0.0.1:${port}`);
  [leader, follower].forEach((it, at) => (text = text.replaceAll(`10.0.0.${at + 1}:8080`, `127.0.0.1:${it.port}`)));
  text = text.split('\n').filter((it) => !it.includes('10.0.0.3')).join('\n');
  const config = join(folder, 'haproxy.cfg');
  writeFileSync(config, text);
  await started('haproxy', ['-db', '-f', config], () => listens(port));
}

before(async () => {
  const [zk, mesos, port] = [await freePort(), await freePort(), await freePort()];
  await Promise.all([
    zookeeper(zk),
    started(join(dirname(binary()), 'mesos-sim'), ['--port', String(mesos), '--agents', '2', '--real', '--work-dir', join(folder, 'sim')], () => listens(mesos)),
  ]);
  const flags = ['--zk', `zk://127.0.0.1:${zk}/marathon`, '--zk_session_timeout', '1500'];
  leader = await new Server(flags, `127.0.0.1:${mesos}`).start();
  follower = await new Server(flags, `127.0.0.1:${mesos}`).start();
  const told = await until('somebody leads', () => follower.call('GET', '/v2/leader'));
  assert.equal(told.leader, `127.0.0.1:${leader.port}`);
  front = `http://127.0.0.1:${port}`;
  await haproxy(port);
  browser = await Browser.start();
});
after(async () => {
  await browser?.stop();
  await follower?.stop();
  rmSync(leader?.data ?? folder, { recursive: true, force: true });
  await Promise.all(programs.map((it) => it.stop()));
  rmSync(folder, { recursive: true, force: true });
});

test('everything works at a follower, logs on Mesos included', async () => {
  const page = await browser.page(`${follower.root}/ui/#/create`);
  await page.getByLabel('ID', { exact: true }).fill('/far');
  await page.getByLabel('Command').fill('for n in 1 2 3; do echo "line $n of far"; done; exec sleep 100000');
  await page.getByRole('button', { name: 'Create application' }).click();
  await page.waitForURL(/%2Ffar$/);
  await page.locator('.app-state', { hasText: '1 of 1' }).waitFor();
  await page.getByRole('link', { name: 'stdout' }).first().click();
  await page.locator('.log-text', { hasText: 'line 3 of far' }).waitFor();
  await page.goto(`${follower.root}/ui/#/cluster`);
  await page.getByText('127.1.0.1').first().waitFor();
  // Live as well: what another client changes at the leader is seen here.
  await page.goto(`${follower.root}/ui/#/apps/%2Ffar`);
  await page.locator('.app-state', { hasText: '1 of 1' }).waitFor();
  await leader.settled();
  await leader.call('PUT', '/v2/apps/far', { instances: 2 });
  await page.locator('.app-state', { hasText: '2 of 2' }).waitFor();
  assert.deepEqual(page.problems, []);
  await page.close();
});

test('behind HAProxy it outlives the leader', async () => {
  const page = await browser.page(`${front}/ui/#/apps/%2Ffar`);
  await page.locator('.app-state', { hasText: '2 of 2' }).waitFor();
  await leader.settled();
  await leader.kill();
  await until('the other one leads', async () => (await follower.call('GET', '/v2/leader')).leader === `127.0.0.1:${follower.port}`);
  // What happens now is seen without a reload: the stream has found the new leader by itself.
  await until('it can be changed', async () => follower.call('PUT', '/v2/apps/far', { instances: 1 }));
  await page.locator('.app-state', { hasText: '1 of 1' }).waitFor();
  await follower.settled();
  await page.getByRole('button', { name: 'Scale' }).click();
  await page.getByRole('dialog').getByLabel('Instances').fill('3');
  await page.getByRole('dialog').getByRole('button', { name: 'Scale' }).click();
  await page.locator('.app-state', { hasText: '3 of 3' }).waitFor();
  assert.deepEqual(page.problems, []);
});
