//! The relay keeps no log of people, however much it is told to say.

use std::net::SocketAddr;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use rand::rand_core::UnwrapErr;
use rand::rngs::SysRng;
use smp_client::{ChosenSenderId, Events, QueueParameters, Request, Session, SessionOptions};
use smp_protocol::{
    AuthPrivateKey, Command, DhPrivateKey, EntityId, Fingerprint, Host, LinkData, LinkId,
    MessageFlags, QueueIds, QueueRequest, RelayAddress, Response, ServerAddress,
};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use crate::support::{
    Bystander, Folder, Hello, Queue, Raw, Relay, Signal, events_message, free_port, link, new_key,
};
use crate::web;

/// Everything by which somebody could be found again.
#[derive(Default)]
struct Traces {
    bytes: Vec<(&'static str, Vec<u8>)>,
    texts: Vec<(&'static str, String)>,
}

impl Traces {
    fn bytes(&mut self, what: &'static str, bytes: &[u8]) {
        self.bytes.push((what, bytes.to_vec()));
    }

    #[allow(clippy::needless_pass_by_value)]
    fn text(&mut self, what: &'static str, text: impl ToString) {
        self.texts.push((what, text.to_string()));
    }

    fn key(&mut self, key: &AuthPrivateKey) {
        self.bytes("a private key", key.as_bytes());
        self.bytes("a public key", &key.public().to_spki()[12..]);
    }

    fn ids(&mut self, ids: &QueueIds) {
        self.bytes("a recipient's id", ids.recipient_id.as_bytes());
        self.bytes("a sender's id", ids.sender_id.as_bytes());
        self.bytes("the relay's key of a queue", ids.dh_key.as_bytes());
        if let Some(link) = &ids.link_id {
            self.bytes("a link's id", link.as_bytes());
        }
    }

    fn own_address(&mut self, own: SocketAddr) {
        self.text("a client's port", own.port());
    }

    /// What of all this stands in a text, in any form in which it may.
    fn found(&self, text: &str) -> Vec<(&'static str, String)> {
        let lower = text.to_ascii_lowercase();
        let mut found = Vec::new();
        for (what, bytes) in &self.bytes {
            let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
            // Whole groups of three bytes are the same with and without what follows.
            let whole = &bytes[..bytes.len() - bytes.len() % 3];
            let listed: Vec<_> = bytes[..6].iter().map(ToString::to_string).collect();
            let ascii: String = bytes.escape_ascii().to_string();
            let forms = [
                URL_SAFE_NO_PAD.encode(whole),
                STANDARD_NO_PAD.encode(whole),
                listed.join(", "),
                ascii,
            ];
            if lower.contains(&hex[..16]) || forms.iter().any(|form| text.contains(form)) {
                found.push((*what, hex));
            }
        }
        for (what, word) in &self.texts {
            let is_whole = |at: usize| {
                let digit = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_digit);
                let bytes = text.as_bytes();
                !digit(at.checked_sub(1).and_then(|at| bytes.get(at)))
                    && !digit(bytes.get(at + word.len()))
            };
            if text.match_indices(word).any(|(at, _)| is_whole(at)) {
                found.push((*what, word.clone()));
            }
        }
        found
    }
}

#[test]
fn traces_are_found_in_every_form() {
    let mut traces = Traces::default();
    traces.bytes("id", &[0xfb; 24]);
    traces.text("port", 34_567);
    for text in [
        "x FBfbfbfbfbfbfbfbfbfb x",
        "-_v7-_v7-_v7-_v7-_v7-_v7-_v7-_v7",
        "+/v7+/v7+/v7+/v7+/v7+/v7+/v7+/v7==",
        "QueueId([251, 251, 251, 251, 251, 251, 251, 251])",
        "127.0.0.1:34567",
    ] {
        assert_eq!(traces.found(text).len(), 1, "{text}");
    }
    assert!(traces.found("2026-11-24T01:53:53.345671Z DEBUG").is_empty());
}

struct Walk<'a> {
    relay: &'a Relay,
    traces: Traces,
}

