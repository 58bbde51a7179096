import { base64url, randomBytes } from './bytes.js';
import { isSentKey } from './keys.js';

/** The other side said something that a peer of SimpleX Chat would not take. */
export class PeerMisbehaved extends Error {}

/** The longest JSON text that fits a chat message. */
const LONGEST_MESSAGE = 15602;

/** A new call id: 16 random bytes. */
export function newCallId() {
  return base64url(randomBytes(16));
}

/**
 * The JSON text of one chat message, keys in the order in which SimpleX Chat writes them.
 * @param {string} chatVersions such as `1-18`
 * @param {string} event such as `x.call.inv`
 * @param {object} params
 * @param {string} msgId base64url of the base64 text of 12 random bytes
 */
export function encodeMessage(chatVersions, event, params, msgId = btoa(btoa(String.fromCharCode(...randomBytes(12))))) {
  const text = JSON.stringify({ v: chatVersions, msgId, event, params: withSortedKeys(params) });
  if (text.length > LONGEST_MESSAGE) throw new Error(`${event} takes ${text.length} bytes of the ${LONGEST_MESSAGE} that fit`);
  return text;
}

/**
 * The messages of one line: a JSON object, or an array of them. Only the envelope is checked.
 * @returns {{event: string, params: object}[]}
 */
export function parseLine(line) {
  const bytes = new TextEncoder().encode(line).length;
  if (bytes > LONGEST_MESSAGE) throw new PeerMisbehaved(`a message of ${bytes} bytes, ${LONGEST_MESSAGE} fit`);
  const parsed = parseJson(line, 'a line that is no chat message');
  return (Array.isArray(parsed) ? parsed : [parsed]).map(checkedEnvelope);
}

function checkedEnvelope(message) {
  const { v = '1', msgId = 'AAAA', event, params } = isObject(message) ? message : {};
  must(typeof event === 'string' && isObject(params), 'a chat message without event or params', message);
  must(/^\d+(-\d+)?$/.test(v), `${event}: v is no version range`, v);
  must(/^[\w-]+={0,2}$/.test(msgId), `${event}: msgId is no base64url`, msgId);
  return { event, params };
}

/** The id of the call that an `x.call.*` event belongs to. */
export function callIdOf({ event, params }) {
  must(/^[\w-]{22}==$/.test(params.callId), `${event}: callId is not the padded base64url of 16 bytes`, params.callId);
  return params.callId;
}

/** The invitation of `x.call.inv`; `versions` is `[lowest, highest]`. */
export function readInvitation({ params }) {
  const invitation = member(params, 'invitation', 'x.call.inv');
  const { callVRange = '1' } = invitation;
  const range = /^(\d+)(?:-(\d+))?$/.exec(callVRange);
  must(range, 'x.call.inv: callVRange is no range of versions', callVRange);
  return { ...readCallType(invitation, 'x.call.inv'), versions: [Number(range[1]), Number(range[2] ?? range[1])] };
}

/** The offer of `x.call.offer`. */
export function readOffer({ params }) {
  const offer = member(params, 'offer', 'x.call.offer');
  const { callVersion = 1 } = offer;
  must(Number.isInteger(callVersion), 'x.call.offer: callVersion is no whole number', callVersion);
  return { ...readCallType(offer, 'x.call.offer'), ...readSession(offer, 'offer'), version: callVersion };
}

/** The answer of `x.call.answer`. */
export function readAnswer({ params }) {
  return readSession(member(params, 'answer', 'x.call.answer'), 'answer');
}

/** The candidates of `x.call.extra`. */
export function readExtra({ params }) {
  const info = member(member(params, 'extra', 'x.call.extra'), 'rtcExtraInfo', 'x.call.extra');
  return readCandidates(info, 'x.call.extra');
}

/** What `rtcSession` and `rtcIceCandidates` of an offer or answer hold. */
export function encodeSession(description, candidates) {
  return { rtcSession: pack({ type: description.type, sdp: description.sdp }), rtcIceCandidates: pack(candidates) };
}

/** LZ-string base64 of the JSON text of `value`. */
export function pack(value) {
  return LZString.compressToBase64(JSON.stringify(value));
}

function readCallType(container, event) {
  const { media, capabilities } = member(container, 'callType', event);
  must(media === 'audio' || media === 'video', `${event}: media is neither audio nor video`, media);
  const encryption = member({ capabilities }, 'capabilities', event).encryption;
  must(typeof encryption === 'boolean', `${event}: capabilities.encryption is no boolean`, encryption);
  const peerKey = container.callDhPubKey;
  if (encryption) must(isSentKey(peerKey), `${event}: encryption is on and callDhPubKey is no X25519 key`, peerKey);
  else must(peerKey === undefined, `${event}: encryption is off, yet there is a callDhPubKey`, peerKey);
  return { media, peerKey };
}

function readSession(container, type) {
  const event = `x.call.${type}`;
  const session = member(container, 'rtcSession', event);
  const description = unpack(session.rtcSession, `${event}: rtcSession`);
  must(description?.type === type && typeof description.sdp === 'string', `${event}: rtcSession is no ${type}`, description);
  return { description, candidates: readCandidates(session, event) };
}

function readCandidates(container, event) {
  const candidates = unpack(container.rtcIceCandidates, `${event}: rtcIceCandidates`);
  const isCandidate = (item) => typeof item?.candidate === 'string' && (item.sdpMid ?? item.sdpMLineIndex ?? null) !== null;
  must(Array.isArray(candidates) && candidates.every(isCandidate), `${event}: no list of candidates`, candidates);
  return candidates;
}

function unpack(text, what) {
  must(typeof text === 'string', `${what} is no text`, text);
  const json = LZString.decompressFromBase64(text);
  must(json, `${what} is no LZ-string base64`, text);
  return parseJson(json, `${what} holds no JSON`);
}

function member(object, name, event) {
  must(isObject(object[name]), `${event}: ${name} is no object`, object[name]);
  return object[name];
}

function must(condition, complaint, value) {
  if (!condition) throw new PeerMisbehaved(`${complaint}: ${JSON.stringify(value)?.slice(0, 200)}`);
}

function parseJson(text, complaint) {
  try {
    return JSON.parse(text);
  } catch {
    throw new PeerMisbehaved(`${complaint}: ${text.slice(0, 200)}`);
  }
}

function isObject(value) {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function withSortedKeys(value) {
  if (!isObject(value)) return value;
  const keys = Object.keys(value).filter((key) => value[key] !== undefined);
  return Object.fromEntries(keys.sort().map((key) => [key, withSortedKeys(value[key])]));
}
