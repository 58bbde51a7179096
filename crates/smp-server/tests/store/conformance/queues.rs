//! Queues, their ids and what changes of them.

use std::sync::Arc;

use smp_protocol::{AuthPublicKey, BlockingInfo, BlockingReason, QueueMode};
use smp_server::store::{
    Counts, CreateError, Lookup, QueueChange, QueueId, QueueRecord, QueueStatus, ServiceKind,
    Store, Updated,
};

use crate::support::{QUOTA, created, drained, link, message, notifier, queue};

rules! {
    a_new_queue_is_found_by_each_of_its_ids,
    an_id_finds_nothing_as_an_id_of_another_kind,
    a_queue_comes_back_as_it_was_made,
    a_queue_without_notifier_and_link_is_found_by_two_ids,
    a_taken_recipient_id_is_refused,
    a_taken_sender_id_is_refused,
    a_taken_notifier_id_is_refused,
    a_taken_link_id_is_refused,
    a_refused_queue_takes_none_of_its_ids,
    a_refused_queue_leaves_the_other_as_it_is,
    the_first_sender_key_is_kept,
    the_same_sender_key_again_is_fine,
    another_sender_key_is_refused,
    recipient_keys_take_the_place_of_the_former,
    every_status_comes_back,
    the_day_of_the_last_use_is_kept,
    a_changed_queue_keeps_the_rest,
    every_change_of_a_missing_queue_finds_it_gone,
    a_new_notifier_finds_the_queue_and_the_former_no_longer,
    a_notifier_id_of_another_queue_is_refused,
    a_removed_notifier_frees_its_id,
    a_deleted_queue_is_returned_once,
    a_deleted_queue_is_found_by_none_of_its_ids,
    a_deleted_queue_frees_its_ids,
    a_queue_with_the_ids_of_a_deleted_one_has_nothing_of_it,
    queues_and_messages_are_counted,
}

fn full() -> QueueRecord {
    QueueRecord {
        recipient_keys: vec![
            AuthPublicKey::Ed25519([1; 32]),
            AuthPublicKey::X25519([2; 32]),
        ],
        sender_key: Some(AuthPublicKey::X25519([3; 32])),
        mode: Some(QueueMode::Contact),
        notifier: Some(notifier()),
        link_id: Some(QueueId::random()),
        service: Some(QueueId::random()),
        ..queue()
    }
}

fn lookups(record: &QueueRecord) -> [Lookup; 4] {
    [
        Lookup::Recipient(record.recipient_id),
        Lookup::Sender(record.sender_id),
        Lookup::Notifier(record.notifier.as_ref().unwrap().id),
        Lookup::Link(record.link_id.unwrap()),
    ]
}

async fn found(store: &impl Store, lookup: Lookup) -> Option<QueueRecord> {
    store.find(lookup).await.unwrap().map(Arc::unwrap_or_clone)
}

async fn stored(store: &impl Store, record: &QueueRecord) -> QueueRecord {
    found(store, Lookup::Recipient(record.recipient_id))
        .await
        .unwrap()
}

async fn changed(store: &impl Store, id: &QueueId, change: QueueChange) -> QueueRecord {
    match store.update(id, change).await.unwrap() {
        Updated::Done(record) => Arc::unwrap_or_clone(record),
        other => panic!("{other:?}"),
    }
}

async fn a_new_queue_is_found_by_each_of_its_ids(store: &impl Store) {
    let record = full();
    store
        .create(record.clone(), Some(link(b"fixed", b"user")))
        .await
        .unwrap();
    for lookup in lookups(&record) {
        assert!(
            found(store, lookup).await == Some(record.clone()),
            "{lookup:?}"
        );
    }
}

async fn an_id_finds_nothing_as_an_id_of_another_kind(store: &impl Store) {
    let record = full();
    store
        .create(record.clone(), Some(link(b"fixed", b"user")))
        .await
        .unwrap();
    let ids = lookups(&record).map(|lookup| match lookup {
        Lookup::Recipient(id) | Lookup::Sender(id) | Lookup::Notifier(id) | Lookup::Link(id) => id,
    });
    let kinds = [
        Lookup::Recipient,
        Lookup::Sender,
        Lookup::Notifier,
        Lookup::Link,
    ];
    for (own, kind) in kinds.into_iter().enumerate() {
        for (at, id) in ids.into_iter().enumerate() {
            assert_eq!(found(store, kind(id)).await.is_some(), at == own);
        }
    }
}