impl Walk<'_> {
    async fn session(&mut self, address: &ServerAddress) -> (Session, Events) {
        let (link, own) = link(address).await.unwrap();
        self.traces.own_address(own);
        self.traces
            .bytes("a session's id", link.session_id.as_bytes());
        let options = SessionOptions::default();
        Session::over(link, address, &options).await.unwrap()
    }

    fn new_key(&mut self) -> AuthPrivateKey {
        let key = new_key();
        self.traces.key(&key);
        key
    }

    async fn queue(&mut self, session: &Session, request: QueueRequest) -> Queue {
        let queue = Queue::create(session, request).await;
        self.traces.ids(&queue.ids);
        self.traces.key(&queue.key);
        queue
    }

    async fn messages(&mut self) {
        let address = self.relay.address.clone();
        let (recipient, mut events) = self.session(&address).await;
        let (sender, _) = self.session(&address).await;
        let queue = self.queue(&recipient, QueueRequest::Messaging(None)).await;
        let key = self.new_key();
        sender
            .sender_secure(&queue.ids.sender_id, &key)
            .await
            .unwrap();
        let (notifier_key, dh) = (
            self.new_key(),
            DhPrivateKey::generate(&mut UnwrapErr(SysRng)),
        );
        let (notifier, _) = recipient
            .enable_notifications(queue.key(), notifier_key.public(), dh.public())
            .await
            .unwrap();
        self.traces.bytes("a notifier's id", notifier.as_bytes());
        let (notified, mut notifications) = self.session(&address).await;
        for subscribed in notified
            .subscribe_notifications(&[(&notifier, &notifier_key)])
            .await
        {
            subscribed.unwrap();
        }
        let flags = MessageFlags { notification: true };
        let body = b"words that nobody else shall read".to_vec();
        self.traces.bytes("a message", &body);
        let sent = sender.send_message(&queue.ids.sender_id, Some(&key), flags, body);
        sent.await.unwrap();
        let message = events_message(&mut events).await;
        self.traces.bytes("a message's id", message.id.as_bytes());
        notifications.next().await.unwrap();
        recipient
            .acknowledge(queue.key(), message.id)
            .await
            .unwrap();
        recipient.queue_info(queue.key()).await.unwrap();
        let (other, _other_events) = self.session(&address).await;
        for subscribed in other.subscribe(&[queue.key()]).await {
            subscribed.unwrap();
        }
        events.next().await.unwrap();
        recipient.get_message(queue.key()).await.unwrap();
        recipient.disable_notifications(queue.key()).await.unwrap();
        other.suspend(queue.key()).await.unwrap();
        recipient.delete(queue.key()).await.unwrap();
        recipient.delete(queue.key()).await.unwrap_err();
    }

    async fn links(&mut self) {
        let address = self.relay.address.clone();
        let (owner, _events) = self.session(&address).await;
        let queue = self.queue(&owner, QueueRequest::Contact(None)).await;
        let link = LinkId::generate(&mut UnwrapErr(SysRng));
        self.traces.bytes("a link's id", link.as_bytes());
        let data = LinkData {
            fixed: b"what the link shows".to_vec(),
            user: b"and what it says".to_vec(),
        };
        self.traces.bytes("a link's data", &data.fixed);
        owner
            .set_link(queue.key(), link.clone(), data.clone())
            .await
            .unwrap();
        owner.link_data(&link).await.unwrap();
        let key = self.new_key();
        owner
            .set_recipient_keys(queue.key(), vec![queue.key.public(), key.public()])
            .await
            .unwrap();
        owner.delete_link(queue.key()).await.unwrap();
        let chosen = ChosenSenderId::generate();
        let key = self.new_key();
        let parameters = QueueParameters {
            dh_key: DhPrivateKey::generate(&mut UnwrapErr(SysRng)).public(),
            subscribe: false,
            request: Some(QueueRequest::Messaging(Some((chosen.id().clone(), data)))),
            notifier: None,
            sender_id: Some(chosen),
        };
        let ids = owner.create_queue(&key, parameters).await.unwrap();
        self.traces.ids(&ids);
        let key = self.new_key();
        owner.link_key(&ids.link_id.unwrap(), &key).await.unwrap();
    }

    /// Through `proxy`, to the relay and to some that are none.
    async fn forwarded(&mut self, proxy: &Relay) {
        let address = self.relay.address.clone();
        let (recipient, mut events) = self.session(&address).await;
        let queue = self.queue(&recipient, QueueRequest::Messaging(None)).await;
        let (sender, _) = self.session(&proxy.address).await;
        let route = sender.proxy_session(&address.relay).await.unwrap();
        let key = self.new_key();
        let entity = EntityId::from(queue.ids.sender_id.clone());
        let secure = Command::Skey(key.public());
        let flags = MessageFlags {
            notification: false,
        };
        let send = Command::Send {
            flags,
            body: b"two hops".to_vec(),
        };
        for command in [secure, send] {
            let request = Request::about(&entity, Some(&key), &command);
            assert_eq!(sender.forward(&route, request).await.unwrap(), Response::Ok);
        }
        events_message(&mut events).await;
        let host: Host = "nobody.invalid".parse().unwrap();
        let other = *proxy.address.relay.fingerprint();
        let loopback = address.relay.hosts().to_vec();
        for (fingerprint, hosts, port) in [
            (other, vec![host], 5223),
            (other, loopback.clone(), free_port()),
            (other, loopback, self.relay.port),
        ] {
            let nobody = RelayAddress::new(fingerprint, hosts, Some(port)).unwrap();
            self.traces.text("another relay's port", port);
            sender.proxy_session(&nobody).await.unwrap_err();
        }
        self.traces.text("another relay's name", "nobody.invalid");
        self.traces
            .bytes("a relay's identity", &address.relay.fingerprint().0);
        self.traces.bytes("a relay's identity", &other.0);
    }

    async fn nonsense(&mut self) {
        let address = &self.relay.address;
        let mut stream = TcpStream::connect(("127.0.0.1", self.relay.port))
            .await
            .unwrap();
        self.traces
            .text("a client's port", stream.local_addr().unwrap().port());
        stream
            .write_all(b"GET /somebody/was/here HTTP/1.1\r\nuser-agent: Mozilla\r\n\r\n")
            .await
            .unwrap();
        drop(stream);
        self.traces.text("a path", "somebody");
        self.traces.text("a browser's name", "Mozilla");
        let mut hello = Hello::of(address).await;
        hello
            .answer(address, |hello| hello.key_hash = Fingerprint([0x5e; 32]))
            .await;
        assert!(hello.is_closed().await);
        self.traces.bytes("a fingerprint", &[0x5e; 32]);
        let mut raw = Raw::of(address).await;
        raw.write(&[0x77; 16_384]).await.unwrap();
        assert!(raw.is_closed().await);
        let mut raw = Raw::of(address).await;
        let block = raw.block_of(b"\x02\xff\xffsomebody");
        raw.write(&block[..]).await.unwrap();
        raw.next().await.unwrap();
        raw.stream.shutdown().await.unwrap();
    }

    async fn in_a_browser(&mut self) {
        let (session, events) = web::browse(&self.relay.address).await;
        let queue = self.queue(&session, QueueRequest::Contact(None)).await;
        let mut bystander = Bystander::between(
            (session, events),
            self.session(&self.relay.address.clone()).await,
        )
        .await;
        bystander.exchange().await;
        drop(queue);
    }

    async fn by_the_operator(&mut self, folder: &Folder) {
        let (session, _events) = self.session(&self.relay.address.clone()).await;
        let queue = self.queue(&session, QueueRequest::Contact(None)).await;
        let id = URL_SAFE_NO_PAD.encode(queue.ids.sender_id.as_bytes());
        folder.run(&["block", &id]).await.succeeded();
        folder.run(&["unblock", &id]).await.succeeded();
        let nobody = URL_SAFE_NO_PAD.encode([0x5d; 24]);
        self.traces.bytes("an id of no queue", &[0x5d; 24]);
        folder
            .run(&["block", &nobody])
            .await
            .failed("there is no queue");
        folder.run(&["cert", "rotate"]).await.succeeded();
        self.relay.signal(Signal::HUP);
        folder.stats().await;
    }
}

