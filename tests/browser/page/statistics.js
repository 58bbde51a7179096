/**
 * The measures of a connection that a test judges: transport security, the chosen candidate pair, and what was sent and received
 * on the microphone's and the camera's transceivers.
 * @param {import('./connection.js').CallConnection} connection
 */
export async function statistics(connection) {
  const stats = await connection.pc.getStats();
  return {
    transport: transport(stats),
    audio: medium(stats, connection.first('audio')),
    video: medium(stats, connection.first('video')),
  };
}

/** The media of a session description, in order, and the first codec of each. */
export function describeSession({ sdp }) {
  return sdp
    .split(/\r?\n(?=m=)/)
    .slice(1)
    .map((section) => {
      const [, kind, payload] = /^m=(\S+) \S+ \S+ (\S+)/.exec(section) ?? [];
      const codec = new RegExp(`^a=rtpmap:${payload} ([^/]+)/`, 'm').exec(section)?.[1] ?? null;
      const direction = /^a=(sendrecv|sendonly|recvonly|inactive)/m.exec(section)?.[1] ?? 'sendrecv';
      return { kind, codec, direction };
    });
}

function transport(stats) {
  const found = [...stats.values()].find(({ type }) => type === 'transport');
  if (!found) return null;
  const { srtpCipher, dtlsCipher, tlsVersion, dtlsRole, dtlsState, iceRole, iceState, selectedCandidatePairId } = found;
  const pair = stats.get(selectedCandidatePairId);
  const candidate = (id) => {
    const { candidateType, protocol } = stats.get(id) ?? {};
    return { candidateType, protocol };
  };
  return {
    srtpCipher, dtlsCipher, tlsVersion, dtlsRole, dtlsState, iceRole, iceState,
    localCandidate: candidate(pair?.localCandidateId),
    remoteCandidate: candidate(pair?.remoteCandidateId),
  };
}

function medium(stats, transceiver) {
  if (!transceiver) return null;
  const streams = [...stats.values()].filter(({ mid }) => mid === transceiver.mid);
  const sent = streams.find(({ type }) => type === 'outbound-rtp');
  const received = streams.find(({ type }) => type === 'inbound-rtp');
  const codec = (stream) => stats.get(stream?.codecId)?.mimeType;
  return {
    sent: sent && {
      codec: codec(sent), packets: sent.packetsSent, bytes: sent.bytesSent,
      totalAudioEnergy: stats.get(sent.mediaSourceId)?.totalAudioEnergy,
      framesEncoded: sent.framesEncoded, keyFramesEncoded: sent.keyFramesEncoded,
      width: sent.frameWidth, height: sent.frameHeight, pliReceived: sent.pliCount,
    },
    received: received && {
      codec: codec(received), packets: received.packetsReceived, bytes: received.bytesReceived,
      packetsLost: received.packetsLost, jitter: received.jitter,
      totalAudioEnergy: received.totalAudioEnergy, totalSamplesReceived: received.totalSamplesReceived,
      concealedSamples: received.concealedSamples,
      framesReceived: received.framesReceived, framesDecoded: received.framesDecoded, keyFramesDecoded: received.keyFramesDecoded,
      width: received.frameWidth, height: received.frameHeight, pliSent: received.pliCount,
    },
  };
}
