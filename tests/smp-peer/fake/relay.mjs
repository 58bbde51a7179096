/**
 * A relay in memory, to prove the walk with: it does what the walk asks for, or one thing wrong (`fault`). It shares the encodings
 * with the client, which other programs' sessions prove, and nothing of it is meant for anyone but tests.
 */
import tls from 'node:tls';
import { agree, keyPair, open, pad, reversed, seal, unpad } from '../box.mjs';
import { concat, EMPTY, large, Reader, short, spki, u16, u8 } from '../encoding.mjs';
import { readBlocks } from '../client.mjs';
import { BLOCK_LENGTH, decodeBatch, Direction, encodeBatch, firstChains } from '../protocol.mjs';
import { certificateChain, pem, signedKey } from './certificate.mjs';
import { Queues } from './queues.mjs';
import { readTransmission } from './verify.mjs';

const RANGE = { min: 6, max: 20 };
const PROXIED_MAX = 18;
const FORWARDED_LENGTH = 16226;
const FORWARDABLE = ['SEND', 'SKEY', 'LKEY', 'LGET', 'RSLV'];

export class FakeRelay {
  #clients = new Set();
  #server;

  /**
   * @param {object} [options] `password`, `quota`, `certificates` (how many), `algorithm` of their keys, `fault`, and `behind`: the fake
   *   relays that this one can be a proxy for
   */
  static async start({ password = 'secret', quota = 128, certificates = 2, algorithm = 'ed25519', fault = null, behind = [] } = {}) {
    const relay = new FakeRelay();
    Object.assign(relay, {
      password,
      fault,
      behind,
      chain: certificateChain(certificates, algorithm),
      queues: new Queues({ quota, password, fault }),
    });
    await relay.#listen();
    return relay;
  }

  get address() {
    return `smp://${this.chain.fingerprint.toString('base64url')}=${this.password === null ? '' : `:${this.password}`}@localhost:${this.port}`;
  }

  close() {
    for (const { socket } of this.#clients) socket.destroy();
    this.#server.close();
  }

  #listen() {
    const { certificates, key } = this.chain;
    const options = {
      key: key.export({ type: 'pkcs8', format: 'pem' }),
      cert: pem(certificates),
      minVersion: 'TLSv1.3',
      ALPNProtocols: ['smp/1'],
    };
    this.#server = tls.createServer(options, (socket) => {
      const client = new Client(this, socket);
      this.#clients.add(client);
      socket.on('error', () => {});
      socket.on('close', () => {
        this.#clients.delete(client);
        this.queues.forget(client);
      });
    });
    this.#server.on('tlsClientError', () => {});
    return new Promise((resolve) => {
      this.#server.listen(0, () => {
        this.port = this.#server.address().port;
        resolve();
      });
    });
  }

  /** A session key that proxied clients use, and what PKEY says about it. */
  get proxied() {
    this.proxiedSession ??= { sessionId: spki(keyPair('x25519')).subarray(-32), key: keyPair('x25519') };
    return this.proxiedSession;
  }
}

/** One connection. */
class Client {
  constructor(relay, socket) {
    Object.assign(this, { relay, socket, key: keyPair('x25519'), sessionId: socket.getPeerFinished() });
    socket.setNoDelay(true);
    this.#run(readBlocks(socket)).catch(() => socket.destroy());
  }

