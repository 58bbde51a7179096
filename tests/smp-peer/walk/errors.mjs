/** What a relay refuses, and how it says so; and what a full queue does. */
import { randomBytes } from 'node:crypto';
import { keyPair } from '../box.mjs';
import { acknowledge, newQueue, openMessage, PING, resolve, send, SUB } from '../commands.mjs';
import { describe } from '../client.mjs';
import { CORR_ID_LENGTH, encodeBatch, encodeTransmission } from '../protocol.mjs';
import { EMPTY } from '../encoding.mjs';
import { checkTime, ensure, expect, Queue } from './walk.mjs';

const QUOTA_BLOCK = 100;
const MAX_QUOTA = 2000;

export async function errors(walk) {
  const [alice, bob] = await walk.connections(2);
  const { password } = walk.address;
  const queue = await walk.step('NEW to be refused', () => Queue.create(alice, { password }));
  const cases = [
    ['CMD UNKNOWN', 'an unknown command', () => bob.ask(Buffer.from('FOO'))],
    ['CMD SYNTAX', 'KEY without a key', () => queue.ask(alice, Buffer.from('KEY x'))],
    ['CMD SYNTAX', 'SEND with a flag that is none', () => bob.ask(Buffer.from('SEND X x'), { entityId: queue.senderId })],
    ['CMD NO_AUTH', 'SUB without authorization', () => queue.ask(alice, SUB, null)],
    ['CMD NO_AUTH', 'NEW without authorization', () => bob.ask(newCommand(walk, password))],
    ['CMD HAS_AUTH', 'PING with authorization', () => alice.ask(PING, { key: queue.key })],
    ['CMD NO_ENTITY', 'SEND without a queue', () => bob.ask(send('x'))],
    ['AUTH', 'SUB with another key', () => queue.ask(alice, SUB, keyPair(walk.keyKind))],
    ['AUTH', 'SUB with an ed25519 key', () => queue.ask(alice, SUB, keyPair('ed25519'))],
    ['AUTH', 'SUB to a queue that does not exist', () => alice.ask(SUB, { entityId: randomBytes(24), key: queue.key })],
    ['AUTH', "SUB with the sender's id", () => alice.ask(SUB, { entityId: queue.senderId, key: queue.key })],
    ['AUTH', "SEND with the recipient's id", () => bob.ask(send('x'), { entityId: queue.id })],
    ['AUTH', 'SEND to a queue that does not exist', () => bob.ask(send('x'), { entityId: randomBytes(24) })],
    [
      'AUTH',
      'SEND with authorization to an unsecured queue',
      () => bob.ask(send('x'), { entityId: queue.senderId, key: keyPair(walk.keyKind) }),
    ],
  ];
  for (const [error, name, ask] of cases) await walk.check(`${name}: ${error}`, async () => expect(await ask(), `ERR ${error}`));
  if (password !== null) await passwords(walk, alice);
  if (!walk.has('authenticators')) await walk.check('another session id: SESSION', () => otherSession(bob));
  await walk.check('the queue still works', async () => {
    expect(await bob.ask(send('still here'), { entityId: queue.senderId }), 'OK');
    await queue.receive(alice, 'still here');
  });
}

async function passwords(walk, connection) {
  for (const [name, password] of [
    ['a wrong password', 'wrong-password'],
    ['no password', null],
  ]) {
    await walk.check(`NEW with ${name}: AUTH`, async () => {
      const key = keyPair(walk.keyKind);
      expect(await connection.ask(newCommand(walk, password, key), { key }), 'ERR AUTH');
    });
  }
}

function newCommand(walk, password, authKey = keyPair(walk.keyKind)) {
  return newQueue(walk.version, { authKey, dhKey: keyPair('x25519'), password, subscribe: false, mode: 'C' });
}

/** Below v7 the session id is on the wire. */
async function otherSession(connection) {
  const item = { corrId: randomBytes(CORR_ID_LENGTH), entityId: EMPTY, command: PING };
  const answer = connection.expectAnswer(item);
  connection.write(encodeBatch([encodeTransmission({ ...connection.session, sessionId: randomBytes(32) }, item)]));
  expect(await answer, 'ERR SESSION');
}

/** A queue takes so many messages, then none until it was emptied, and its recipient is told. */
export async function quota(walk) {
  const [alice, bob] = await walk.connections(2);
  const queue = await walk.step('NEW to be filled', () => Queue.create(alice, { password: walk.address.password, subscribe: false }));
  const sendOne = (text) => bob.ask(send(text), { entityId: queue.senderId });
  const taken = await walk.step('SEND until QUOTA', () => fill(bob, queue));
  await walk.check(`QUOTA after ${walk.quota} messages`, () => ensure(taken === walk.quota, `it came after ${taken}`));
  let msgId = await walk.step('SUB to the full queue', async () => {
    expect(await queue.ask(alice, SUB), walk.subscribed);
    return queue.receive(alice, 'm1');
  });
  await walk.step('SEND while messages are left: QUOTA', async () => {
    msgId = queue.check(await queue.ask(alice, acknowledge(msgId)), 'm2');
    expect(await sendOne('no'), 'ERR QUOTA');
  });
  await walk.step('all messages in order', async () => {
    for (let number = 3; number <= taken; number += 1) msgId = queue.check(await queue.ask(alice, acknowledge(msgId)), `m${number}`);
  });
  await walk.step('the quota marker after the last', async () => {
    const answer = expect(await queue.ask(alice, acknowledge(msgId)), 'MSG');
    const marker = openMessage(queue.secret, answer);
    ensure(marker.quota, 'the message is not the quota marker');
    checkTime(marker.seconds);
    expect(await queue.ask(alice, acknowledge(answer.msgId)), 'OK');
  });
  await walk.check('SEND to the emptied queue', async () => {
    expect(await sendOne('again'), 'OK');
    await queue.receive(alice, 'again');
  });
}

/** @returns {Promise<number>} how many the queue took */
async function fill(connection, queue) {
  for (let sent = 0; sent < MAX_QUOTA; sent += QUOTA_BLOCK) {
    const block = Array.from({ length: QUOTA_BLOCK }, (_, index) => ({ command: send(`m${sent + index + 1}`), entityId: queue.senderId }));
    const answers = await connection.askAll(block);
    const refused = answers.findIndex(({ tag }) => tag !== 'OK');
    if (refused < 0) continue;
    answers.slice(refused).forEach((answer) => expect(answer, 'ERR QUOTA'));
    return sent + refused;
  }
  throw new Error(`the queue took ${MAX_QUOTA} messages`);
}

/** Public names, which this relay need not resolve. From v20 on. */
export async function names(walk) {
  if (!walk.has('names')) return;
  const [alice] = await walk.connections(1);
  await walk.check('RSLV is answered', async () => checkNamed(await alice.ask(resolve('nobody.testing'))));
}

export function checkNamed(answer) {
  const named = answer.tag === 'RNAME' || /^NAME (NOT_FOUND|NO_RESOLVER|RESOLVER .*)$/.test(answer.error ?? '');
  ensure(named, `RNAME or ERR NAME should come, not ${describe(answer)}`);
}
