/** A client's transmissions, read and verified on the relay's side. */
import { createHash } from 'node:crypto';
import { agree, AUTHENTICATOR_LENGTH, authenticator, signatureHolds } from '../box.mjs';
import { concat, Reader, short } from '../encoding.mjs';

/** @param {{version: number, sessionId: Buffer, key: object}} session `key` is the relay's for it */
export function readTransmission(session, bytes) {
  const reader = new Reader(bytes);
  const authorization = reader.short();
  if (session.version >= 16 && authorization.length > 0) reader.letter('0');
  const sessionId = session.version < 7 ? reader.short() : session.sessionId;
  const body = reader.rest();
  const fields = new Reader(body);
  const [corrId, entityId, command] = [fields.short(), fields.short(), fields.rest()];
  const space = command.indexOf(' ');
  return {
    corrId,
    entityId,
    authorization,
    name: String(space < 0 ? command : command.subarray(0, space)),
    arguments: new Reader(space < 0 ? Buffer.alloc(0) : command.subarray(space + 1)),
    sameSession: sessionId.equals(session.sessionId),
    authorized: concat(short(session.sessionId), body),
    session,
  };
}

export function authorizedBy(key, { authorization, authorized, corrId, session }) {
  if (key.kind === 'ed25519') return signatureHolds(key.publicKey, authorized, authorization);
  if (authorization.length !== AUTHENTICATOR_LENGTH) return false;
  return authenticator(agree(session.key, key.publicKey), corrId, authorized).equals(authorization);
}

/** The sender's id of a queue that is made with a link. */
export function idFrom(corrId) {
  return createHash('sha3-384').update(corrId).digest().subarray(0, 24);
}
