/** Notifications of messages, to a server that may not read them. */
import { agree, keyPair } from '../box.mjs';
import { acknowledge, enableNotifications, NDEL, NSUB, openNotification, PING, send, SUB } from '../commands.mjs';
import { checkId, checkTime, ensure, expect, Queue } from './walk.mjs';
import { deliver } from './messages.mjs';

export async function notifications(walk) {
  const [alice, bob, server] = await walk.connections(3);
  const queue = await walk.step('NEW for notifications', () => Queue.create(alice, { password: walk.address.password }));
  const keys = newKeys(walk);
  const notifier = await walk.step('NKEY', async () => {
    const { notifierId, dhKey } = expect(await queue.ask(alice, enableNotifications(keys)), 'NID');
    checkId(notifierId, 'notifier');
    return { id: notifierId, secret: agree(keys.dhKey, dhKey) };
  });
  const asNotifier = (connection, key = keys.authKey) => connection.ask(NSUB, { entityId: notifier.id, key });
  await walk.check('NSUB with another key: AUTH', async () => expect(await asNotifier(server, newKeys(walk).authKey), 'ERR AUTH'));
  await walk.step('NSUB', async () => expect(await asNotifier(server), walk.subscribed));
  await walk.step('NMSG', () => checkNotified(queue, notifier, { from: bob, to: alice, server }));
  await walk.check('no NMSG without the flag', async () => {
    await deliver(queue, { from: bob, to: alice, body: 'quietly' });
    expect(await server.ask(PING), 'PONG');
    ensure(server.unexpected.length === 0, 'something came');
  });
  await walk.check('NSUB by another connection: END for the first', async () => {
    const other = await walk.connect();
    expect(await asNotifier(other), walk.subscribed);
    await server.event('END', notifier.id);
  });
  await walk.step('NDEL', async () => expect(await queue.ask(alice, NDEL), 'OK'));
  await walk.check('NSUB after NDEL: AUTH', async () => expect(await asNotifier(server), 'ERR AUTH'));
}

/** The message was there before the notifier. */
export async function lateNotifier(walk) {
  const [alice, bob, server] = await walk.connections(3);
  const queue = await walk.step('NEW for a late notifier', () =>
    Queue.create(alice, { password: walk.address.password, subscribe: false }),
  );
  const keys = newKeys(walk);
  await walk.check('NMSG of a message from before NSUB', async () => {
    const { notifierId, dhKey } = expect(await queue.ask(alice, enableNotifications(keys)), 'NID');
    expect(await bob.ask(send('early', true), { entityId: queue.senderId }), 'OK');
    expect(await server.ask(NSUB, { entityId: notifierId, key: keys.authKey }), walk.subscribed);
    const { msgId } = openNotification(agree(keys.dhKey, dhKey), await server.event('NMSG', notifierId));
    expect(await queue.ask(alice, SUB), walk.subscribed);
    ensure((await queue.receive(alice, 'early', true)).equals(msgId), 'the notification names another message');
  });
}

/** Notifier keys that come with NEW. From v17 on. */
export async function notifierInNew(walk) {
  if (!walk.has('notifierInNew')) return;
  const [alice, bob, server] = await walk.connections(3);
  const keys = newKeys(walk);
  const queue = await walk.step('NEW with a notifier', () => Queue.create(alice, { password: walk.address.password, notifier: keys }));
  await walk.check('NMSG to a notifier of NEW', async () => {
    ensure(queue.ids.notifier !== null, 'IDS has no notifier id');
    const notifier = { id: queue.ids.notifier.id, secret: agree(keys.dhKey, queue.ids.notifier.dhKey) };
    expect(await server.ask(NSUB, { entityId: notifier.id, key: keys.authKey }), walk.subscribed);
    await checkNotified(queue, notifier, { from: bob, to: alice, server });
  });
}

function newKeys(walk) {
  return { authKey: keyPair(walk.keyKind), dhKey: keyPair('x25519') };
}

async function checkNotified(queue, notifier, { from, to, server }) {
  const msgId = await deliver(queue, { from, to, body: 'wake up', notify: true, acknowledged: false });
  const told = openNotification(notifier.secret, await server.event('NMSG', notifier.id));
  ensure(told.msgId.equals(msgId), 'the notification names another message');
  checkTime(told.seconds);
  expect(await queue.ask(to, acknowledge(msgId)), 'OK');
}