  async #run(blocks) {
    const sessionId = this.relay.fault === 'session id' ? Buffer.alloc(32, 7) : this.sessionId;
    const alpn = this.socket.alpnProtocol === 'smp/1';
    const { min, max } = alpn ? RANGE : { min: 6, max: 6 };
    const { certificates } = this.relay.chain;
    const signer = this.relay.fault === 'signature' ? certificateChain(2, this.relay.chain.algorithm) : this.relay.chain;
    const credentials = concat(u8(certificates.length), ...certificates.map(large), large(signedKey(spki(this.key), signer)));
    this.socket.write(pad(concat(u16(min), u16(max), short(sessionId), alpn ? credentials : EMPTY), BLOCK_LENGTH));
    this.#agree(new Reader(unpad(await next(blocks))), min, max);
    for (;;) this.#block(await next(blocks));
  }

  #agree(hello, min, max) {
    this.version = hello.u16();
    if (this.version < min || this.version > max || !hello.short().equals(this.relay.chain.fingerprint)) throw new Error('not for us');
    const clientKey = this.version >= 7 ? hello.x25519() : null;
    const chains = this.version >= 11 ? firstChains(this.sessionId, agree(this.key, clientKey)) : { toClient: null, toServer: null };
    this.incoming = new Direction(chains.toServer);
    this.outgoing = new Direction(chains.toClient);
    this.session = { version: this.version, sessionId: this.sessionId, key: this.key };
  }

  #block(block) {
    const answers = decodeBatch(this.incoming.unwrap(block)).map((item) => this.#answer(readTransmission(this.session, item)));
    this.send(answers.filter((answer) => answer !== null));
    this.relay.queues.deliver();
  }

  #answer(item) {
    const answered = (body) => ({ corrId: item.corrId, entityId: this.relay.fault === 'entity' ? EMPTY : item.entityId, body });
    if (this.relay.fault === 'silence' && item.name === 'GET') return null;
    if (item.name === 'PRXY') return answered(this.#proxySession(item));
    if (item.name === 'PFWD') return answered(this.#forward(item));
    return answered(this.relay.queues.answer(item, this));
  }

  #proxySession({ arguments: reader }) {
    reader.list(reader.u8(), reader.short);
    const [port, keyHash, password] = [String(reader.short()), reader.short(), reader.maybe(reader.short)];
    if (this.relay.password !== null && String(password) !== this.relay.password) return 'ERR PROXY BASIC_AUTH';
    const behind = this.relay.behind.find((relay) => String(relay.port) === port);
    if (!behind) return 'ERR PROXY BROKER HOST';
    if (!behind.chain.fingerprint.equals(keyHash)) return 'ERR PROXY BROKER TRANSPORT HANDSHAKE IDENTITY';
    const { certificates } = behind.chain;
    const { sessionId, key } = behind.proxied;
    return concat(
      'PKEY ',
      short(sessionId),
      u16(8),
      u16(PROXIED_MAX),
      u8(certificates.length),
      ...certificates.map(large),
      large(signedKey(spki(key), behind.chain)),
    );
  }

  #forward({ corrId, entityId, arguments: reader }) {
    const behind = this.relay.behind.find(({ proxied }) => proxied.sessionId.equals(entityId));
    if (!behind) return 'ERR PROXY NO_SESSION';
    const [version, commandKey, box] = [reader.u16(), reader.x25519(), reader.rest()];
    const { sessionId, key } = behind.proxied;
    const secret = agree(key, commandKey);
    const session = { version, sessionId, key };
    const [item] = decodeBatch(unpad(open(secret, corrId, box))).map((bytes) => readTransmission(session, bytes));
    const body = FORWARDABLE.includes(item.name) ? behind.queues.answer(item, { session, version }) : 'ERR CMD PROHIBITED';
    behind.queues.deliver();
    const answer = encodeBatch([concat(short(EMPTY), short(item.corrId), short(item.entityId), body)]);
    return concat('PRES ', seal(secret, reversed(corrId), pad(answer, FORWARDED_LENGTH)));
  }

  /** Answers and events, as many in a block as fit. */
  send(answers) {
    const sessionId = this.version < 7 ? short(this.sessionId) : EMPTY;
    const items = answers.map(({ corrId, entityId, body }) => concat(short(EMPTY), sessionId, short(corrId), short(entityId), body));
    while (items.length > 0) {
      let length = 0;
      const count = items.findIndex((item) => (length += item.length + 2) > this.outgoing.textLength - 3);
      this.socket.write(this.outgoing.wrap(encodeBatch(items.splice(0, count < 0 ? items.length : count))));
    }
  }

  event(entityId, body) {
    this.send([{ corrId: EMPTY, entityId, body }]);
  }
}

function next(blocks) {
  return blocks.take(() => true, 2 ** 20, 'block');
}
