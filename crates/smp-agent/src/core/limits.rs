//! How much of everything, and how long.

/// Events that wait for the application; with more, messages stay at the relays.
pub const MAX_EVENTS: u64 = 10_000;

/// Messages of one connection that wait for one before them.
pub const MAX_HELD: u64 = 512;

/// How long a message waits for one before it, in milliseconds. A relay does not let messages of one
/// queue overtake each other, so that one that is missing was lost.
pub const HOLD: i64 = 10_000;

/// The same with several queues, where messages overtake each other.
pub const HOLD_WITH_SEVERAL: i64 = 60_000;

/// Messages that wait in one queue to be sent.
pub const MAX_OUTGOING: u64 = 10_000;

/// Requests at one contact address that nobody has accepted or rejected; more are dropped.
pub const MAX_REQUESTS: u64 = 1_000;

/// Queues in which one connection receives, or to which it sends, those that are being replaced
/// included.
pub const MAX_QUEUES: usize = 8;

/// How long a message is tried, in milliseconds: as long as a relay keeps one.
pub const MESSAGE_LIFETIME: i64 = 21 * 24 * 3_600_000;

/// The first pause after a command that got no answer, in milliseconds; it doubles each time.
pub const FIRST_PAUSE: i64 = 1_000;

/// The longest such pause, in milliseconds.
pub const LONGEST_PAUSE: i64 = 60_000;

/// The pause after a queue was full, in milliseconds, unless the peer says before that it is not.
pub const FULL_PAUSE: i64 = 5 * 60_000;

/// The pause after the store failed, in milliseconds.
pub const STORE_PAUSE: i64 = 5_000;

/// How long a message waits for a relay before a queue that the peer offered in its place is used
/// without more words, in milliseconds.
pub const STUCK: i64 = 10 * 60_000;

/// How often queues and relays are looked at, in milliseconds.
pub const MAINTENANCE: i64 = 3_600_000;

/// How long a relay is out of reach before queues there are replaced, and how long a queue is kept
/// that was replaced when messages were missing, in milliseconds.
pub const DEAD_RELAY: i64 = 24 * 3_600_000;