#[tokio::test]
async fn a_whole_walk_leaves_no_trace_in_what_the_relays_say() {
    let private = "proxy.allow_private_networks = true";
    let (folder, other) = (Folder::new(private).await, Folder::new(private).await);
    web::enable(&folder);
    let (relay, proxy) = (folder.start_verbose().await, other.start_verbose().await);
    let traces = {
        let mut walk = Walk {
            relay: &relay,
            traces: Traces::default(),
        };
        walk.messages().await;
        walk.links().await;
        walk.forwarded(&proxy).await;
        walk.nonsense().await;
        walk.in_a_browser().await;
        walk.by_the_operator(&folder).await;
        let password = relay.address.basic_auth.as_ref().unwrap().as_str();
        walk.traces.text("a password", password);
        for address in ["127.0.0.1", "::1", "localhost"] {
            walk.traces.text("an address", address);
        }
        walk.traces
    };
    assert!(traces.bytes.len() > 40 && traces.texts.len() > 15);
    for relay in [relay, proxy] {
        let said = relay.stop().await;
        // Where it listens it has to say, once, before anybody comes.
        let (listening, rest) = said.split_once('\n').unwrap();
        assert!(listening.starts_with("listening on "), "{said}");
        let found = traces.found(rest);
        assert!(found.is_empty(), "{found:?} in {rest}");
        assert!(
            rest.contains("DEBUG"),
            "nothing was said, so this proves nothing"
        );
    }
}

#[tokio::test]
async fn without_being_told_to_the_relay_says_nothing_at_all() {
    let folder = Folder::new("limits.connections = 100").await;
    web::enable(&folder);
    let relay = folder.start().await;
    let mut walk = Walk {
        relay: &relay,
        traces: Traces::default(),
    };
    walk.messages().await;
    walk.links().await;
    walk.nonsense().await;
    walk.in_a_browser().await;
    walk.by_the_operator(&folder).await;
    let port = relay.port;
    let said = relay.stop().await;
    let expected =
        format!("listening on 127.0.0.1:{port}\nstopped: every accepted command is done\n");
    assert_eq!(said, expected);
}
