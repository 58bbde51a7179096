import { recordAudio, watchVideo } from './arrivals.js';
import { CallConnection } from './connection.js';
import { mediaKey, newKeyPair } from './keys.js';
import { callIdOf, encodeMessage, encodeSession, newCallId, pack, parseLine, PeerMisbehaved } from './messages.js';
import { readAnswer, readExtra, readInvitation, readOffer } from './messages.js';
import { protection } from './protection.js';
import { describeSession, statistics } from './statistics.js';

const CHAT_VERSIONS = { 1: '1-16', 2: '1-18' };
const CONNECTING_MS = 30_000;
/** How long after the loss of the connection the peer's x.call.end may still come. */
const LAST_WORD_MS = 3_000;

/**
 * One side of one call.
 *
 * ```text
 * caller: new → invitationSent → negotiated → connected → ended
 * callee: new → invitationReceived → offerSent → negotiated → connected → ended
 * ```
 * `connected` needs the session of both sides and a connection. Any state ends in `failed` when the connection or the peer fails;
 * the peer then gets an x.call.end too.
 * Messages of another call or in the wrong state are ignored and counted.
 */
export class Peer {
  #options;
  #tell;
  #work = Promise.resolve();
  #state = 'new';
  #callId;
  #keyPair;
  #connection;
  #frames;
  #recorder;
  #watcher;
  #timer;
  #acceptedAt;
  #connectedAt;
  #report;

