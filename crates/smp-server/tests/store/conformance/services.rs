//! Services and the queues that they have.

use smp_protocol::{Fingerprint, IdsHash, ServiceRole};
use smp_server::store::{
    NotifierRecord, QueueChange, QueueId, QueueRecord, ServiceKind, Store, Updated,
};

use crate::support::{created, notifier, queue, walk};

rules! {
    a_certificate_keeps_its_id,
    certificates_and_roles_have_ids_of_their_own,
    a_service_without_queues_has_none,
    messages_are_counted_by_recipients_ids,
    notifications_are_counted_by_notifiers_ids,
    a_new_queue_may_be_a_services_already,
    a_queue_that_goes_to_another_service_is_counted_there,
    a_queue_that_leaves_its_service_is_counted_no_longer,
    a_deleted_queue_is_counted_no_longer,
    a_queue_that_is_given_twice_is_counted_once,
    notifications_need_a_notifier,
    a_new_notifier_is_counted_in_the_place_of_the_former,
    a_removed_notifier_is_counted_no_longer,
    pages_give_each_queue_once,
    pages_give_notifiers_ids_for_notifications,
    queues_that_go_between_pages_do_not_hide_others,
}

async fn give(store: &impl Store, id: &QueueId, kind: ServiceKind, service: Option<QueueId>) {
    let change = QueueChange::Service { kind, service };
    assert!(matches!(
        store.update(id, change).await.unwrap(),
        Updated::Done(_)
    ));
}

/// A queue whose messages a service takes.
async fn served(store: &impl Store, service: QueueId) -> QueueId {
    let id = created(store).await.recipient_id;
    give(store, &id, ServiceKind::Messages, Some(service)).await;
    id
}

/// A queue whose notifications a service takes: its recipient's id and its notifier's.
async fn notified(store: &impl Store, service: QueueId) -> (QueueId, QueueId) {
    let notifier = NotifierRecord {
        service: Some(service),
        ..notifier()
    };
    let record = QueueRecord {
        notifier: Some(notifier.clone()),
        ..queue()
    };
    store.create(record.clone(), None).await.unwrap();
    (record.recipient_id, notifier.id)
}

async fn check(store: &impl Store, service: QueueId, kind: ServiceKind, ids: &[QueueId]) {
    let mut hash = IdsHash::default();
    ids.iter()
        .for_each(|id| hash.combine(IdsHash::of(&(*id).into())));
    let totals = store.service_totals(&service, kind).await.unwrap();
    assert_eq!(totals, (ids.len() as i64, hash));
    for limit in [1, 2, 1_000, usize::MAX] {
        let pages = walk(async |from| {
            let page = store
                .service_queues(&service, kind, from, limit)
                .await
                .unwrap();
            (page.ids, page.next)
        });
        let pages = pages.await;
        assert!(pages.iter().all(|page| page.len() <= limit));
        let (mut listed, mut ids) = (pages.concat(), ids.to_vec());
        listed.sort_unstable();
        ids.sort_unstable();
        assert!(listed == ids, "pages of at most {limit}");
    }
}

#[tokio::test]
async fn a_queue_far_behind_is_found() {
    let store = &smp_server::store::MemoryStore::new();
    for _ in 0..25_000 {
        created(store).await;
    }
    let service = QueueId::random();
    let id = served(store, service).await;
    check(store, service, ServiceKind::Messages, &[id]).await;
}

async fn a_certificate_keeps_its_id(store: &impl Store) {
    let fingerprint = Fingerprint([1; 32]);
    let id = store
        .service(&fingerprint, ServiceRole::Messaging)
        .await
        .unwrap();
    assert!(
        store
            .service(&fingerprint, ServiceRole::Messaging)
            .await
            .unwrap()
            == id
    );
}

async fn certificates_and_roles_have_ids_of_their_own(store: &impl Store) {
    let mut ids = Vec::new();
    for fingerprint in [Fingerprint([1; 32]), Fingerprint([2; 32])] {
        for role in [
            ServiceRole::Messaging,
            ServiceRole::Notifier,
            ServiceRole::Proxy,
        ] {
            ids.push(store.service(&fingerprint, role).await.unwrap());
        }
    }
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), 6);
}

async fn a_service_without_queues_has_none(store: &impl Store) {
    created(store).await;
    check(store, QueueId::random(), ServiceKind::Messages, &[]).await;
    check(store, QueueId::random(), ServiceKind::Notifications, &[]).await;
}

async fn messages_are_counted_by_recipients_ids(store: &impl Store) {
    let service = QueueId::random();
    let ids = [served(store, service).await, served(store, service).await];
    served(store, QueueId::random()).await;
    check(store, service, ServiceKind::Messages, &ids).await;
    check(store, service, ServiceKind::Notifications, &[]).await;
}

