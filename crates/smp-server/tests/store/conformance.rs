//! What each engine does, rule by rule.

/// Makes each rule a test of each engine.
macro_rules! rules {
    ($($rule:ident),+ $(,)?) => {
        mod memory {
            $(#[tokio::test]
            async fn $rule() {
                super::$rule(&smp_server::store::MemoryStore::new()).await;
            })+
        }

        mod disk {
            $(#[tokio::test]
            async fn $rule() {
                super::$rule(&crate::support::Disk::new().store).await;
            })+
        }
    };
}

mod concurrency;
mod expiry;
mod links;
mod messages;
mod queues;
mod quota;
mod services;
