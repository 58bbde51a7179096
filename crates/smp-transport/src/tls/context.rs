//! What all TLS contexts have in common.

use openssl::error::ErrorStack;
use openssl::ssl::{
    SslContext, SslContextBuilder, SslMethod, SslMode, SslOptions, SslSessionCacheMode, SslVersion,
};

use crate::certificate::{Certificate, TlsCredentials};

/// The protocol's name in ALPN (document, "ALPN to agree handshake version").
pub(super) const ALPN_SMP: &[u8] = b"smp/1";

/// [`ALPN_SMP`] as a list of one.
pub(super) const ALPN_SMP_LIST: &[u8] = b"\x05smp/1";

/// Web pages and the WebSocket handshake.
pub(super) const ALPN_WEB: &[u8] = b"http/1.1";

/// [`ALPN_WEB`] as a list of one.
pub(super) const ALPN_WEB_LIST: &[u8] = b"\x08http/1.1";

const SMP_CIPHER: &str = "TLS_CHACHA20_POLY1305_SHA256";
const SMP_SIGNATURES: &str = "ed448:ed25519";

/// TLS 1.3, without resumption, with little memory while nothing is sent.
pub(super) fn base(method: SslMethod) -> Result<SslContextBuilder, ErrorStack> {
    let mut context = SslContext::builder(method)?;
    context.set_min_proto_version(Some(SslVersion::TLS1_3))?;
    context.set_max_proto_version(Some(SslVersion::TLS1_3))?;
    context.set_session_cache_mode(SslSessionCacheMode::OFF);
    context.set_num_tickets(0)?;
    // Peers may close without saying so in TLS; blocks of one size show where it matters.
    context.set_options(
        SslOptions::NO_TICKET
            | SslOptions::IGNORE_UNEXPECTED_EOF
            | SslOptions::CIPHER_SERVER_PREFERENCE,
    );
    context.set_mode(
        SslMode::RELEASE_BUFFERS
            | SslMode::ENABLE_PARTIAL_WRITE
            | SslMode::ACCEPT_MOVING_WRITE_BUFFER
            | SslMode::AUTO_RETRY
            | SslMode::NO_AUTO_CHAIN,
    );
    // One call to the system for a record instead of two.
    context.set_read_ahead(true);
    Ok(context)
}

/// The restrictions of SMP.
pub(super) fn restrict_to_smp(context: &mut SslContextBuilder) -> Result<(), ErrorStack> {
    context.set_ciphersuites(SMP_CIPHER)?;
    context.set_sigalgs_list(SMP_SIGNATURES)
}

/// Shows the whole chain, the self-signed certificate at its end too.
pub(super) fn show(
    context: &mut SslContextBuilder,
    credentials: &TlsCredentials,
) -> Result<(), ErrorStack> {
    set_chain(context, credentials.chain())?;
    context.set_private_key(credentials.key().as_openssl())
}

pub(super) fn set_chain(
    context: &mut SslContextBuilder,
    chain: &[Certificate],
) -> Result<(), ErrorStack> {
    let mut certificates = chain.iter();
    if let Some(leaf) = certificates.next() {
        context.set_certificate(&leaf.0)?;
    }
    for certificate in certificates {
        context.add_extra_chain_cert(certificate.0.clone())?;
    }
    Ok(())
}
