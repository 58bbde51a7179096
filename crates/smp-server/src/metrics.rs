//! What an operator may know: sums over all, never an id or an address.

use std::sync::atomic::AtomicU64;

use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use serde::Serialize;

macro_rules! figures {
    ($($(#[doc = $doc:literal])+ $name:ident: $kind:ident, $text:literal;)+) => {
        /// Counters and gauges of a relay. All are sums; none has a label that tells clients apart.
        #[derive(Debug, Default)]
        pub(crate) struct Metrics {
            $($(#[doc = $doc])+ pub(crate) $name: $kind,)+
        }

        /// [`Metrics`] at one moment, for `sotto-smp stats --json`.
        #[derive(Debug, Clone, Serialize, serde::Deserialize)]
        pub(crate) struct Snapshot {
            $($(#[doc = $doc])+ pub(crate) $name: i64,)+
        }

        impl Metrics {
            /// Every figure as it is now.
            pub(crate) fn snapshot(&self) -> Snapshot {
                Snapshot { $($name: value(&self.$name),)+ }
            }

            fn register(&self, registry: &mut Registry) {
                $(registry.register(stringify!($name), $text, self.$name.clone());)+
            }
        }

        impl Snapshot {
            /// Each figure's name, meaning and value, in order.
            pub(crate) fn rows(&self) -> Vec<(&'static str, &'static str, i64)> {
                vec![$((stringify!($name), $text, self.$name),)+]
            }
        }
    };
}

figures! {
    /// Connections at the moment.
    connections: Gauge, "Connections at the moment";
    /// Connections since the start.
    connections_accepted: Counter, "Connections since the start";
    /// Connections refused since there were too many.
    connections_refused: Counter, "Connections refused since there were too many";
    /// Connections refused since there were too many from one network.
    connections_refused_by_address: Counter, "Connections refused since too many came from one network";
    /// Handshakes that failed or took too long.
    handshakes_failed: Counter, "Handshakes that failed or took too long";
    /// Connections closed since their client took too long to read or to write.
    slow_connections: Counter, "Connections closed since their client did not read or write on";
    /// Queues stored.
    queues: Gauge, "Queues stored";
    /// Messages stored.
    messages: Gauge, "Messages stored";
    /// Subscriptions at the moment.
    subscriptions: Gauge, "Queues that a connection is subscribed to";
    /// Queues created.
    queues_created: Counter, "Queues created";
    /// Queues deleted.
    queues_deleted: Counter, "Queues deleted by their recipients";
    /// Queues expired.
    queues_expired: Counter, "Queues deleted since nobody used them";
    /// Messages accepted.
    messages_received: Counter, "Messages accepted from senders";
    /// Messages handed out.
    messages_delivered: Counter, "Messages handed to recipients, repeats included";
    /// Messages acknowledged.
    messages_acknowledged: Counter, "Messages acknowledged by recipients";
    /// Messages expired.
    messages_expired: Counter, "Messages deleted since nobody took them";
    /// Messages refused for quota.
    quota_exceeded: Counter, "Messages refused since the queue was full";
    /// Notifications handed out.
    notifications_delivered: Counter, "Notifications handed to notifiers";
    /// Commands executed.
    commands: Counter, "Commands executed";
    /// Commands refused for their authorization.
    auth_errors: Counter, "Commands answered with AUTH";
    /// Errors of the store.
    store_errors: Counter, "Errors of the store";
    /// Sessions with other relays.
    proxy_sessions: Gauge, "Sessions with other relays";
    /// Commands forwarded to other relays.
    proxy_forwarded: Counter, "Commands forwarded to other relays";
    /// Commands that could not be forwarded.
    proxy_failed: Counter, "Commands that could not be forwarded";
    /// Commands that came through other relays.
    proxy_received: Counter, "Commands that came through other relays";
}

impl Metrics {
    /// In Prometheus's text format.
    pub(crate) fn prometheus(&self) -> String {
        let mut registry = Registry::with_prefix("sotto_smp");
        self.register(&mut registry);
        let mut text = String::new();
        // Writing into a String does not fail.
        let _ = encode(&mut text, &registry);
        text
    }
}

trait Figure {
    fn figure(&self) -> i64;
}

impl Figure for Gauge {
    fn figure(&self) -> i64 {
        self.get()
    }
}

impl Figure for Counter<u64, AtomicU64> {
    fn figure(&self) -> i64 {
        i64::try_from(self.get()).unwrap_or(i64::MAX)
    }
}

fn value(figure: &impl Figure) -> i64 {
    figure.figure()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_come_out_as_prometheus_expects_them() {
        let metrics = Metrics::default();
        metrics.connections.set(3);
        metrics.messages_received.inc_by(7);
        let text = metrics.prometheus();
        assert!(text.contains("# TYPE sotto_smp_connections gauge\nsotto_smp_connections 3\n"));
        assert!(
            text.contains("sotto_smp_messages_received_total 7\n"),
            "{text}"
        );
        assert!(text.ends_with("# EOF\n"));
        assert_eq!(metrics.snapshot().messages_received, 7);
    }
}
