/** A client's connection to a relay: TLS, the hellos, commands and their answers, and what a relay sends unasked. */
import { randomBytes } from 'node:crypto';
import { isIP } from 'node:net';
import tls from 'node:tls';
import { agree, keyPair, open, pad, ProtocolError, reversed, seal, unpad } from './box.mjs';
import { parseAnswer, proxyForward, proxySession } from './commands.mjs';
import { EMPTY } from './encoding.mjs';
import { checkChain, sessionKey } from './identity.mjs';
import { Mailbox } from './mailbox.mjs';
import {
  BLOCK_LENGTH,
  clientHello,
  CORR_ID_LENGTH,
  decodeBatch,
  decodeTransmission,
  Direction,
  encodeBatch,
  encodeTransmission,
  firstChains,
  parseServerHello,
  SINCE,
} from './protocol.mjs';

/** Seconds that a relay may take for any answer. */
export const ANSWER_SECONDS = 10;
/** Seconds until END, DELD and NMSG: relays collect these for some time. */
export const EVENT_SECONDS = 25;
const FORWARDED_LENGTH = 16226;
const ALPN = 'smp/1';

/**
 * Opens TLS as the protocol wants it, and nothing else than that.
 *
 * @param {string|null} alpn null asks for v6
 * @returns {Promise<{socket: tls.TLSSocket, sessionId: Buffer, chain: Buffer[], tickets: number}>} `chain` as TLS shows it, leaf first;
 *   `tickets` grows as the relay offers to resume the session
 */
export function openTls({ hosts: [host], port, keyHash }, alpn = ALPN) {
  return new Promise((resolve, reject) => {
    const options = {
      host,
      port,
      servername: isIP(host) ? '' : host,
      ALPNProtocols: alpn === null ? undefined : [alpn],
      rejectUnauthorized: false,
      minVersion: 'TLSv1.3',
      maxVersion: 'TLSv1.3',
      ciphers: 'TLS_CHACHA20_POLY1305_SHA256',
      ecdhCurve: 'X25519',
      sigalgs: 'ed25519:ed448',
    };
    const transport = { socket: tls.connect(options), sessionId: EMPTY, chain: [], tickets: 0 };
    const { socket } = transport;
    const timer = setTimeout(() => socket.destroy(new Error(`no TLS connection within ${ANSWER_SECONDS} s`)), ANSWER_SECONDS * 1000);
    socket.setNoDelay(true);
    socket.on('session', () => (transport.tickets += 1));
    socket.once('error', reject);
    socket.once('close', () => {
      clearTimeout(timer);
      reject(new Error('the relay closed the connection during the TLS handshake'));
    });
    socket.once('secureConnect', () => {
      clearTimeout(timer);
      try {
        transport.sessionId = socket.getFinished();
        transport.chain = shownChain(socket);
        checkChain(transport.chain, keyHash);
        if ((socket.alpnProtocol || null) !== alpn) throw new ProtocolError(`the relay chose ALPN ${socket.alpnProtocol}, not ${alpn}`);
        resolve(transport);
      } catch (error) {
        socket.destroy();
        reject(error);
      }
    });
  });
}

function shownChain(socket) {
  const chain = [];
  for (let certificate = socket.getPeerX509Certificate(); certificate && chain.length < 9; certificate = certificate.issuerCertificate) {
    if (chain.at(-1)?.equals(certificate.raw)) break;
    chain.push(certificate.raw);
  }
  return chain;
}

/** Puts whole blocks of a socket into `blocks`, which closes as the socket does. */
export function readBlocks(socket) {
  const blocks = new Mailbox();
  let parts = [];
  let length = 0;
  socket.on('data', (bytes) => {
    parts.push(bytes);
    length += bytes.length;
    if (length < BLOCK_LENGTH) return;
    const all = Buffer.concat(parts);
    const end = length - (length % BLOCK_LENGTH);
    parts = [all.subarray(end)];
    length -= end;
    for (let at = 0; at < end; at += BLOCK_LENGTH) blocks.put(all.subarray(at, at + BLOCK_LENGTH));
  });
  let reason = 'closed by the relay';
  socket.on('error', (error) => (reason = error.code ?? error.message));
  socket.on('close', () =>
    blocks.close(new Error(`the connection is over (${reason}${length > 0 ? `, in the middle of a block, after ${length} bytes` : ''})`)),
  );
  return blocks;
}

/**
 * Reads the relay's hello and checks it against TLS and the address.
 *
 * @returns {Promise<object>} the hello, with `serverKey` (null for a relay of v6)
 */
