/** Queues, messages and subscriptions: what every client does all day. */
import { randomBytes } from 'node:crypto';
import { keyPair } from '../box.mjs';
import { acknowledge, DEL, GET, OFF, PING, QUE, secure, send, senderSecure, SUB } from '../commands.mjs';
import { describe } from '../client.mjs';
import { maxBody } from '../protocol.mjs';
import { ensure, expect, Queue } from './walk.mjs';

/** TLS, the hellos and a ping. */
export async function transport(walk) {
  const connection = await walk.step('TLS, identity, hello', () => walk.connect());
  await walk.step('PING', async () => expect(await connection.ask(PING), 'PONG'));
  if (!walk.has('authenticators')) {
    const { min, max } = connection.hello;
    await walk.check('without ALPN v6 only', () => ensure(min === 6 && max === 6, `the range is ${min} to ${max}`));
  }
  await walk.check('no session tickets', () => {
    ensure(connection.transport.tickets === 0, `the relay offers to resume the TLS session (${connection.transport.tickets} tickets)`);
  });
}

/** A queue that its recipient secures, from the first unsecured message on. */
export async function recipientSecures(walk) {
  const [alice, bob] = await walk.connections(2);
  const { password } = walk.address;
  const queue = await walk.step('NEW, subscribed', () => Queue.create(alice, { password }));
  const first = await walk.step('SEND unsecured', () =>
    deliver(queue, { from: bob, to: alice, body: 'hello', notify: true, acknowledged: false }),
  );
  await walk.step('ACK', async () => expect(await queue.ask(alice, acknowledge(first)), 'OK'));
  await walk.check('ACK of a message that is gone: NO_MSG', async () => expect(await queue.ask(alice, acknowledge(first)), 'ERR NO_MSG'));
  const signing = keyPair('ed25519');
  await walk.step('KEY', async () => expect(await queue.ask(alice, secure(signing)), 'OK'));
  await walk.step('SEND secured, ed25519', () => deliver(queue, { from: bob, to: alice, body: 'signed', key: signing }));
  await walk.check('SEND without authorization to a secured queue: AUTH', async () => {
    expect(await bob.ask(send('no'), { entityId: queue.senderId }), 'ERR AUTH');
  });
  await walk.check('SEND with another key: AUTH', async () => {
    expect(await bob.ask(send('no'), { entityId: queue.senderId, key: keyPair('ed25519') }), 'ERR AUTH');
  });
  if (!walk.has('authenticators')) return;
  const other = await walk.step('NEW, authorised with ed25519', () => Queue.create(alice, { password, authKey: keyPair('ed25519') }));
  const key = keyPair('x25519');
  await walk.step('KEY, x25519', async () => expect(await other.ask(alice, secure(key)), 'OK'));
  await walk.step('SEND secured, x25519', () => deliver(other, { from: bob, to: alice, body: 'authenticated', key, notify: true }));
}

/** A queue that its sender secures, before the recipient is there. */
export async function senderSecures(walk) {
  if (!walk.has('senderSecures')) return;
  const [alice, bob] = await walk.connections(2);
  const { password } = walk.address;
  const queue = await walk.step('NEW, sender may secure', () => Queue.create(alice, { password, mode: 'M', subscribe: false }));
  await walk.check('IDS says that the sender may secure', () => ensure(queue.ids.mode === 'M', `the mode is ${queue.ids.mode}`));
  const key = keyPair('x25519');
  const asSender = (command, with_ = key) => bob.ask(command, { entityId: queue.senderId, key: with_ });
  await walk.step('SKEY', async () => expect(await asSender(senderSecure(key)), 'OK'));
  await walk.check('SKEY again', async () => expect(await asSender(senderSecure(key)), 'OK'));
  const other = keyPair('x25519');
  await walk.check('SKEY with another key: AUTH', async () => expect(await asSender(senderSecure(other), other), 'ERR AUTH'));
  await walk.step('SEND after SKEY', async () => expect(await asSender(send('secured', true)), 'OK'));
  await walk.step('SUB, the message waits', async () => {
    expect(await queue.ask(alice, SUB), walk.subscribed);
    expect(await queue.ask(alice, acknowledge(await queue.receive(alice, 'secured', true))), 'OK');
  });
  const contact = await walk.step('NEW, sender may not secure', () => Queue.create(alice, { password, mode: 'C' }));
  await walk.check('IDS says that the sender may not secure', () => ensure(contact.ids.mode === 'C', `the mode is ${contact.ids.mode}`));
  await walk.check('SKEY where the sender may not: AUTH', async () => {
    expect(await bob.ask(senderSecure(key), { entityId: contact.senderId, key }), 'ERR AUTH');
  });
}