  /**
   * @param {{role: 'caller'|'callee', version: 1|2, media: 'audio'|'video', generation: 'new'|'old', transform: 'script'|'streams',
   *   encryption: boolean, lateCandidates: boolean}} options `version` is the highest call version spoken; with `lateCandidates` none goes
   *   with the session, all of them follow in x.call.extra
   * @param {(event: {type: 'message', text: string} | {type: 'connected'} | {type: 'over', report: object}) => void} tell
   */
  constructor(options, tell) {
    this.#options = options;
    this.#tell = tell;
    this.#report = {
      role: options.role, error: null, endedBy: null, callVersion: null, encrypted: null, peerSession: null,
      acceptToConnectedMs: null, connectedSeconds: 0, sent: {}, received: {}, ignored: [], longestSent: 0, longestReceived: 0,
    };
  }

  /** Invites; the callee waits for an invitation instead. */
  call() {
    this.#enqueue(() => this.#invite());
  }

  /** Takes one line of chat messages. */
  receive(line) {
    this.#enqueue(async () => {
      this.#report.longestReceived = Math.max(this.#report.longestReceived, line.length);
      for (const message of parseLine(line)) await this.#take(message);
    });
  }

  /** Ends a call that is connected. */
  end() {
    this.#enqueue(async () => {
      if (this.#state !== 'connected') throw new Error(`no call to end in state ${this.#state}`);
      await this.#measure();
      this.#send('x.call.end', {});
      this.#conclude('ended', 'self');
    });
  }

  /** Gives the call up, unless it is over by then. */
  abandon(reason) {
    this.#enqueue(() => {
      throw new Error(reason);
    });
  }

  /** Does one thing after the other; an error fails the call. */
  #enqueue(task) {
    this.#work = this.#work.then(async () => {
      if (this.#isOver()) return;
      try {
        await task();
      } catch (error) {
        await this.#fail(error);
      }
    });
  }

  async #take(message) {
    if (this.#isOver()) return;
    const { event } = message;
    this.#report.received[event] = (this.#report.received[event] ?? 0) + 1;
    const handler = {
      'x.call.inv': [['new'], 'callee', this.#takeInvitation],
      'x.call.offer': [['invitationSent'], 'caller', this.#takeOffer],
      'x.call.answer': [['offerSent'], 'callee', this.#takeAnswer],
      'x.call.extra': [['offerSent', 'negotiated', 'connected'], null, this.#takeExtra],
      'x.call.end': [['invitationSent', 'invitationReceived', 'offerSent', 'negotiated', 'connected'], null, this.#takeEnd],
    }[event];
    if (!handler) return this.#ignore(event, 'unknown event');
    const [states, role, take] = handler;
    const callId = callIdOf(message);
    if (this.#callId !== undefined && callId !== this.#callId) return this.#ignore(event, 'another call');
    if (event === 'x.call.answer' && this.#report.received[event] > 1) throw new PeerMisbehaved('a second x.call.answer');
    if (!states.includes(this.#state) || (role !== null && role !== this.#options.role)) return this.#ignore(event, this.#state);
    await take.call(this, message);
  }

  async #invite() {
    this.#callId = newCallId();
    const invitation = { ...(await this.#callType()), callVRange: this.#options.version > 1 ? `1-${this.#options.version}` : undefined };
    this.#send('x.call.inv', { invitation });
    this.#state = 'invitationSent';
  }

  async #takeInvitation(message) {
    const { media, peerKey, versions } = readInvitation(message);
    this.#accept(callIdOf(message), media, 'invitation');
    const version = Math.min(this.#options.version, versions[1]);
    if (version < versions[0]) throw new PeerMisbehaved(`x.call.inv: no common version, ${versions.join(' to ')} is offered`);
    this.#state = 'invitationReceived';
    const callType = await this.#callType();
    await this.#connect(version, peerKey);
    const description = await this.#connection.makeOffer();
    const rtcSession = encodeSession(description, await this.#firstCandidates());
    this.#send('x.call.offer', { offer: { ...callType, rtcSession, callVersion: version > 1 ? version : undefined } });
    this.#state = 'offerSent';
    this.#sendCandidates();
  }

  async #takeOffer(message) {
    const { media, peerKey, version, description, candidates } = readOffer(message);
    this.#accept(callIdOf(message), media, 'offer');
    if (version < 1 || version > this.#options.version) throw new PeerMisbehaved(`x.call.offer: version ${version} was not offered`);
    await this.#connect(version, peerKey);
    this.#report.peerSession = describeSession(description);
    const answer = await this.#connection.makeAnswer(description);
    await this.#connection.addCandidates(candidates);
    this.#send('x.call.answer', { answer: { rtcSession: encodeSession(answer, await this.#firstCandidates()) } });
    this.#negotiated();
    this.#sendCandidates();
  }

  async #takeAnswer(message) {
    const { description, candidates } = readAnswer(message);
    this.#report.peerSession = describeSession(description);
    await this.#connection.takeAnswer(description);
    await this.#connection.addCandidates(candidates);
    this.#negotiated();
  }

  #takeExtra(message) {
    return this.#connection.addCandidates(readExtra(message));
  }

  async #takeEnd() {
    if (this.#state !== 'connected') throw new Error(`the peer ended the call in state ${this.#state}`);
    await this.#measure();
    this.#conclude('ended', 'peer');
  }

  #accept(callId, media, what) {
    this.#callId = callId;
    if (media !== this.#options.media) throw new PeerMisbehaved(`the ${what} is for ${media}, the test's call is ${this.#options.media}`);
    this.#acceptedAt = performance.now();
    this.#timer = setTimeout(() => this.abandon(`not connected in ${CONNECTING_MS / 1000} s: ${this.#whereItStands()}`), CONNECTING_MS);
  }

  async #callType() {
    const { media, encryption } = this.#options;
    this.#keyPair = encryption ? await newKeyPair() : undefined;
    return { callType: { media, capabilities: { encryption } }, callDhPubKey: this.#keyPair?.sent };
  }

  async #connect(version, peerKey) {
    const encrypted = this.#keyPair !== undefined && peerKey !== undefined;
    Object.assign(this.#report, { callVersion: version, encrypted });
    if (encrypted) {
      const key = await mediaKey({ version, callId: this.#callId, privateKey: this.#keyPair.privateKey, peerKey });
      this.#frames = await protection(this.#options.transform, key);
    }
    this.#connection = new CallConnection(this.#options, this.#frames ?? null);
    this.#connection.pc.addEventListener('connectionstatechange', () => this.#followConnection());
  }

  async #firstCandidates() {
    return this.#options.lateCandidates ? [] : this.#connection.candidates.first();
  }

  #sendCandidates() {
    this.#connection.candidates.sendLater((candidates) => {
      if (!this.#isOver()) this.#send('x.call.extra', { extra: { rtcExtraInfo: { rtcIceCandidates: pack(candidates) } } });
    });
  }

  #negotiated() {
    this.#state = 'negotiated';
    const audio = this.#connection.first('audio');
    const video = this.#connection.first('video');
    if (audio) this.#recorder = recordAudio(audio.receiver.track);
    if (video) this.#watcher = watchVideo(video.receiver.track);
    this.#followConnection();
  }

  #followConnection() {
    const { connectionState } = this.#connection.pc;
    if (connectionState === 'connected' && this.#state === 'negotiated') {
      clearTimeout(this.#timer);
      this.#state = 'connected';
      this.#connectedAt = performance.now();
      this.#report.acceptToConnectedMs = Math.round(this.#connectedAt - this.#acceptedAt);
      this.#noteTransport();
      this.#tell({ type: 'connected' });
    } else if (['disconnected', 'failed', 'closed'].includes(connectionState) && !this.#isOver()) {
      const reason = `the connection was lost: ${this.#whereItStands()}`;
      clearTimeout(this.#timer);
      this.#timer = setTimeout(() => this.abandon(reason), LAST_WORD_MS);
    }
  }

  /** A peer that hangs up closes the transport, and its ciphers with it: they are read while the call runs. */
  async #noteTransport() {
    const { transport } = await statistics(this.#connection);
    if (transport?.srtpCipher) this.#report.transport = transport;
    else if (!this.#isOver()) setTimeout(() => this.#noteTransport(), 100);
  }

  #whereItStands() {
    const { iceConnectionState, connectionState } = this.#connection?.pc ?? {};
    return `state ${this.#state}, ICE ${iceConnectionState}, connection ${connectionState}`;
  }

  async #measure() {
    this.#report.connectedSeconds = this.#connectedAt === undefined ? 0 : (performance.now() - this.#connectedAt) / 1000;
    const { transport, audio, video } = await statistics(this.#connection);
    Object.assign(this.#report, { transport: transport?.srtpCipher ? transport : this.#report.transport ?? transport, audio, video });
    this.#report.frames = (await this.#frames?.counts()) ?? null;
    this.#report.heard = (await this.#recorder?.stop()) ?? null;
    this.#report.seen = (await this.#watcher?.stop()) ?? null;
  }

  async #fail(error) {
    this.#report.error = `${error.name}: ${error.message}`;
    try {
      if (this.#connection) await this.#measure();
    } catch (second) {
      this.#report.error += `; then ${second.message}`;
    }
    if (this.#callId !== undefined && !this.#report.received['x.call.end']) this.#send('x.call.end', {});
    this.#conclude('failed', null);
  }

  #conclude(state, endedBy) {
    clearTimeout(this.#timer);
    this.#state = state;
    this.#report.endedBy = endedBy;
    this.#connection?.close();
    this.#tell({ type: 'over', report: this.#report });
  }

  #send(event, params) {
    const text = encodeMessage(CHAT_VERSIONS[this.#options.version], event, { callId: this.#callId, ...params });
    this.#report.sent[event] = (this.#report.sent[event] ?? 0) + 1;
    this.#report.longestSent = Math.max(this.#report.longestSent, text.length);
    this.#tell({ type: 'message', text });
  }

  #ignore(event, why) {
    this.#report.ignored.push(`${event} (${why})`);
  }

  #isOver() {
    return this.#state === 'ended' || this.#state === 'failed';
  }
}