export async function readHello(blocks, { sessionId, chain }, { keyHash }) {
  const hello = parseServerHello(unpad(await blocks.take(() => true, ANSWER_SECONDS, 'hello'), 'hello'));
  if (!hello.sessionId.equals(sessionId)) throw new ProtocolError("the session id is not the client's TLS Finished");
  if (hello.min > hello.max) throw new ProtocolError(`the version range is ${hello.min} to ${hello.max}`);
  if (hello.signedKey === null) return { ...hello, serverKey: null };
  checkChain(hello.chain, keyHash);
  if (!hello.chain[0].equals(chain[0])) throw new ProtocolError('the leaf certificate of the hello is not that of TLS');
  return { ...hello, serverKey: sessionKey(hello.signedKey, hello.chain[0]) };
}

/**
 * Connects and agrees on a version.
 *
 * @param {number} version 6 goes without ALPN, as its clients do
 * @param {((answer: object) => void)|null} [observe] hears everything that comes; answers to nothing are then no error
 */
export async function connect(address, version, observe = null) {
  const transport = await openTls(address, version < SINCE.authenticators ? null : ALPN);
  const { socket } = transport;
  try {
    const blocks = readBlocks(socket);
    const hello = await readHello(blocks, transport, address);
    if (version < hello.min || version > hello.max)
      throw new ProtocolError(`version ${version} is not offered, the range is ${hello.min} to ${hello.max}`);
    const key = keyPair('x25519');
    socket.write(pad(clientHello({ version, keyHash: address.keyHash, key }), BLOCK_LENGTH));
    return new Connection({ transport, blocks, hello, version, key, observe });
  } catch (error) {
    socket.destroy();
    throw error;
  }
}

export class Connection {
  #outgoing;
  #incoming;
  #pending = new Map();
  #events = new Mailbox();
  #observe;
  #error = null;

  constructor({ transport, blocks, hello, version, key, observe }) {
    Object.assign(this, { transport, hello, version });
    /** What authorises commands: the session of encodeTransmission. */
    this.session = { version, sessionId: hello.sessionId, serverKey: hello.serverKey };
    const chains =
      version >= SINCE.blockEncryption ? firstChains(hello.sessionId, agree(key, hello.serverKey)) : { toServer: null, toClient: null };
    this.#outgoing = new Direction(chains.toServer);
    this.#incoming = new Direction(chains.toClient);
    this.#observe = observe;
    this.#receive(blocks);
  }

  /**
   * Sends commands in one block.
   *
   * @param {{command: Buffer, entityId?: Buffer, key?: object|null, corrId?: Buffer}[]} commands
   * @returns {Promise<object[]>} their answers in the order of the commands, as parseAnswer gives them
   */
  askAll(commands) {
    const sent = commands.map((command) => ({ corrId: randomBytes(CORR_ID_LENGTH), entityId: EMPTY, key: null, ...command }));
    const block = this.#outgoing.wrap(encodeBatch(sent.map((item) => encodeTransmission(this.session, item))));
    const answers = Promise.all(sent.map((item) => this.expectAnswer(item)));
    this.writeRaw(block);
    return answers;
  }

  async ask(command, { entityId = EMPTY, key = null, corrId = randomBytes(CORR_ID_LENGTH) } = {}) {
    return (await this.askAll([{ command, entityId, key, corrId }]))[0];
  }

  /** Something that the relay sends unasked, by its tag and entity. */
  event(tag, entityId, seconds = tag === 'MSG' ? ANSWER_SECONDS : EVENT_SECONDS) {
    return this.#events.take((answer) => answer.tag === tag && answer.entityId.equals(entityId), seconds, tag);
  }

  /** What came unasked and nobody waited for. */
  get unexpected() {
    return this.#events.left;
  }

  /** Resolves once the connection is over, whoever ended it; to the reason. */
  get over() {
    return this.#events.take(() => false, 2 ** 20, 'end').catch((error) => error.message);
  }

