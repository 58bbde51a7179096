//! The data of short links.

use smp_protocol::LinkData;
use smp_server::store::{Lookup, QueueChange, QueueId, QueueRecord, Store, Updated};

use crate::support::{created, link, noise, queue};

rules! {
    a_new_queue_has_its_links_data,
    a_queue_without_a_link_has_no_data,
    a_link_that_is_set_later_finds_the_queue,
    the_users_data_may_change,
    other_fixed_data_is_refused,
    another_link_id_is_refused,
    a_link_id_of_another_queue_is_refused,
    a_removed_link_is_gone_with_its_data,
    a_removed_links_id_is_free,
    another_link_may_follow_a_removed_one,
    long_link_data_comes_back,
    empty_link_data_comes_back,
}

async fn linked(store: &impl Store) -> QueueRecord {
    let record = QueueRecord {
        link_id: Some(QueueId::random()),
        ..queue()
    };
    store
        .create(record.clone(), Some(link(b"fixed", b"user")))
        .await
        .unwrap();
    record
}

async fn set(store: &impl Store, record: &QueueRecord, id: QueueId, data: LinkData) -> Updated {
    let change = QueueChange::Link(Some((id, data)));
    store.update(&record.recipient_id, change).await.unwrap()
}

async fn data(store: &impl Store, record: &QueueRecord) -> Option<LinkData> {
    store.link_data(&record.recipient_id).await.unwrap()
}

async fn finds(store: &impl Store, id: QueueId) -> Option<QueueId> {
    store
        .find(Lookup::Link(id))
        .await
        .unwrap()
        .map(|record| record.recipient_id)
}

async fn a_new_queue_has_its_links_data(store: &impl Store) {
    let record = linked(store).await;
    assert!(data(store, &record).await == Some(link(b"fixed", b"user")));
}

async fn a_queue_without_a_link_has_no_data(store: &impl Store) {
    let record = created(store).await;
    assert!(data(store, &record).await.is_none());
    assert!(store.link_data(&QueueId::random()).await.unwrap().is_none());
}

async fn a_link_that_is_set_later_finds_the_queue(store: &impl Store) {
    let (record, id) = (created(store).await, QueueId::random());
    let set = set(store, &record, id, link(b"fixed", b"user")).await;
    let linked = QueueRecord {
        link_id: Some(id),
        ..record.clone()
    };
    assert!(matches!(set, Updated::Done(now) if *now == linked));
    assert!(finds(store, id).await == Some(record.recipient_id));
    assert!(data(store, &record).await == Some(link(b"fixed", b"user")));
}

async fn the_users_data_may_change(store: &impl Store) {
    let record = linked(store).await;
    let set = set(
        store,
        &record,
        record.link_id.unwrap(),
        link(b"fixed", b"new"),
    )
    .await;
    assert!(matches!(set, Updated::Done(now) if *now == record));
    assert!(data(store, &record).await == Some(link(b"fixed", b"new")));
}

async fn other_fixed_data_is_refused(store: &impl Store) {
    let record = linked(store).await;
    let set = set(
        store,
        &record,
        record.link_id.unwrap(),
        link(b"other", b"user"),
    )
    .await;
    assert!(matches!(set, Updated::Refused));
    assert!(data(store, &record).await == Some(link(b"fixed", b"user")));
}

async fn another_link_id_is_refused(store: &impl Store) {
    let (record, id) = (linked(store).await, QueueId::random());
    let set = set(store, &record, id, link(b"fixed", b"user")).await;
    assert!(matches!(set, Updated::Refused));
    assert!(finds(store, id).await.is_none());
    assert!(finds(store, record.link_id.unwrap()).await.is_some());
}

async fn a_link_id_of_another_queue_is_refused(store: &impl Store) {
    let (one, other) = (linked(store).await, created(store).await);
    let id = one.link_id.unwrap();
    let set = set(store, &other, id, link(b"fixed", b"user")).await;
    assert!(matches!(set, Updated::Refused));
    assert!(finds(store, id).await == Some(one.recipient_id));
    assert!(data(store, &other).await.is_none());
}

async fn a_removed_link_is_gone_with_its_data(store: &impl Store) {
    let record = linked(store).await;
    let removed = store
        .update(&record.recipient_id, QueueChange::Link(None))
        .await
        .unwrap();
    assert!(matches!(removed, Updated::Done(now) if now.link_id.is_none()));
    assert!(finds(store, record.link_id.unwrap()).await.is_none());
    assert!(data(store, &record).await.is_none());
}

async fn a_removed_links_id_is_free(store: &impl Store) {
    let (one, other) = (linked(store).await, created(store).await);
    store
        .update(&one.recipient_id, QueueChange::Link(None))
        .await
        .unwrap();
    let id = one.link_id.unwrap();
    let set = set(store, &other, id, link(b"other", b"data")).await;
    assert!(matches!(set, Updated::Done(_)));
    assert!(finds(store, id).await == Some(other.recipient_id));
}

async fn another_link_may_follow_a_removed_one(store: &impl Store) {
    let (record, id) = (linked(store).await, QueueId::random());
    store
        .update(&record.recipient_id, QueueChange::Link(None))
        .await
        .unwrap();
    let set = set(store, &record, id, link(b"other", b"data")).await;
    assert!(matches!(set, Updated::Done(_)));
    assert!(data(store, &record).await == Some(link(b"other", b"data")));
}

async fn long_link_data_comes_back(store: &impl Store) {
    let record = created(store).await;
    let long = link(&noise(1, 16_000), &noise(2, 16_000));
    set(store, &record, QueueId::random(), long.clone()).await;
    assert!(data(store, &record).await == Some(long));
}

async fn empty_link_data_comes_back(store: &impl Store) {
    let record = created(store).await;
    set(store, &record, QueueId::random(), link(b"", b"")).await;
    assert!(data(store, &record).await == Some(link(b"", b"")));
}
