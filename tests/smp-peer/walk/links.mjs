/** Short links, and several recipient keys, which exist for them. From v15 on. */
import { createHash, randomBytes } from 'node:crypto';
import { keyPair } from '../box.mjs';
import { LDEL, LGET, linkSecure, recipientKeys, send, setLink, SUB } from '../commands.mjs';
import { CORR_ID_LENGTH } from '../protocol.mjs';
import { ensure, expect, Queue } from './walk.mjs';
import { deliver } from './messages.mjs';

/** As long as clients store it: a nonce and a box each. */
export function linkParts() {
  return { fixed: randomBytes(2048), user: randomBytes(13824) };
}

/** The link of a contact queue, set and changed after the queue was made. */
export async function contactLink(walk) {
  if (!walk.has('links')) return;
  const [alice, bob] = await walk.connections(2);
  const queue = await walk.step('NEW for a contact link', () => Queue.create(alice, { password: walk.address.password }));
  const link = { linkId: randomBytes(24), ...linkParts() };
  const read = () => bob.ask(LGET, { entityId: link.linkId });
  await walk.step('LSET', async () => expect(await queue.ask(alice, setLink(link)), 'OK'));
  await walk.step('LGET', async () => checkLink(await read(), link, queue.senderId));
  await walk.step('LSET of other user data', async () => {
    link.user = Buffer.from('changed');
    expect(await queue.ask(alice, setLink(link)), 'OK');
    checkLink(await read(), link, queue.senderId);
  });
  await walk.check('LSET of other fixed data: AUTH', async () => {
    expect(await queue.ask(alice, setLink({ ...link, fixed: Buffer.from('other') })), 'ERR AUTH');
    checkLink(await read(), link, queue.senderId);
  });
  await walk.check("SEND to the link's sender id", () => deliver(queue, { from: bob, to: alice, body: 'contact request' }));
  await walk.step('LDEL', async () => expect(await queue.ask(alice, LDEL), 'OK'));
  await walk.check('LGET of a deleted link: AUTH', async () => expect(await read(), 'ERR AUTH'));
}

/** Links that are made with their queues. */
export async function linksInNew(walk) {
  if (!walk.has('links')) return;
  const [alice, bob] = await walk.connections(2);
  const { password } = walk.address;
  const parts = linkParts();
  const contact = { ...parts, linkId: randomBytes(24) };
  const contactQueue = await walk.step('NEW with a contact link', () => createWithLink(alice, { password, mode: 'C', link: contact }));
  await walk.check('LGET of a link made by NEW', async () =>
    checkLink(await bob.ask(LGET, { entityId: contact.linkId }), parts, contactQueue.senderId),
  );
  const queue = await walk.step('NEW with a link for one sender', () => createWithLink(alice, { password, mode: 'M', link: parts }));
  const { linkId } = queue.ids;
  await walk.check('LGET of a link for one sender: AUTH', async () => expect(await bob.ask(LGET, { entityId: linkId }), 'ERR AUTH'));
  const key = keyPair('x25519');
  const secureBy = (ours) => bob.ask(linkSecure(ours), { entityId: linkId, key: ours });
  await walk.step('LKEY', async () => checkLink(await secureBy(key), parts, queue.senderId));
  await walk.check('LKEY again', async () => checkLink(await secureBy(key), parts, queue.senderId));
  await walk.check('LKEY with another key: AUTH', async () => expect(await secureBy(keyPair('x25519')), 'ERR AUTH'));
  await walk.step('SEND after LKEY', () => deliver(queue, { from: bob, to: alice, body: 'by link', key }));
  await walk.check('NEW with a sender id that is not from the correlation id: refused', async () => {
    const link = { ...parts, senderId: randomBytes(24) };
    const refused = await Queue.create(alice, { password, mode: 'M', link }).then(
      () => null,
      (error) => error,
    );
    ensure(refused?.message.startsWith('IDS should come, not ERR'), refused?.message ?? 'the relay took it');
  });
}

/** Several recipients of one contact queue. */
export async function recipients(walk) {
  if (!walk.has('links')) return;
  const [alice, bob, carol] = await walk.connections(3);
  const queue = await walk.step('NEW for RKEY', () => Queue.create(alice, { password: walk.address.password, subscribe: false }));
  const added = keyPair('ed25519');
  await walk.step('RKEY', async () => expect(await queue.ask(alice, recipientKeys([queue.key, added])), 'OK'));
  await walk.check('SUB with the added key', async () => {
    expect(await bob.ask(send('for two'), { entityId: queue.senderId }), 'OK');
    expect(await queue.ask(carol, SUB, added), walk.subscribed);
    await queue.receive(carol, 'for two');
  });
  await walk.check('SUB with a removed key: AUTH', async () => {
    expect(await queue.ask(alice, recipientKeys([added])), 'OK');
    expect(await queue.ask(alice, SUB), 'ERR AUTH');
  });
  await walk.check('RKEY where the sender may secure: AUTH', async () => {
    const messaging = await Queue.create(alice, { password: walk.address.password, mode: 'M' });
    expect(await messaging.ask(alice, recipientKeys([added])), 'ERR AUTH');
  });
}

/** The sender's id is made of the correlation id, so that nobody can try ids that others have. */
export async function createWithLink(connection, { link, ...options }) {
  const corrId = randomBytes(CORR_ID_LENGTH);
  const senderId = createHash('sha3-384').update(corrId).digest().subarray(0, 24);
  const queue = await Queue.create(connection, { ...options, corrId, link: { ...link, senderId } });
  ensure(queue.senderId.equals(senderId), 'the relay chose another sender id');
  ensure(queue.ids.linkId !== null, 'IDS has no link id');
  if (link.linkId) ensure(queue.ids.linkId.equals(link.linkId), 'IDS has another link id');
  return queue;
}

export function checkLink(answer, { fixed, user }, senderId) {
  expect(answer, 'LNK');
  ensure(answer.senderId.equals(senderId), 'the link leads to another sender id');
  ensure(answer.fixed.equals(fixed) && answer.user.equals(user), 'the link data came back changed');
}