  /** A block with this text; from here on the caller answers for what it says. */
  write(text) {
    this.writeRaw(this.#outgoing.wrap(text));
  }

  /** A block whose text is padded already. */
  writePadded(padded) {
    this.writeRaw(this.#outgoing.protect(padded));
  }

  get textLength() {
    return this.#outgoing.textLength;
  }

  writeRaw(bytes) {
    this.transport.socket.write(bytes);
  }

  close() {
    this.transport.socket.destroy();
  }

  /** The answer to a command that goes, or went, by another way. */
  expectAnswer({ corrId, command, entityId }) {
    const answer = new Mailbox();
    const what = `answer to ${String(command).split(' ')[0].slice(0, 8)}`;
    if (this.#error) answer.close(noAnswer(what, this.#error));
    else this.#pending.set(corrId.toString('hex'), { answer, entityId, what });
    return answer.take(() => true, ANSWER_SECONDS, what);
  }

  async #receive(blocks) {
    try {
      for (;;) {
        const text = this.#incoming.unwrap(await blocks.take(() => true, 2 ** 20, 'block'));
        const answers = decodeBatch(text).map((item) => this.#decode(item));
        for (const answer of answers) this.#deliver(answer);
      }
    } catch (error) {
      this.#end(error instanceof ProtocolError ? new ProtocolError(`the relay broke the protocol: ${error.message}`) : error);
    }
  }

  #decode(item) {
    const { corrId, entityId, body } = decodeTransmission(this.session, item);
    return { corrId, entityId, ...parseAnswer(this.version, body) };
  }

  #deliver(answer) {
    this.#observe?.(answer);
    if (answer.corrId.length === 0) {
      this.#events.put(answer);
      return;
    }
    const id = answer.corrId.toString('hex');
    const pending = this.#pending.get(id);
    if (!pending && this.#observe) return;
    if (!pending) throw new ProtocolError(`${describe(answer)} answers no command`);
    if (!answer.entityId.equals(pending.entityId))
      throw new ProtocolError(`the ${pending.what}, ${describe(answer)}, has another entity id`);
    this.#pending.delete(id);
    pending.answer.put(answer);
  }

  #end(error) {
    this.#error = error;
    this.transport.socket.destroy();
    this.#events.close(error);
    for (const { answer, what } of this.#pending.values()) answer.close(noAnswer(what, error));
  }
}

/** The way to another relay through the one that `connection` leads to. */
export class ProxiedRelay {
  #connection;

  /** Asks for it and checks what the relay behind signed; `session` is an answer PKEY, or made of one. */
  static async request(connection, address, password) {
    const answer = await connection.ask(proxySession(address, password));
    if (answer.tag !== 'PKEY') throw new Error(`PKEY should come, not ${describe(answer)}`);
    return new ProxiedRelay(connection, address, answer);
  }

  constructor(connection, { keyHash }, { sessionId, min, max, chain, signedKey }) {
    checkChain(chain, keyHash);
    this.#connection = connection;
    Object.assign(this, { sessionId, min, max, serverKey: sessionKey(signedKey, chain[0]) });
  }

  /**
   * @param {object} [options] `key` and `entityId` as for Connection.ask, `version` that of the command inside
   * @returns {Promise<object>} the answer of the relay behind; that of the proxy, with `fromProxy`, if it is not PRES
   */
  async ask(command, { entityId = EMPTY, key = null, version = this.max, sessionId = this.sessionId } = {}) {
    const corrId = randomBytes(CORR_ID_LENGTH);
    const inner = { version, sessionId: this.sessionId, serverKey: this.serverKey };
    const block = encodeBatch([encodeTransmission(inner, { corrId, entityId, command, key })]);
    const commandKey = keyPair('x25519');
    const secret = agree(commandKey, this.serverKey);
    const forward = proxyForward(version, commandKey, seal(secret, corrId, pad(block, FORWARDED_LENGTH)));
    const answer = await this.#connection.ask(forward, { entityId: sessionId, corrId });
    return answer.tag === 'PRES' ? this.#open(inner, answer.box, secret, { corrId, entityId }) : { ...answer, fromProxy: true };
  }

  #open(inner, box, secret, { corrId, entityId }) {
    const padded = open(secret, reversed(corrId), box, 'proxied answer');
    if (padded.length !== FORWARDED_LENGTH) throw new ProtocolError(`a proxied answer of ${padded.length} bytes`);
    const items = decodeBatch(unpad(padded, 'proxied answer'));
    if (items.length !== 1) throw new ProtocolError(`${items.length} answers to one forwarded command`);
    const { body, ...ids } = decodeTransmission(inner, items[0]);
    if (!ids.corrId.equals(corrId) || !ids.entityId.equals(entityId)) throw new ProtocolError('the proxied answer is to another command');
    return { ...ids, ...parseAnswer(inner.version, body) };
  }
}

function noAnswer(what, error) {
  return new error.constructor(`no ${what}: ${error.message}`);
}

/** An answer in a few words. */
export function describe({ tag, error }) {
  return error === undefined ? tag : `${tag} ${error}`;
}