/** Order, the longest body, and bodies of any bytes. */
export async function bodies(walk) {
  const [alice, bob] = await walk.connections(2);
  const queue = await walk.step('NEW for bodies', () => Queue.create(alice, { password: walk.address.password }));
  await walk.step('ACK brings the next message', async () => {
    const texts = ['one', 'two', 'three'];
    for (const text of texts) expect(await bob.ask(send(text), { entityId: queue.senderId }), 'OK');
    let msgId = await queue.receive(alice, texts[0]);
    for (const text of texts.slice(1)) msgId = queue.check(await queue.ask(alice, acknowledge(msgId)), text);
    expect(await queue.ask(alice, acknowledge(msgId)), 'OK');
  });
  await walk.check('SEND of an empty body', () => deliver(queue, { from: bob, to: alice, body: Buffer.alloc(0) }));
  // Documents differ about v8: 16064 is allowed and 16089 refused by all of them.
  const longest = Math.min(maxBody(walk.version), walk.version === 8 ? 16064 : Infinity);
  await walk.check(`SEND of the longest body, ${longest} bytes`, () =>
    deliver(queue, { from: bob, to: alice, body: randomBytes(longest) }),
  );
  const tooLong = maxBody(walk.version) + 1;
  await walk.check(`SEND of ${tooLong} bytes: LARGE_MSG`, async () => {
    expect(await bob.ask(send(Buffer.alloc(tooLong, 'A')), { entityId: queue.senderId }), 'ERR LARGE_MSG');
  });
}

/** One message without a subscription. */
export async function get(walk) {
  const [alice, bob] = await walk.connections(2);
  const queue = await walk.step('NEW, not subscribed', () => Queue.create(alice, { password: walk.address.password, subscribe: false }));
  await walk.step('GET from an empty queue', async () => expect(await queue.ask(alice, GET), 'OK'));
  const msgId = await walk.step('GET', async () => {
    expect(await bob.ask(send('got', true), { entityId: queue.senderId }), 'OK');
    return queue.check(await queue.ask(alice, GET), 'got', true);
  });
  await walk.step('ACK after GET', async () => expect(await queue.ask(alice, acknowledge(msgId)), 'OK'));
  await walk.check('GET after ACK', async () => expect(await queue.ask(alice, GET), 'OK'));
  await walk.check('SUB after GET: PROHIBITED', async () => expect(await queue.ask(alice, SUB), 'ERR CMD PROHIBITED'));
  await walk.check('GET after SUB: PROHIBITED', async () => {
    const subscribed = await Queue.create(alice, { password: walk.address.password });
    expect(await subscribed.ask(alice, GET), 'ERR CMD PROHIBITED');
  });
  await walk.check('GET delivers nothing unasked', () =>
    ensure(alice.unexpected.length === 0, `${describe(alice.unexpected[0] ?? {})} came unasked`),
  );
}

/** A queue that goes from one connection to another, is suspended, and deleted. */
export async function subscriptions(walk) {
  const [alice, bob, carol] = await walk.connections(3);
  const queue = await walk.step('NEW for two connections', () => Queue.create(alice, { password: walk.address.password }));
  const msgId = await walk.step('SEND to the first', () => deliver(queue, { from: bob, to: alice, body: 'keep me', acknowledged: false }));
  await walk.step('SUB by the second, the message comes again', async () => {
    expect(await queue.ask(carol, SUB), walk.subscribed);
    ensure((await queue.receive(carol, 'keep me')).equals(msgId), 'the message has another id now');
  });
  await walk.step('END for the first', () => alice.event('END', queue.id));
  await walk.check('SUB again by the second, the message comes again', async () => {
    expect(await queue.ask(carol, SUB), walk.subscribed);
    ensure((await queue.receive(carol, 'keep me')).equals(msgId), 'the message has another id now');
  });
  await walk.step('ACK by the second', async () => expect(await queue.ask(carol, acknowledge(msgId)), 'OK'));
  await walk.step('SEND to the second', () => deliver(queue, { from: bob, to: carol, body: 'moved' }));
  await walk.check('nothing for the first', async () => {
    expect(await alice.ask(PING), 'PONG');
    ensure(alice.unexpected.length === 0, `${describe(alice.unexpected[0] ?? {})} came`);
  });
  await walk.step('OFF', async () => expect(await queue.ask(carol, OFF), 'OK'));
  await walk.check('OFF again', async () => expect(await queue.ask(carol, OFF), 'OK'));
  await walk.check('SEND to a suspended queue: AUTH', async () =>
    expect(await bob.ask(send('no'), { entityId: queue.senderId }), 'ERR AUTH'),
  );
  await walk.step('DEL by the first', async () => expect(await queue.ask(alice, DEL), 'OK'));
  const event = walk.has('deleted') ? 'DELD' : 'END';
  await walk.check(`${event} for the second`, () => carol.event(event, queue.id));
  await walk.check('SUB to a deleted queue: AUTH', async () => expect(await queue.ask(alice, SUB), 'ERR AUTH'));
  await walk.check('SEND to a deleted queue: AUTH', async () =>
    expect(await bob.ask(send('no'), { entityId: queue.senderId }), 'ERR AUTH'),
  );
}