async fn a_queue_comes_back_as_it_was_made(store: &impl Store) {
    for mode in [None, Some(QueueMode::Messaging), Some(QueueMode::Contact)] {
        let keys = (0..=254)
            .map(|byte| AuthPublicKey::Ed25519([byte; 32]))
            .collect();
        let record = QueueRecord {
            mode,
            recipient_keys: keys,
            ..full()
        };
        store.create(record.clone(), None).await.unwrap();
        assert!(stored(store, &record).await == record);
    }
}

async fn a_queue_without_notifier_and_link_is_found_by_two_ids(store: &impl Store) {
    let record = created(store).await;
    assert!(
        found(store, Lookup::Recipient(record.recipient_id))
            .await
            .is_some()
    );
    assert!(
        found(store, Lookup::Sender(record.sender_id))
            .await
            .is_some()
    );
    assert!(
        found(store, Lookup::Notifier(record.recipient_id))
            .await
            .is_none()
    );
    assert!(
        found(store, Lookup::Link(record.recipient_id))
            .await
            .is_none()
    );
}

async fn taken(store: &impl Store, record: QueueRecord) {
    let refused = store.create(record, None).await;
    assert!(matches!(refused, Err(CreateError::Taken)), "{refused:?}");
    assert_eq!(
        store.counts().await.unwrap(),
        Counts {
            queues: 1,
            messages: 0
        }
    );
}

async fn a_taken_recipient_id_is_refused(store: &impl Store) {
    let recipient_id = created(store).await.recipient_id;
    taken(
        store,
        QueueRecord {
            recipient_id,
            ..full()
        },
    )
    .await;
}

async fn a_taken_sender_id_is_refused(store: &impl Store) {
    let sender_id = created(store).await.sender_id;
    taken(
        store,
        QueueRecord {
            sender_id,
            ..full()
        },
    )
    .await;
}

async fn a_taken_notifier_id_is_refused(store: &impl Store) {
    let notifier = full().notifier;
    store
        .create(
            QueueRecord {
                notifier: notifier.clone(),
                ..queue()
            },
            None,
        )
        .await
        .unwrap();
    taken(store, QueueRecord { notifier, ..full() }).await;
}

async fn a_taken_link_id_is_refused(store: &impl Store) {
    let link_id = full().link_id;
    let record = QueueRecord { link_id, ..queue() };
    store
        .create(record, Some(link(b"fixed", b"user")))
        .await
        .unwrap();
    taken(store, QueueRecord { link_id, ..full() }).await;
}

async fn a_refused_queue_takes_none_of_its_ids(store: &impl Store) {
    let sender_id = created(store).await.sender_id;
    let refused = QueueRecord {
        sender_id,
        ..full()
    };
    taken(store, refused.clone()).await;
    let record = QueueRecord {
        sender_id: QueueId::random(),
        ..refused
    };
    store.create(record, None).await.unwrap();
}

async fn a_refused_queue_leaves_the_other_as_it_is(store: &impl Store) {
    let record = full();
    store
        .create(record.clone(), Some(link(b"fixed", b"user")))
        .await
        .unwrap();
    let refused = QueueRecord {
        link_id: record.link_id,
        ..full()
    };
    taken_by(store, refused, &record).await;
    let refused = QueueRecord {
        recipient_id: record.recipient_id,
        ..full()
    };
    taken_by(store, refused, &record).await;
}

async fn taken_by(store: &impl Store, refused: QueueRecord, record: &QueueRecord) {
    let data = Some(link(b"other", b"data"));
    assert!(store.create(refused, data).await.is_err());
    for lookup in lookups(record) {
        assert!(found(store, lookup).await.as_ref() == Some(record));
    }
    let data = store.link_data(&record.recipient_id).await.unwrap();
    assert!(data == Some(link(b"fixed", b"user")));
}

async fn the_first_sender_key_is_kept(store: &impl Store) {
    let record = created(store).await;
    let key = AuthPublicKey::Ed25519([1; 32]);
    let secured = changed(store, &record.recipient_id, QueueChange::SenderKey(key)).await;
    assert!(
        secured
            == QueueRecord {
                sender_key: Some(key),
                ..record.clone()
            }
    );
    assert!(stored(store, &record).await == secured);
}

async fn the_same_sender_key_again_is_fine(store: &impl Store) {
    let record = created(store).await;
    let change = QueueChange::SenderKey(AuthPublicKey::Ed25519([1; 32]));
    let secured = changed(store, &record.recipient_id, change.clone()).await;
    assert!(changed(store, &record.recipient_id, change).await == secured);
}

