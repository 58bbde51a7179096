-- Secrets stand behind a filler that is as long as a page, where no copies of them stay behind.
-- Ids of AUTOINCREMENT are never used again.

CREATE TABLE connection (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    kind INTEGER NOT NULL,
    state INTEGER NOT NULL,
    version INTEGER NOT NULL,
    post_quantum INTEGER NOT NULL,
    sent_id INTEGER NOT NULL,
    sent_hash BLOB NOT NULL,
    received_id INTEGER NOT NULL,
    received_hash BLOB NOT NULL,
    missing INTEGER NOT NULL,
    sync INTEGER NOT NULL,
    created INTEGER NOT NULL
) STRICT;

CREATE TABLE own_info (
    connection INTEGER PRIMARY KEY REFERENCES connection (id) ON DELETE CASCADE,
    filler BLOB NOT NULL DEFAULT (zeroblob(4096)),
    info BLOB NOT NULL
) STRICT;

CREATE TABLE link_data (
    connection INTEGER PRIMARY KEY REFERENCES connection (id) ON DELETE CASCADE,
    filler BLOB NOT NULL DEFAULT (zeroblob(4096)),
    data BLOB NOT NULL
) STRICT;

CREATE TABLE joining (
    connection INTEGER PRIMARY KEY REFERENCES connection (id) ON DELETE CASCADE,
    filler BLOB NOT NULL DEFAULT (zeroblob(4096)),
    link TEXT NOT NULL,
    key BLOB NOT NULL
) STRICT;

CREATE TABLE ratchet (
    connection INTEGER PRIMARY KEY REFERENCES connection (id) ON DELETE CASCADE,
    filler BLOB NOT NULL DEFAULT (zeroblob(4096)),
    state BLOB NOT NULL
) STRICT;

CREATE TABLE initiator_keys (
    connection INTEGER PRIMARY KEY REFERENCES connection (id) ON DELETE CASCADE,
    filler BLOB NOT NULL DEFAULT (zeroblob(4096)),
    keys BLOB NOT NULL
) STRICT;

CREATE TABLE joiner_params (
    connection INTEGER PRIMARY KEY REFERENCES connection (id) ON DELETE CASCADE,
    filler BLOB NOT NULL DEFAULT (zeroblob(4096)),
    params BLOB NOT NULL
) STRICT;

CREATE TABLE receive_queue (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    connection INTEGER NOT NULL REFERENCES connection (id) ON DELETE CASCADE,
    state INTEGER NOT NULL,
    mode INTEGER NOT NULL,
    secured INTEGER NOT NULL,
    replaces INTEGER,
    switch INTEGER NOT NULL,
    created INTEGER NOT NULL,
    -- Stands for relay and recipient's id in the index, which has no filler.
    digest INTEGER,
    filler BLOB NOT NULL DEFAULT (zeroblob(4096)),
    relay BLOB NOT NULL,
    recipient_id BLOB,
    sender_id BLOB,
    key BLOB NOT NULL,
    delivery_key BLOB NOT NULL,
    delivery_secret BLOB,
    e2e_key BLOB NOT NULL,
    e2e_secret BLOB,
    sender_key BLOB,
    link_id BLOB,
    link_key BLOB,
    link_root_key BLOB,
    link_fixed BLOB
) STRICT;
CREATE INDEX receive_queue_connection ON receive_queue (connection);
CREATE INDEX receive_queue_digest ON receive_queue (digest);

CREATE TABLE send_queue (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    connection INTEGER NOT NULL REFERENCES connection (id) ON DELETE CASCADE,
    state INTEGER NOT NULL,
    client_version INTEGER NOT NULL,
    securing INTEGER NOT NULL,
    secured INTEGER NOT NULL,
    replaces INTEGER,
    full_since INTEGER,
    filler BLOB NOT NULL DEFAULT (zeroblob(4096)),
    relay BLOB NOT NULL,
    sender_id BLOB NOT NULL,
    key BLOB NOT NULL,
    e2e_key BLOB NOT NULL,
    e2e_secret BLOB NOT NULL
) STRICT;
CREATE INDEX send_queue_connection ON send_queue (connection);

CREATE TABLE outgoing (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    queue INTEGER NOT NULL REFERENCES send_queue (id) ON DELETE CASCADE,
    kind INTEGER NOT NULL,
    message_id INTEGER NOT NULL,
    notify INTEGER NOT NULL,
    created INTEGER NOT NULL,
    filler BLOB NOT NULL DEFAULT (zeroblob(4096)),
    body BLOB NOT NULL
) STRICT;
CREATE INDEX outgoing_queue ON outgoing (queue);

-- An event may tell of a connection that is gone.
CREATE TABLE event (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    connection INTEGER NOT NULL,
    at INTEGER NOT NULL,
    filler BLOB NOT NULL DEFAULT (zeroblob(4096)),
    body BLOB NOT NULL
) STRICT;

CREATE TABLE held (
    id INTEGER PRIMARY KEY,
    connection INTEGER NOT NULL REFERENCES connection (id) ON DELETE CASCADE,
    message_id INTEGER NOT NULL,
    sent_at INTEGER NOT NULL,
    held_at INTEGER NOT NULL,
    filler BLOB NOT NULL DEFAULT (zeroblob(4096)),
    previous_hash BLOB NOT NULL,
    hash BLOB NOT NULL,
    body BLOB NOT NULL,
    UNIQUE (connection, message_id)
) STRICT;
CREATE INDEX held_at ON held (held_at);

CREATE TABLE request (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    address INTEGER NOT NULL REFERENCES connection (id) ON DELETE CASCADE,
    received INTEGER NOT NULL,
    filler BLOB NOT NULL DEFAULT (zeroblob(4096)),
    link TEXT NOT NULL,
    info BLOB NOT NULL
) STRICT;
CREATE INDEX request_address ON request (address);

CREATE TABLE sent (
    connection INTEGER NOT NULL REFERENCES connection (id) ON DELETE CASCADE,
    message_id INTEGER NOT NULL,
    hash BLOB NOT NULL,
    at INTEGER NOT NULL,
    PRIMARY KEY (connection, message_id)
) STRICT, WITHOUT ROWID;

CREATE TABLE owed_receipt (
    connection INTEGER NOT NULL REFERENCES connection (id) ON DELETE CASCADE,
    message_id INTEGER NOT NULL,
    hash BLOB NOT NULL,
    PRIMARY KEY (connection, message_id)
) STRICT, WITHOUT ROWID;

CREATE TABLE seen (
    connection INTEGER NOT NULL REFERENCES connection (id) ON DELETE CASCADE,
    -- Counts what was seen in the connection.
    number INTEGER NOT NULL,
    hash BLOB NOT NULL,
    at INTEGER NOT NULL,
    PRIMARY KEY (connection, number)
) STRICT, WITHOUT ROWID;
CREATE UNIQUE INDEX seen_hash ON seen (connection, hash);

CREATE TABLE setting (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    filler BLOB NOT NULL DEFAULT (zeroblob(4096)),
    value BLOB NOT NULL
) STRICT;