/** Many commands in one block. */
export async function batches(walk) {
  const [alice, bob, carol] = await walk.connections(3);
  const { password } = walk.address;
  const [one, two] = await walk.step('two NEW', async () => [
    await Queue.create(alice, { password }),
    await Queue.create(alice, { password, subscribe: false }),
  ]);
  await walk.step('a block of SUB, SUB and PING', async () => {
    const answers = await carol.askAll([...[one, two].map(({ id, key }) => ({ command: SUB, entityId: id, key })), { command: PING }]);
    answers.forEach((answer, index) => expect(answer, [walk.subscribed, walk.subscribed, 'PONG'][index]));
  });
  const sends = Math.min(20, walk.quota);
  await walk.step(`a block of ${sends} SEND, delivered in order`, async () => {
    const texts = Array.from({ length: sends }, (_, index) => `batched ${index}`);
    for (const answer of await bob.askAll(texts.map((text) => ({ command: send(text), entityId: two.senderId })))) expect(answer, 'OK');
    let msgId = await two.receive(carol, texts[0]);
    for (const text of texts.slice(1)) msgId = two.check(await two.ask(carol, acknowledge(msgId)), text);
    expect(await two.ask(carol, acknowledge(msgId)), 'OK');
  });
  await walk.step('a block of good and bad commands', async () => {
    const unknown = { command: Buffer.from('FOO') };
    const [a, b, c] = await bob.askAll([{ command: PING }, unknown, { command: send('still here'), entityId: two.senderId }]);
    [
      [a, 'PONG'],
      [b, 'ERR CMD UNKNOWN'],
      [c, 'OK'],
    ].forEach(([answer, wanted]) => expect(answer, wanted));
    await two.receive(carol, 'still here');
  });
  // With session ids in them, 255 do not fit.
  const count = walk.has('authenticators') ? 255 : 240;
  await walk.check(`a block of ${count} PING`, async () => {
    const answers = await bob.askAll(Array.from({ length: count }, () => ({ command: PING })));
    answers.forEach((answer) => expect(answer, 'PONG'));
  });
}

export async function queueInfo(walk) {
  const [alice, bob] = await walk.connections(2);
  const queue = await walk.step('NEW for QUE', () => Queue.create(alice, { password: walk.address.password }));
  await walk.step('QUE, empty', async () => checkInfo(await queue.ask(alice, QUE), { qiSnd: false, qiNtf: false, qiSize: 0 }));
  await walk.step('QUE, secured and with a message', async () => {
    await deliver(queue, { from: bob, to: alice, body: 'counted', acknowledged: false });
    expect(await queue.ask(alice, secure(keyPair('ed25519'))), 'OK');
    checkInfo(await queue.ask(alice, QUE), { qiSnd: true, qiNtf: false, qiSize: 1 });
  });
}

function checkInfo(answer, wanted) {
  const info = JSON.parse(expect(answer, 'INFO').text);
  for (const [name, value] of Object.entries(wanted)) ensure(info[name] === value, `${name} should be ${value}: ${answer.text}`);
  if (info.qiSub) ensure(['noSub', 'subPending', 'subThread', 'prohibitSub'].includes(info.qiSub.qSubThread), `qiSub: ${answer.text}`);
  if (info.qiMsg)
    ensure(['message', 'quota'].includes(info.qiMsg.msgType) && !Number.isNaN(Date.parse(info.qiMsg.msgTs)), `qiMsg: ${answer.text}`);
}

/** Sends a body and waits until the other side has it; `key` is the sender's. */
export async function deliver(queue, { from, to, body, key = null, notify = false, acknowledged = true }) {
  expect(await from.ask(send(body, notify), { entityId: queue.senderId, key }), 'OK');
  const msgId = await queue.receive(to, body, notify);
  if (acknowledged) expect(await queue.ask(to, acknowledge(msgId)), 'OK');
  return msgId;
}
