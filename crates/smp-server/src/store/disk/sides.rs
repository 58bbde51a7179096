//! Each table twice, so that compaction can move all rows to fresh pages.
//!
//! SQLite zeroes what is deleted, but not the copies that stay behind in a page when its rows move
//! to another. So each table is there twice, as side 0 and side 1. All rows are on one side; a
//! compaction moves them to the other, those of a few queues at a time, and drops the emptied side,
//! whose pages SQLite zeroes as a whole. Queues whose key is below a border have moved already.

use rusqlite::{Connection, params};

use crate::store::index::Key;

/// A statement for each side of its first part's table.
macro_rules! both {
    ($to_table:literal, $rest:literal) => {
        [
            concat!($to_table, "_0", $rest),
            concat!($to_table, "_1", $rest),
        ]
    };
}
pub(super) use both;

const CREATE: [[&str; 2]; 3] = [
    both!(
        "CREATE TABLE queue",
        " (key INTEGER PRIMARY KEY, record BLOB NOT NULL)"
    ),
    both!(
        "CREATE TABLE link",
        " (key INTEGER PRIMARY KEY, fixed BLOB NOT NULL, user BLOB NOT NULL)"
    ),
    both!(
        "CREATE TABLE message",
        " (queue INTEGER NOT NULL, number INTEGER NOT NULL, id BLOB NOT NULL,
           timestamp INTEGER NOT NULL, notification INTEGER NOT NULL, slot INTEGER,
           PRIMARY KEY (queue, number)) WITHOUT ROWID"
    ),
];

const DROP: [[&str; 2]; 3] = [
    both!("DROP TABLE queue", ""),
    both!("DROP TABLE link", ""),
    both!("DROP TABLE message", ""),
];

/// Moves rows to side 0 or 1.
const COPY: [[&str; 2]; 3] = [
    [
        "INSERT INTO queue_0 SELECT * FROM queue_1 WHERE key >= ? AND key < ? ORDER BY key",
        "INSERT INTO queue_1 SELECT * FROM queue_0 WHERE key >= ? AND key < ? ORDER BY key",
    ],
    [
        "INSERT INTO link_0 SELECT * FROM link_1 WHERE key >= ? AND key < ? ORDER BY key",
        "INSERT INTO link_1 SELECT * FROM link_0 WHERE key >= ? AND key < ? ORDER BY key",
    ],
    [
        "INSERT INTO message_0 SELECT * FROM message_1 WHERE queue >= ? AND queue < ?
            ORDER BY queue, number",
        "INSERT INTO message_1 SELECT * FROM message_0 WHERE queue >= ? AND queue < ?
            ORDER BY queue, number",
    ],
];

/// Deletes moved rows from side 0 or 1.
const DELETE: [[&str; 2]; 3] = [
    both!("DELETE FROM queue", " WHERE key >= ? AND key < ?"),
    both!("DELETE FROM link", " WHERE key >= ? AND key < ?"),
    both!("DELETE FROM message", " WHERE queue >= ? AND queue < ?"),
];

/// Whether a side has no rows.
const EMPTY: [&str; 2] = [
    "SELECT NOT EXISTS (SELECT 1 FROM queue_0) AND NOT EXISTS (SELECT 1 FROM link_0)
        AND NOT EXISTS (SELECT 1 FROM message_0)",
    "SELECT NOT EXISTS (SELECT 1 FROM queue_1) AND NOT EXISTS (SELECT 1 FROM link_1)
        AND NOT EXISTS (SELECT 1 FROM message_1)",
];

/// On which side rows are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Sides {
    /// The side of the queues from the border on.
    side: usize,
    /// Queues below are on the other side.
    border: Key,
}

impl Sides {
    /// Makes the tables.
    pub(super) fn create(connection: &Connection) -> rusqlite::Result<Self> {
        for table in CREATE.iter().flatten() {
            connection.execute_batch(table)?;
        }
        connection.execute_batch(
            "CREATE TABLE side (side INTEGER NOT NULL, border INTEGER NOT NULL);
             INSERT INTO side VALUES (0, 0);",
        )?;
        Ok(Self { side: 0, border: 0 })
    }

    /// Reads where the last step ended.
    pub(super) fn read(connection: &Connection) -> rusqlite::Result<Self> {
        connection.query_row("SELECT side, border FROM side", [], |row| {
            Ok(Self {
                side: usize::from(row.get::<_, bool>(0)?),
                border: row.get(1)?,
            })
        })
    }

    /// The side of a queue's rows.
    pub(super) fn of(self, key: Key) -> usize {
        if key < self.border {
            1 - self.side
        } else {
            self.side
        }
    }

    /// Whether all rows are on one side.
    pub(super) fn is_even(self) -> bool {
        self.border == 0
    }

    /// Moves the next `count` queues of `all` that there may be, in the caller's transaction.
    pub(super) fn step(
        self,
        connection: &Connection,
        count: Key,
        all: Key,
    ) -> rusqlite::Result<Self> {
        let end = self.border.saturating_add(count);
        let (from, to) = (self.side, 1 - self.side);
        for (copy, delete) in COPY.iter().zip(&DELETE) {
            let range = params![self.border, end];
            connection.prepare(copy[to])?.execute(range)?;
            connection.prepare(delete[from])?.execute(range)?;
        }
        let moved = if end < all || !is_empty(connection, from)? {
            Self {
                border: end,
                ..self
            }
        } else {
            // What is left of the emptied tables goes, too.
            for (drop, create) in DROP.iter().zip(&CREATE) {
                connection.execute_batch(drop[from])?;
                connection.execute_batch(create[from])?;
            }
            Self {
                side: to,
                border: 0,
            }
        };
        connection
            .prepare("UPDATE side SET side = ?, border = ?")?
            .execute(params![moved.side == 1, moved.border])?;
        Ok(moved)
    }
}

fn is_empty(connection: &Connection, side: usize) -> rusqlite::Result<bool> {
    connection.query_row(EMPTY[side], [], |row| row.get(0))
}
