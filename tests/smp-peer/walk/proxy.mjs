/** Commands that reach a relay through another one. From v8 on. */
import { randomBytes } from 'node:crypto';
import { keyPair } from '../box.mjs';
import { describe, ProxiedRelay } from '../client.mjs';
import { acknowledge, LGET, linkSecure, proxySession, resolve, secure, send, senderSecure, setLink, SUB } from '../commands.mjs';
import { EMPTY } from '../encoding.mjs';
import { maxBody, SINCE } from '../protocol.mjs';
import { checkNamed } from './errors.mjs';
import { checkLink, createWithLink, linkParts } from './links.mjs';
import { ensure, expect, Queue } from './walk.mjs';

export async function proxy(walk) {
  if (!walk.proxy || !walk.has('proxy')) return;
  const alice = await walk.step('connection to the relay', () => walk.connect());
  const [bob, carol] = await walk.step('2 connections to the proxy', () =>
    Promise.all([1, 2].map(() => walk.connect(walk.version, walk.proxy))),
  );
  const relay = await walk.step('PRXY, PKEY', () => ProxiedRelay.request(bob, walk.address, walk.proxy.password));
  const version = Math.min(walk.version, relay.max);
  await walk.check('PKEY has a range of versions', () =>
    ensure(relay.min <= version && relay.max >= SINCE.proxy, `the range is ${relay.min} to ${relay.max}`),
  );
  await walk.check('one session for all clients', async () => {
    const other = await ProxiedRelay.request(carol, walk.address, walk.proxy.password);
    ensure(other.sessionId.equals(relay.sessionId), 'the second client got another session');
  });
  await forwarding(walk, { alice, relay, version });
  await walk.check('PFWD to no session: NO_SESSION', async () => {
    const answer = await relay.ask(send('x'), { version, entityId: randomBytes(24), sessionId: randomBytes(32) });
    ensure(answer.fromProxy === true, 'the relay behind answered');
    expect(answer, 'ERR PROXY NO_SESSION');
  });
  await refusals(walk, bob);
}

/** Queue, key and messages by way of the proxy. */
async function forwarding(walk, { alice, relay, version }) {
  const queue = await walk.step('NEW for forwarded messages', () => Queue.create(alice, { password: walk.address.password, mode: 'M' }));
  const key = keyPair('x25519');
  const forward = (command, options) => relay.ask(command, { version, entityId: queue.senderId, key, ...options });
  if (version >= SINCE.senderSecures) await walk.step('SKEY forwarded', async () => expect(await forward(senderSecure(key)), 'OK'));
  else await walk.step('KEY of the forwarding sender', async () => expect(await queue.ask(alice, secure(key)), 'OK'));
  await walk.step('SEND forwarded, x25519', async () => {
    expect(await forward(send('through the proxy', true)), 'OK');
    await receiveAndForget(queue, alice, 'through the proxy', true);
  });
  await walk.check('SEND of the longest body, forwarded', async () => {
    const body = randomBytes(maxBody(Math.max(version, SINCE.senderSecures)));
    expect(await forward(send(body)), 'OK');
    await receiveAndForget(queue, alice, body);
  });
  await walk.check('SEND forwarded with another key: AUTH', async () =>
    expect(await forward(send('x'), { key: keyPair('x25519') }), 'ERR AUTH'),
  );
  await walk.check('SEND forwarded, ed25519', async () => {
    const signing = keyPair('ed25519');
    const signed = await Queue.create(alice, { password: walk.address.password });
    expect(await signed.ask(alice, secure(signing)), 'OK');
    expect(await forward(send('signed'), { entityId: signed.senderId, key: signing }), 'OK');
    await signed.receive(alice, 'signed');
  });
  await walk.check('SUB forwarded: refused', async () => {
    const answer = await forward(SUB, { entityId: queue.id, key: queue.key });
    ensure(answer.tag === 'ERR', `${describe(answer)} came`);
  });
  if (version >= SINCE.links) {
    await walk.check('LGET forwarded', () => linkRead(walk, { alice, forward }));
    await walk.check('LKEY forwarded', () => linkSecured(walk, { alice, forward }));
  }
  if (version >= SINCE.names)
    await walk.check('RSLV forwarded', async () => checkNamed(await forward(resolve('nobody.testing'), { entityId: EMPTY, key: null })));
}

async function linkRead(walk, { alice, forward }) {
  const queue = await Queue.create(alice, { password: walk.address.password });
  const link = { linkId: randomBytes(24), ...linkParts() };
  expect(await queue.ask(alice, setLink(link)), 'OK');
  checkLink(await forward(LGET, { entityId: link.linkId, key: null }), link, queue.senderId);
}

async function linkSecured(walk, { alice, forward }) {
  const link = linkParts();
  const queue = await createWithLink(alice, { password: walk.address.password, mode: 'M', link });
  const key = keyPair('x25519');
  checkLink(await forward(linkSecure(key), { entityId: queue.ids.linkId, key }), link, queue.senderId);
  expect(await forward(send('by link'), { entityId: queue.senderId, key }), 'OK');
  await receiveAndForget(queue, alice, 'by link');
}

async function refusals(walk, bob) {
  await walk.check('PRXY to a relay with another identity: BROKER', async () => {
    const answer = await bob.ask(proxySession({ ...walk.address, keyHash: randomBytes(32) }, walk.proxy.password));
    ensure(/^PROXY BROKER /.test(answer.error ?? ''), `ERR PROXY BROKER should come, not ${describe(answer)}`);
  });
  if (walk.proxy.password === null) return;
  await walk.check('PRXY with a wrong password: BASIC_AUTH', async () => {
    expect(await bob.ask(proxySession(walk.address, 'wrong-password')), 'ERR PROXY BASIC_AUTH');
  });
}

async function receiveAndForget(queue, connection, body, notify = false) {
  const msgId = await queue.receive(connection, body, notify);
  expect(await queue.ask(connection, acknowledge(msgId)), 'OK');
}
