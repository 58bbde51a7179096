#!/usr/bin/env node
/**
 * Does one thing to an SMP relay that no client does, and prints what the relay did as a JSON object:
 * `node abuse.mjs ADDRESS CASE [--version N] [--seconds N] [--limit N]`. Exit status 0 if the relay answers another client
 * afterwards, 1 if it does not, 64 on wrong use.
 */
import { createHash, randomBytes } from 'node:crypto';
import { realpathSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { keyPair, pad } from './box.mjs';
import { connect, describe, openTls, readBlocks, readHello } from './client.mjs';
import { acknowledge, newQueue, PING, send, SUB } from './commands.mjs';
import { concat, EMPTY, large, short, u16, u8 } from './encoding.mjs';
import { parseAddress } from './identity.mjs';
import { BLOCK_LENGTH, clientHello, CORR_ID_LENGTH, encodeBatch, encodeTransmission } from './protocol.mjs';
import { expect, Queue } from './walk/walk.mjs';

const VERSION = 19;
const SECONDS = 5;
const LIMIT = 1000;
const NEW_AT_ONCE = 20;

/** Each does its deed and returns what it counted; `connection` is past the hellos unless the case makes its own. */
const CASES = {
  'short-block': ({ connection }) => {
    connection.writeRaw(randomBytes(100));
    connection.transport.socket.end();
  },
  'wrong-length': ({ connection }) => connection.writePadded(concat(u16(0xffff), Buffer.alloc(connection.textLength - 2, '#'))),
  'garbage-block': ({ connection }) => connection.writeRaw(randomBytes(BLOCK_LENGTH)),
  'bad-padding': ({ connection }) => {
    const text = encodeBatch([transmission(connection)]);
    connection.writePadded(concat(u16(text.length), text, Buffer.alloc(connection.textLength - 2 - text.length)));
  },
  'wrong-session': ({ connection, address }) => {
    const key = newKey(connection);
    const session = { ...connection.session, sessionId: createHash('sha256').update('another session').digest() };
    connection.write(
      encodeBatch([
        encodeTransmission(session, {
          corrId: randomBytes(CORR_ID_LENGTH),
          entityId: EMPTY,
          command: newCommand(connection, address, key),
          key,
        }),
      ]),
    );
  },
  replay,
  'zero-count': ({ connection }) => connection.write(u8(0)),
  'lying-count': ({ connection }) => connection.write(concat(u8(2), large(transmission(connection)))),
  'trailing-bytes': ({ connection }) => connection.write(concat(encodeBatch([transmission(connection)]), randomBytes(10))),
  'lying-item': ({ connection }) => connection.write(concat(u8(1), u16(0xffff), transmission(connection))),
  'empty-item': ({ connection }) => connection.write(encodeBatch([EMPTY])),
  'odd-corr-id': ({ connection }) => connection.write(encodeBatch([transmission(connection, { corrId: randomBytes(5) })])),
  'long-authorization': ({ connection }) => {
    const service = connection.version >= 16 ? '0' : EMPTY;
    const session = connection.version < 7 ? short(connection.session.sessionId) : EMPTY;
    const body = concat(short(randomBytes(CORR_ID_LENGTH)), short(randomBytes(24)), SUB);
    connection.write(encodeBatch([concat(short(randomBytes(255)), service, session, body)]));
  },
  slow,
  'other-identity': hello(({ version, address }) => ({ version, keyHash: Buffer.from(address.keyHash).reverse() })),
  'wrong-version': hello(({ asked, offered, address }) => ({ version: asked ?? offered.max + 1, keyHash: address.keyHash })),
  'garbage-hello': hello(() => null),
  'no-handshake': Object.assign(() => ({}), { raw: true }),
  'flood-new': floodNew,
  pings: async ({ connection }) => {
    const answers = await connection.askAll(Array.from({ length: connection.version < 7 ? 240 : 255 }, () => ({ command: PING })));
    return { pongs: answers.filter(({ tag }) => tag === 'PONG').length };
  },
};

function transmission(connection, fields = {}) {
  return encodeTransmission(connection.session, { corrId: randomBytes(CORR_ID_LENGTH), entityId: EMPTY, command: PING, ...fields });
}

function newKey({ version }) {
  return keyPair(version < 7 ? 'ed25519' : 'x25519');
}

function newCommand({ version }, { password }, authKey) {
  return newQueue(version, { authKey, dhKey: keyPair('x25519'), password, subscribe: false, mode: 'C' });
}

/** A case that comes before the client's hello; `fields` says what that is, or null for bytes that are none. */
function hello(fields) {
  const run = ({ socket, ...about }) => {
    const said = fields(about);
    socket.write(said === null ? randomBytes(BLOCK_LENGTH) : pad(clientHello({ ...said, key: keyPair('x25519') }), BLOCK_LENGTH));
    return said === null ? {} : { version: said.version };
  };
  return Object.assign(run, { raw: true });
}

/** The same SEND, with the same correlation id, in two blocks; how often it was taken, and delivered. */
async function replay({ connection, address, observed }) {
  const queue = await Queue.create(connection, { password: address.password });
  const text = encodeBatch([transmission(connection, { entityId: queue.senderId, command: send('once') })]);
  connection.write(text);
  connection.write(text);
  let next = await connection.event('MSG', queue.id);
  // Its answer comes after those to both SENDs.
  expect(await connection.ask(PING), 'PONG');
  const taken = observed.filter(({ text: answer }) => answer === 'OK').length;
  let delivered = 0;
  for (; next.tag === 'MSG'; delivered += 1) next = await queue.ask(connection, acknowledge(next.msgId));
  return { taken, delivered };
}

/** A byte a second of a good block. */
async function slow({ connection, seconds }) {
  const { socket } = connection.transport;
  let bytesSent = 0;
  for (; bytesSent < seconds && !socket.destroyed; bytesSent += 1) {
    connection.writeRaw(randomBytes(1));
    await sleep(1000);
  }
  return { bytesSent };
}

async function floodNew({ connection, address, limit }) {
  const began = performance.now();
  let made = 0;
  let refused = null;
  while (made < limit && refused === null) {
    const commands = Array.from({ length: Math.min(NEW_AT_ONCE, limit - made) }, () => {
      const key = newKey(connection);
      return { command: newCommand(connection, address, key), key };
    });
    const answers = await connection.askAll(commands).catch((error) => [{ tag: 'closed', error: error.message }]);
    made += answers.filter(({ tag }) => tag === 'IDS').length;
    const refusal = answers.find(({ tag }) => tag !== 'IDS');
    if (refusal) refused = describe(refusal);
  }
  return { made, refused, milliseconds: Math.round(performance.now() - began) };
}

/**
 * @param {string} name one of CASES
 * @param {object} options `version` null leaves the choice to the case
 * @returns {Promise<object>} what is printed; `answers` are texts, in order, of what came in blocks of the session
 */
export async function abuse(address, name, { version = null, seconds = SECONDS, limit = LIMIT } = {}) {
  const observed = [];
  const about = { address, version: version ?? VERSION, asked: version, seconds, limit, observed };
  const report = CASES[name].raw ? await beforeHello(name, about) : await inSession(name, about);
  return { case: name, ...report, serves: await serves(address) };
}

async function inSession(name, about) {
  const { observed, version, seconds } = about;
  const connection = await connect(about.address, version, (answer) =>
    observed.push({ corrId: answer.corrId.length, text: describe(answer) }),
  );
  const end = watchEnd(connection.transport.socket);
  let counted;
  let failed = null;
  try {
    counted = await CASES[name]({ ...about, connection });
  } catch (error) {
    failed = error.message;
  }
  const over = await end(name === 'slow' ? 0 : seconds);
  connection.close();
  const broke = failed === null ? {} : { failed };
  return { version, answers: summed(observed), ...counted, ...broke, ...over };
}

async function beforeHello(name, about) {
  const { address, seconds, version } = about;
  const transport = await openTls(address, version < 7 ? null : undefined);
  const blocks = readBlocks(transport.socket);
  const offered = await readHello(blocks, transport, address);
  const end = watchEnd(transport.socket);
  const counted = await CASES[name]({ ...about, socket: transport.socket, offered });
  const over = await end(seconds);
  transport.socket.destroy();
  return { offered: [offered.min, offered.max], blocksThatCame: blocks.left.length, ...counted, ...over };
}

/** @returns {(seconds: number) => Promise<object>} whether the relay ends the connection within so many seconds more, and when it did */
function watchEnd(socket) {
  const began = performance.now();
  const closed = new Promise((resolve) => {
    const done = () => resolve({ closed: true, closedAfterMilliseconds: Math.round(performance.now() - began) });
    for (const event of ['end', 'close', 'error']) socket.once(event, done);
  });
  return async (seconds) => {
    const stop = new AbortController();
    const late = sleep(seconds * 1000, { closed: false, closedAfterMilliseconds: null }, { signal: stop.signal });
    const result = await Promise.race([closed, late.catch(() => null)]);
    stop.abort();
    return result;
  };
}

/** Equal answers one after the other are told once, with their number. */
function summed(observed) {
  const sums = [];
  for (const { corrId, text } of observed) {
    const last = sums.at(-1);
    if (last?.text === text && last.corrId === corrId) last.times += 1;
    else sums.push({ text, corrId, times: 1 });
  }
  return sums.map(({ text, corrId, times }) => ({ text, unasked: corrId === 0, times }));
}

async function serves(address) {
  try {
    const connection = await connect(address, VERSION);
    const { tag } = await connection.ask(PING);
    connection.close();
    return tag === 'PONG';
  } catch {
    return false;
  }
}

async function main(args) {
  let use;
  try {
    const options = { version: { type: 'string' }, seconds: { type: 'string' }, limit: { type: 'string' } };
    const {
      values,
      positionals: [address, name, ...more],
    } = parseArgs({ args, allowPositionals: true, options });
    if (name === undefined || more.length > 0 || !Object.hasOwn(CASES, name)) throw new Error('an address and a case are wanted');
    const numbers = Object.fromEntries(Object.entries(values).map(([option, text]) => [option, Number(text)]));
    if (!Object.values(numbers).every((number) => number >= 0)) throw new Error('no number');
    use = { address: parseAddress(address), name, numbers };
  } catch (error) {
    console.error(
      `${error.message}\nnode abuse.mjs ADDRESS CASE [--version N] [--seconds N] [--limit N]\ncases: ${Object.keys(CASES).join(', ')}`,
    );
    return 64;
  }
  const report = await abuse(use.address, use.name, use.numbers);
  console.log(JSON.stringify(report, null, 2));
  return report.serves ? 0 : 1;
}

export const CASE_NAMES = Object.keys(CASES);

if (process.argv[1] && realpathSync(process.argv[1]) === fileURLToPath(import.meta.url))
  process.exitCode = await main(process.argv.slice(2));