async fn notifications_are_counted_by_notifiers_ids(store: &impl Store) {
    let service = QueueId::random();
    let ids = [
        notified(store, service).await.1,
        notified(store, service).await.1,
    ];
    notified(store, QueueId::random()).await;
    check(store, service, ServiceKind::Notifications, &ids).await;
    check(store, service, ServiceKind::Messages, &[]).await;
}

async fn a_new_queue_may_be_a_services_already(store: &impl Store) {
    let record = QueueRecord {
        service: Some(QueueId::random()),
        ..queue()
    };
    store.create(record.clone(), None).await.unwrap();
    let service = record.service.unwrap();
    check(
        store,
        service,
        ServiceKind::Messages,
        &[record.recipient_id],
    )
    .await;
}

async fn a_queue_that_goes_to_another_service_is_counted_there(store: &impl Store) {
    let (former, new) = (QueueId::random(), QueueId::random());
    let id = served(store, former).await;
    give(store, &id, ServiceKind::Messages, Some(new)).await;
    check(store, former, ServiceKind::Messages, &[]).await;
    check(store, new, ServiceKind::Messages, &[id]).await;
}

async fn a_queue_that_leaves_its_service_is_counted_no_longer(store: &impl Store) {
    let service = QueueId::random();
    let (one, other) = (served(store, service).await, served(store, service).await);
    give(store, &one, ServiceKind::Messages, None).await;
    check(store, service, ServiceKind::Messages, &[other]).await;
}

async fn a_deleted_queue_is_counted_no_longer(store: &impl Store) {
    let service = QueueId::random();
    let (one, other) = (served(store, service).await, served(store, service).await);
    let (notified, _) = notified(store, service).await;
    store.delete(&one).await.unwrap();
    store.delete(&notified).await.unwrap();
    check(store, service, ServiceKind::Messages, &[other]).await;
    check(store, service, ServiceKind::Notifications, &[]).await;
}

async fn a_queue_that_is_given_twice_is_counted_once(store: &impl Store) {
    let service = QueueId::random();
    let id = served(store, service).await;
    give(store, &id, ServiceKind::Messages, Some(service)).await;
    check(store, service, ServiceKind::Messages, &[id]).await;
}

async fn notifications_need_a_notifier(store: &impl Store) {
    let id = created(store).await.recipient_id;
    let service = QueueId::random();
    for service in [Some(service), None] {
        let change = QueueChange::Service {
            kind: ServiceKind::Notifications,
            service,
        };
        let refused = store.update(&id, change).await.unwrap();
        assert!(matches!(refused, Updated::Refused));
    }
    check(store, service, ServiceKind::Notifications, &[]).await;
}

async fn a_new_notifier_is_counted_in_the_place_of_the_former(store: &impl Store) {
    let (former, new) = (QueueId::random(), QueueId::random());
    let (id, _) = notified(store, former).await;
    let notifier = NotifierRecord {
        service: Some(new),
        ..notifier()
    };
    store
        .update(&id, QueueChange::Notifier(Some(notifier.clone())))
        .await
        .unwrap();
    check(store, former, ServiceKind::Notifications, &[]).await;
    check(store, new, ServiceKind::Notifications, &[notifier.id]).await;
}

async fn a_removed_notifier_is_counted_no_longer(store: &impl Store) {
    let service = QueueId::random();
    let (id, _) = notified(store, service).await;
    store
        .update(&id, QueueChange::Notifier(None))
        .await
        .unwrap();
    check(store, service, ServiceKind::Notifications, &[]).await;
}

async fn pages_give_each_queue_once(store: &impl Store) {
    let (service, other) = (QueueId::random(), QueueId::random());
    let mut ids = Vec::new();
    for _ in 0..7 {
        ids.push(served(store, service).await);
        served(store, other).await;
        created(store).await;
    }
    check(store, service, ServiceKind::Messages, &ids).await;
}

async fn pages_give_notifiers_ids_for_notifications(store: &impl Store) {
    let service = QueueId::random();
    let mut ids = Vec::new();
    for _ in 0..5 {
        ids.push(notified(store, service).await.1);
        created(store).await;
    }
    check(store, service, ServiceKind::Notifications, &ids).await;
}

async fn queues_that_go_between_pages_do_not_hide_others(store: &impl Store) {
    let service = QueueId::random();
    let mut stay = Vec::new();
    let mut go = Vec::new();
    for _ in 0..6 {
        stay.push(served(store, service).await);
        go.push(served(store, service).await);
    }
    let pages = walk(async |from| {
        let page = store
            .service_queues(&service, ServiceKind::Messages, from, 2)
            .await
            .unwrap();
        if let Some(id) = go.pop() {
            store.delete(&id).await.unwrap();
        }
        (page.ids, page.next)
    });
    let listed = pages.await.concat();
    assert!(stay.iter().all(|id| listed.contains(id)));
}