async fn another_sender_key_is_refused(store: &impl Store) {
    let record = created(store).await;
    let change = QueueChange::SenderKey(AuthPublicKey::Ed25519([1; 32]));
    let secured = changed(store, &record.recipient_id, change).await;
    // The same bytes as a key of the other kind are another key.
    for other in [
        AuthPublicKey::Ed25519([2; 32]),
        AuthPublicKey::X25519([1; 32]),
    ] {
        let refused = store
            .update(&record.recipient_id, QueueChange::SenderKey(other))
            .await;
        assert!(matches!(refused.unwrap(), Updated::Refused));
    }
    assert!(stored(store, &record).await == secured);
}

async fn recipient_keys_take_the_place_of_the_former(store: &impl Store) {
    let record = created(store).await;
    let keys = vec![AuthPublicKey::X25519([5; 32]); 3];
    let change = QueueChange::RecipientKeys(keys.clone());
    changed(store, &record.recipient_id, change).await;
    let changed = QueueRecord {
        recipient_keys: keys,
        ..record.clone()
    };
    assert!(stored(store, &record).await == changed);
}

async fn every_status_comes_back(store: &impl Store) {
    let record = created(store).await;
    let blocked = |reason, notice: Option<&str>| {
        QueueStatus::Blocked(BlockingInfo {
            reason,
            notice: notice.map(Into::into),
        })
    };
    for status in [
        QueueStatus::Suspended,
        blocked(BlockingReason::Spam, None),
        blocked(
            BlockingReason::Content,
            Some(r#"{"ttl":86400,"text":"a b, c=d"}"#),
        ),
        blocked(BlockingReason::Unknown("court-order_7".into()), None),
        QueueStatus::Active,
    ] {
        let change = QueueChange::Status(status.clone());
        changed(store, &record.recipient_id, change).await;
        assert_eq!(stored(store, &record).await.status, status);
    }
}

async fn the_day_of_the_last_use_is_kept(store: &impl Store) {
    let record = created(store).await;
    changed(store, &record.recipient_id, QueueChange::UsedOn(20_001)).await;
    assert_eq!(stored(store, &record).await.used_on, 20_001);
}

async fn a_changed_queue_keeps_the_rest(store: &impl Store) {
    let record = full();
    store
        .create(record.clone(), Some(link(b"fixed", b"user")))
        .await
        .unwrap();
    store
        .push(&record.recipient_id, message(1), QUOTA)
        .await
        .unwrap();
    let change = QueueChange::Status(QueueStatus::Suspended);
    changed(store, &record.recipient_id, change).await;
    let suspended = QueueRecord {
        status: QueueStatus::Suspended,
        ..record.clone()
    };
    for lookup in lookups(&record) {
        assert!(found(store, lookup).await == Some(suspended.clone()));
    }
    let data = store.link_data(&record.recipient_id).await.unwrap();
    assert!(data == Some(link(b"fixed", b"user")));
    assert_eq!(store.length(&record.recipient_id).await.unwrap(), 1);
}

async fn every_change_of_a_missing_queue_finds_it_gone(store: &impl Store) {
    let other = created(store).await;
    let changes = [
        QueueChange::SenderKey(AuthPublicKey::Ed25519([1; 32])),
        QueueChange::RecipientKeys(Vec::new()),
        QueueChange::Status(QueueStatus::Suspended),
        QueueChange::Notifier(Some(notifier())),
        QueueChange::Notifier(None),
        QueueChange::Link(Some((QueueId::random(), link(b"fixed", b"user")))),
        QueueChange::Link(None),
        QueueChange::Service {
            kind: ServiceKind::Messages,
            service: None,
        },
        QueueChange::Service {
            kind: ServiceKind::Notifications,
            service: None,
        },
        QueueChange::UsedOn(1),
    ];
    for change in changes {
        let gone = store.update(&other.sender_id, change).await.unwrap();
        assert!(matches!(gone, Updated::Gone), "{gone:?}");
    }
    assert!(stored(store, &other).await == other);
}

async fn a_new_notifier_finds_the_queue_and_the_former_no_longer(store: &impl Store) {
    let record = full();
    store.create(record.clone(), None).await.unwrap();
    let (former, new) = (record.notifier.clone().unwrap(), notifier());
    let change = QueueChange::Notifier(Some(new.clone()));
    changed(store, &record.recipient_id, change).await;
    let notified = QueueRecord {
        notifier: Some(new.clone()),
        ..record
    };
    assert!(found(store, Lookup::Notifier(new.id)).await == Some(notified));
    assert!(found(store, Lookup::Notifier(former.id)).await.is_none());
}

async fn a_notifier_id_of_another_queue_is_refused(store: &impl Store) {
    let (one, other) = (full(), full());
    store.create(one.clone(), None).await.unwrap();
    store.create(other.clone(), None).await.unwrap();
    let change = QueueChange::Notifier(one.notifier.clone());
    let refused = store.update(&other.recipient_id, change).await.unwrap();
    assert!(matches!(refused, Updated::Refused), "{refused:?}");
    for record in [one, other] {
        let id = record.notifier.as_ref().unwrap().id;
        assert!(found(store, Lookup::Notifier(id)).await == Some(record));
    }
}

async fn a_removed_notifier_frees_its_id(store: &impl Store) {
    let (one, other) = (full(), created(store).await);
    store.create(one.clone(), None).await.unwrap();
    changed(store, &one.recipient_id, QueueChange::Notifier(None)).await;
    let id = one.notifier.as_ref().unwrap().id;
    assert!(found(store, Lookup::Notifier(id)).await.is_none());
    changed(
        store,
        &other.recipient_id,
        QueueChange::Notifier(one.notifier),
    )
    .await;
    let found = found(store, Lookup::Notifier(id)).await.unwrap();
    assert!(found.recipient_id == other.recipient_id);
}

async fn a_deleted_queue_is_returned_once(store: &impl Store) {
    let record = created(store).await;
    let deleted = store.delete(&record.recipient_id).await.unwrap();
    assert!(deleted.as_deref() == Some(&record));
    assert!(store.delete(&record.recipient_id).await.unwrap().is_none());
}

async fn a_deleted_queue_is_found_by_none_of_its_ids(store: &impl Store) {
    let record = full();
    store
        .create(record.clone(), Some(link(b"fixed", b"user")))
        .await
        .unwrap();
    store
        .push(&record.recipient_id, message(1), QUOTA)
        .await
        .unwrap();
    store.delete(&record.recipient_id).await.unwrap();
    for lookup in lookups(&record) {
        assert!(found(store, lookup).await.is_none(), "{lookup:?}");
    }
    let id = &record.recipient_id;
    assert!(store.link_data(id).await.unwrap().is_none());
    assert!(store.first(id).await.unwrap().is_none());
    assert_eq!(store.length(id).await.unwrap(), 0);
    assert_eq!(store.counts().await.unwrap(), Counts::default());
    let service = record.service.unwrap();
    let totals = store
        .service_totals(&service, ServiceKind::Messages)
        .await
        .unwrap();
    assert_eq!(totals, Default::default());
}

async fn a_deleted_queue_frees_its_ids(store: &impl Store) {
    let record = full();
    store.create(record.clone(), None).await.unwrap();
    store.delete(&record.recipient_id).await.unwrap();
    store.create(record, None).await.unwrap();
}

async fn a_queue_with_the_ids_of_a_deleted_one_has_nothing_of_it(store: &impl Store) {
    let record = full();
    let id = &record.recipient_id;
    store
        .create(record.clone(), Some(link(b"fixed", b"user")))
        .await
        .unwrap();
    for number in 0..3 {
        store.push(id, message(number), 2).await.unwrap();
    }
    store.delete(id).await.unwrap();
    store.create(record.clone(), None).await.unwrap();
    assert!(store.link_data(id).await.unwrap().is_none());
    assert!(drained(store, id).await.is_empty());
    assert_eq!(
        store.counts().await.unwrap(),
        Counts {
            queues: 1,
            messages: 0
        }
    );
}

async fn queues_and_messages_are_counted(store: &impl Store) {
    assert_eq!(store.counts().await.unwrap(), Counts::default());
    let (one, other) = (created(store).await, created(store).await);
    for number in 0..4 {
        // The fourth becomes the quota marker.
        store
            .push(&one.recipient_id, message(number), 3)
            .await
            .unwrap();
    }
    store
        .push(&other.recipient_id, message(9), QUOTA)
        .await
        .unwrap();
    assert_eq!(
        store.counts().await.unwrap(),
        Counts {
            queues: 2,
            messages: 5
        }
    );
    store
        .acknowledge(&other.recipient_id, &message(9).id)
        .await
        .unwrap();
    assert_eq!(
        store.counts().await.unwrap(),
        Counts {
            queues: 2,
            messages: 4
        }
    );
    store.delete(&one.recipient_id).await.unwrap();
    assert_eq!(
        store.counts().await.unwrap(),
        Counts {
            queues: 1,
            messages: 0
        }
    );
}
