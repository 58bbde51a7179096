//! Layouts of the tables one after the other. Each step is made in a transaction of the caller's.

use std::collections::HashMap;

use rusqlite::{Connection, params};
use smp_protocol::{Fingerprint, ServiceRole};

use super::sides::both;
use crate::store::index::Key;
use crate::store::record::Packed;
use crate::store::{QueueId, ServiceIds};

/// Makes the table of the one salt, and the salt.
pub(super) fn create_salt(connection: &Connection) -> rusqlite::Result<ServiceIds> {
    let ids = ServiceIds::random();
    connection.execute_batch("CREATE TABLE salt (salt BLOB NOT NULL)")?;
    connection.execute("INSERT INTO salt VALUES (?)", [ids.salt()])?;
    Ok(ids)
}

/// Reads the salt.
pub(super) fn read_salt(connection: &Connection) -> rusqlite::Result<ServiceIds> {
    connection.query_row("SELECT salt FROM salt", [], |row| {
        row.get(0).map(ServiceIds::new)
    })
}

/// From layout 1, in which each service that ever came had a row with a random id. Queues go to the
/// id that follows from the service's certificate now.
pub(super) fn to_2(connection: &Connection) -> rusqlite::Result<()> {
    let ids = create_salt(connection)?;
    let mut renamed = HashMap::new();
    let mut statement = connection.prepare("SELECT fingerprint, role, id FROM service")?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let role = match row.get(1)? {
            0 => ServiceRole::Messaging,
            1 => ServiceRole::Notifier,
            2 => ServiceRole::Proxy,
            other => return Err(rusqlite::Error::IntegralValueOutOfRange(1, other)),
        };
        let new = ids.id(&Fingerprint(row.get(0)?), role);
        renamed.insert(QueueId(row.get(2)?), new);
    }
    drop(rows);
    for (read, write) in both!("SELECT key, record FROM queue", "")
        .into_iter()
        .zip(both!("UPDATE queue", " SET record = ? WHERE key = ?"))
    {
        let mut write = connection.prepare(write)?;
        for (key, record) in renamed_records(connection, read, &renamed)? {
            write.execute(params![record.bytes(), key])?;
        }
    }
    connection.execute_batch("DROP TABLE service")
}

/// The records that change. One that can't be read stays, and is found when the store is read.
fn renamed_records(
    connection: &Connection,
    read: &str,
    renamed: &HashMap<QueueId, QueueId>,
) -> rusqlite::Result<Vec<(Key, Packed)>> {
    let mut statement = connection.prepare(read)?;
    let mut rows = statement.query([])?;
    let mut changed = Vec::new();
    while let Some(row) = rows.next()? {
        let packed = row.get_ref(1)?.as_blob().ok().and_then(Packed::read);
        let Some(former) = packed.and_then(|packed| packed.record()) else {
            continue;
        };
        let mut record = former.clone();
        let new = |id: &mut QueueId| {
            if let Some(new) = renamed.get(id) {
                *id = *new;
            }
        };
        record.service.iter_mut().for_each(new);
        let notifier = record.notifier.as_mut();
        notifier.and_then(|one| one.service.as_mut()).map(new);
        if record != former {
            changed.push((row.get(0)?, Packed::new(&record)));
        }
    }
    Ok(changed)
}
